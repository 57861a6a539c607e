// A tokenizer.json, a zero byte, a text: the file is refused or encodes any text; and a tokenizer
// of bytes gives every text back.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using namespace tern::text;

const Tokenizer& byte_tokenizer() {
  static const Tokenizer tokenizer = [] {
    std::array<std::string, 256> spelled;
    std::vector<std::string_view> tokens;
    std::size_t next = 0x100;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      append_utf8(static_cast<char32_t>(printable ? byte : next++), spelled[byte]);
      tokens.push_back(spelled[byte]);
    }
    const std::string space = spelled[' '];
    const std::vector<std::string> more = {"th", "the", space + "t", space + "the", space + space};
    tokens.insert(tokens.end(), more.begin(), more.end());
    std::vector<std::uint64_t> types(tokens.size(), 1);
    tokens.push_back("<|im_end|>");
    types.push_back(3);
    const std::string before_t = space + " t";
    const std::string spaces = space + " " + space;
    const std::vector<std::string_view> merges = {"t h", "th e", before_t, spaces};
    return Tokenizer::from_gguf(tokens, types, merges, "tekken", "fuzz").value();
  }();
  return tokenizer;
}

void round_trip(std::string_view text) {
  for (const Specials specials : {Specials::parse, Specials::ignore}) {
    const auto ids = byte_tokenizer().encode(text, specials);
    if (byte_tokenizer().decode(ids) != text) std::abort();
    StreamDecoder decoder(byte_tokenizer());
    std::string streamed;
    for (const TokenId id : ids) {
      if (specials == Specials::ignore && byte_tokenizer().is_special(id)) std::abort();
      streamed += decoder.push(id);
    }
    if (streamed + decoder.finish() != to_valid_utf8(text)) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), input.size());
  const std::string_view text = input.substr(std::min(end + 1, input.size()));
  round_trip(text);
  if (const auto tokenizer = Tokenizer::from_json(input.substr(0, end), "fuzz")) {
    for (const Specials specials : {Specials::parse, Specials::ignore})
      tokenizer->decode(tokenizer->encode(text, specials));
  }
  return 0;
}
