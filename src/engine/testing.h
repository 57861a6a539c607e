// For tests: variants of the demo model, and prompts for it.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "demo/embedded_model.h"
#include "engine/engine.h"
#include "formats/checkpoint.h"

namespace tern::engine::testing {

/// The files of a model directory: name to contents.
using Files = std::map<std::string, std::string>;

inline Files demo_files() {
  Files files;
  for (const demo::EmbeddedFile& file : demo::embedded_model())
    files[std::string(file.name)] = std::string(
        static_cast<const char*>(static_cast<const void*>(file.bytes.data())), file.bytes.size());
  return files;
}

/// `files` must outlive the checkpoint.
inline Result<formats::Checkpoint> checkpoint(const Files& files) {
  std::vector<formats::MemoryFile> views;
  for (const auto& [name, contents] : files)
    views.push_back({name, std::as_bytes(std::span(contents))});
  return formats::Checkpoint::from_memory("variant", std::move(views));
}

inline Result<std::unique_ptr<Engine>> load(const Files& files, const LoadOptions& options = {}) {
  TERN_TRY(formats::Checkpoint opened, checkpoint(files));
  return Engine::load(std::move(opened), options);
}

/// Replaces every `from`.
inline void replace(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

}  // namespace tern::engine::testing
