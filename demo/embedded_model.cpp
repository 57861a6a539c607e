#include "demo/embedded_model.h"

#include <array>

#define TERN_DEMO_FILE(symbol)                             \
  extern "C" const std::byte tern_demo_##symbol##_begin[]; \
  extern "C" const std::byte tern_demo_##symbol##_end[];
TERN_DEMO_FILE(config)
TERN_DEMO_FILE(generation_config)
TERN_DEMO_FILE(tokenizer)
TERN_DEMO_FILE(chat_template)
TERN_DEMO_FILE(weights)
#undef TERN_DEMO_FILE

namespace tern::demo {

std::span<const EmbeddedFile> embedded_model() {
  static const std::array files = {
      EmbeddedFile{"config.json", {tern_demo_config_begin, tern_demo_config_end}},
      EmbeddedFile{"generation_config.json",
                   {tern_demo_generation_config_begin, tern_demo_generation_config_end}},
      EmbeddedFile{"tokenizer.json", {tern_demo_tokenizer_begin, tern_demo_tokenizer_end}},
      EmbeddedFile{"chat_template.jinja",
                   {tern_demo_chat_template_begin, tern_demo_chat_template_end}},
      EmbeddedFile{"model.safetensors", {tern_demo_weights_begin, tern_demo_weights_end}},
  };
  return files;
}

}  // namespace tern::demo
