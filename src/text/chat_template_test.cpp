#include "text/chat_template.h"

#include <gtest/gtest.h>

namespace tern::text {
namespace {

constexpr std::time_t kNow = 1'753'180'245;  // 2025-07-22 10:30:45 UTC

Result<std::string> render(std::string_view source, std::string_view variables = "{}",
                           const TemplateLimits& limits = {}) {
  auto parsed = parse_json(variables, "variables");
  if (!parsed) return std::unexpected(parsed.error());
  auto chat_template = ChatTemplate::parse(source, "test.jinja", limits);
  if (!chat_template) return std::unexpected(chat_template.error());
  return chat_template->render(parsed->as_object(), kNow);
}

TEST(ChatTemplate, RendersMessages) {
  const auto text = render(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m['content'] | trim }}<|im_end|>\n"
      "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
      R"({"messages": [{"role": "user", "content": " Hi "}], "add_generation_prompt": true})");
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_EQ(*text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

}  // namespace
}  // namespace tern::text
