// How an answer is made and shown: the options that generate and chat share.
#pragma once
#include <tern/tern.hpp>

#include "cli/options.h"

namespace tern::cli {

struct GenerationOptions {
  std::optional<std::uint64_t> max_tokens, reasoning_budget, reasoning_grace, seed, top_k;
  std::optional<std::uint64_t> repetition_window;
  bool think = false, no_think = false;
  bool hide_thinking = false, show_thinking = false;
  GenerateOptions generate;  ///< what has its own type there is parsed in place

  /// Everything above as the library wants it.
  GenerateOptions resolved() const;
  bool enable_thinking() const { return !no_think; }
};

void declare_generation(Options& options, GenerationOptions& target);

/// "ID=V" (or "ID:V") as a token and what is added to its logit.
Result<std::pair<TokenId, float>> parse_logit_bias(std::string_view text);

}  // namespace tern::cli
