#include "cli/model_files.h"

#include <filesystem>

#include "base/mapped_file.h"
#include "engine/engine.h"

namespace tern::cli {

Result<text::Tokenizer> open_tokenizer(const std::string& model, const engine::FindOptions& find) {
  TERN_TRY(const auto source, engine::find_model(model, find));
  std::error_code ignored;
  std::filesystem::path json = source.path;
  if (std::filesystem::is_directory(json, ignored)) json /= "tokenizer.json";
  if (json.extension() == ".json" && std::filesystem::exists(json, ignored)) {
    TERN_TRY(const auto file, MappedFile::open(json));
    return text::Tokenizer::from_json(as_text(file.bytes()), json.string());
  }
  TERN_TRY(const auto checkpoint, engine::open_checkpoint(model, find));
  TERN_TRY(const auto config, model::Config::from(checkpoint));
  TERN_TRY(const auto vocabulary, engine::Vocabulary::load(checkpoint, config));
  return vocabulary.tokenizer;
}

}  // namespace tern::cli
