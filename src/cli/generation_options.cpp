#include "cli/generation_options.h"

namespace tern::cli {

Result<std::pair<TokenId, float>> parse_logit_bias(std::string_view text) {
  const auto separator = text.find_first_of("=:");
  if (separator == std::string_view::npos)
    return fail(ErrorCode::usage, "\"" + std::string(text) + "\" is not ID=VALUE", {},
                "for example 1234=-5.5; \"tern tokenize\" tells the ids of a text");
  TERN_TRY(const auto id, parse_integer(text.substr(0, separator), {0, UINT32_MAX}));
  TERN_TRY(const auto value, parse_real(text.substr(separator + 1), {-100, 100}));
  return std::pair(static_cast<TokenId>(id), static_cast<float>(value));
}

GenerateOptions GenerationOptions::resolved() const {
  GenerateOptions options = generate;
  options.max_tokens = max_tokens;
  options.reasoning_budget = reasoning_budget;
  options.reasoning_grace = reasoning_grace;
  options.sampling.top_k = top_k;
  options.sampling.repetition_window = repetition_window;
  if (seed) options.sampling.seed = *seed;
  return options;
}

void declare_generation(Options& options, GenerationOptions& target) {
  auto& sampling = target.generate.sampling;
  options.group("Sampling (defaults are the model family's, for the mode)");
  options.real("--temp", sampling.temperature, {0, 100},
               "temperature, 0 is greedy; default: 0.6 thinking, 0.2 not");
  options.integer("--top-k", target.top_k, {0, 1u << 30},
                  "keep the K likeliest tokens, 0 is off; default: off thinking, 1 not");
  options.real("--top-p", sampling.top_p, {0, 1, true, false},
               "keep the likeliest tokens that make up this much; default: 0.95 thinking, 1 not");
  options.real("--min-p", sampling.min_p, {0, 1, false, true},
               "drop tokens less likely than this part of the likeliest; default: 0, off");
  options.real(
      "--repetition-penalty", sampling.repetition_penalty, {0, 100, true, false},
      "divide the logits of tokens that were there, 1 is off; default: the model's own, or 1");
  options.integer(
      "--repetition-window", target.repetition_window, {0, 1u << 30},
      "last tokens that the penalties look at, 0 is all; default: 64, all for the model's own");
  options.real("--presence-penalty", sampling.presence_penalty, {-2, 2},
               "taken from the logit of a token that was generated; default: 0");
  options.real("--frequency-penalty", sampling.frequency_penalty, {-2, 2},
               "the same for each time that it was generated; default: 0");
  options.custom("--logit-bias", "ID=V", "add V to the logit of token ID, -100 bans it; repeatable",
                 [&sampling](const std::string& typed) -> Result<void> {
                   TERN_TRY(const auto bias, parse_logit_bias(typed));
                   sampling.logit_bias[bias.first] = bias.second;
                   return {};
                 });
  options.integer("--seed", target.seed, {0, UINT64_MAX - 1},
                  "the same seed gives the same answer; default: a random one");

  options.group("Answer");
  options.integer("-n,--max-tokens", target.max_tokens, {0, 1u << 30},
                  "most tokens to generate; default: 20480 thinking, 1024 not");
  options.texts("--stop", "TEXT", target.generate.stop,
                "end the answer before this text; repeatable");
  options.flag("--ignore-eos", target.generate.ignore_eos, "go on after the end of the answer");
  options.flag("--think", target.think, "let the model think first (the default)");
  options.flag("--no-think", target.no_think, "answer at once");
  options.exclusive({"--think", "--no-think"});
  options.integer("--reasoning-budget", target.reasoning_budget, {0, 1u << 30},
                  "thinking tokens after which the model is made to answer; default: 16384");
  options.integer("--reasoning-grace", target.reasoning_grace, {0, 1u << 30},
                  "further tokens in which it may finish its sentence; default: 1024");
  options.flag("--hide-thinking", target.hide_thinking, "do not print what the model thinks");
  options.flag("--show-thinking", target.show_thinking,
               "print it on standard output between <think> lines, also when that is no terminal "
               "(default there: on standard error)");
  options.exclusive({"--hide-thinking", "--show-thinking"});
}

}  // namespace tern::cli
