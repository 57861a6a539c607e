// An expression, a newline, a text: whatever the expression, it is refused or matched, in bounded
// time, and the pieces are the text. For the Tekken expression the scanner has to agree.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "text/pattern.h"
#include "text/pre_tokenizer.h"
#include "text/tekken.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tern::text;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\n'), input.size());
  const std::string_view text = input.substr(std::min(end + 1, input.size()));

  PreTokenizer splitter;
  if (splitter.add_split(input.substr(0, end), SplitBehavior::isolated, false, "fuzz")) {
    Pieces pieces;
    splitter.split(text, pieces);
    std::size_t covered = 0;
    for (const std::string_view piece : pieces.pieces) {
      if (piece.data() != text.data() + covered || piece.empty()) std::abort();
      covered += piece.size();
    }
    if (covered != text.size()) std::abort();
  }

  static const Pattern tekken = Pattern::compile(kTekkenExpression, "tekken").value();
  PatternSearch search(tekken, text);
  std::size_t at = 0;
  while (const auto match = search.next()) {
    if (match->begin != at || match->end != at + tekken_match(text.substr(at))) std::abort();
    at = match->end;
  }
  if (at != text.size()) std::abort();
  return 0;
}
