#include "text/tokenizer.h"
#include "text/utf8.h"

namespace tern::text {

std::string StreamDecoder::push(TokenId id) {
  pending_.append(tokenizer_->token_bytes(id));
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Step step = utf8_step(rest);
    if (step.cut) break;
    if (step.valid)
      out.append(rest.substr(0, step.bytes));
    else
      append_utf8(kReplacement, out);
    rest.remove_prefix(step.bytes);
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

std::string StreamDecoder::finish() {
  std::string out = to_valid_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace tern::text
