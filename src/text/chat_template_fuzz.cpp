// Template text and its variables, as one file: the template, a zero byte, JSON.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/chat_template.h"

namespace {

constexpr std::string_view kVariables =
    R"({"messages": [{"role": "user", "content": "Hi \u00e9"}, {"role": "assistant", "content":
    [{"type": "text", "text": "a b"}], "n": 1.5}], "x": 7, "big": 18446744073709551615,
    "tools": [{"name": "f", "parameters": {"a": null}}], "flag": true})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t split = input.find('\0');
  const std::string_view source = input.substr(0, split);
  const std::string_view text =
      split == std::string_view::npos ? kVariables : input.substr(split + 1);
  const tern::text::TemplateLimits limits{.steps = 200'000, .output_bytes = 1 << 20, .depth = 60};

  auto chat_template = tern::text::ChatTemplate::parse(source, "fuzz", limits);
  if (!chat_template) return 0;
  auto variables = tern::parse_json(text, "variables", {.reject_duplicate_keys = false});
  if (!variables || !variables->is_object()) return 0;
  const auto first = chat_template->render(variables->as_object(), 0);
  const auto second = chat_template->render(variables->as_object(), 0);
  if (first.has_value() != second.has_value() || (first && *first != *second)) __builtin_trap();
  return 0;
}
