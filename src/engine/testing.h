// For tests: variants of the demo model, and prompts for it.
#pragma once
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
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

inline std::unique_ptr<Engine> load_demo(const LoadOptions& options) {
  auto engine = Engine::load("demo", options);
  EXPECT_TRUE(engine) << engine.error().message();
  return *std::move(engine);
}

/// What LoadOptions::progress was told: done, total.
using Reports = std::vector<std::pair<std::size_t, std::size_t>>;

/// Reads prompts in pieces of eight tokens, and adds what it tells of `of` to `reports`.
inline std::unique_ptr<Engine> load_reporting(std::string_view of, Reports& reports) {
  return load_demo(
      {.threads = 1,
       .context = 256,
       .prefill_chunk = 8,
       .progress = [of, &reports](std::string_view what, std::size_t done, std::size_t total) {
         if (what == of) reports.emplace_back(done, total);
       }});
}

/// Replaces every `from`.
inline void replace(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

}  // namespace tern::engine::testing
