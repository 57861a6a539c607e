// A model as it lies on disk: a directory of safetensors, a GGUF file or its parts, or files in
// memory. Maps everything, proves the tensors, and hands out configuration texts unparsed where
// another folder owns their meaning.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "formats/folder.h"
#include "formats/gguf.h"
#include "formats/tensor_table.h"

namespace tern::formats {

enum class Container : std::uint8_t { safetensors, gguf };
std::string_view name(Container container);

/// Owns the mappings; every view handed out lives as long as it does. Move-only.
class Checkpoint {
 public:
  /// Opens `path`:
  ///  - a directory: the shards named by `model.safetensors.index.json` (see shards.h), or else
  ///    `model.safetensors`, with `config.json`; or, when it holds no safetensors, the one GGUF
  ///    model in it (all parts of one split count as one, mmproj*.gguf do not count);
  ///  - a GGUF file; `-0000M-of-0000N.gguf` opens all N parts;
  ///  - a safetensors file: config.json and the rest are looked up beside it.
  /// Files are told apart by their first bytes when their extension says neither. No byte of the
  /// tensor data is read.
  /// @param display_name  how the user named it; "": the path
  /// @error not_found  no such path, or a directory without a model, listing what was looked for;
  ///                   shards or parts that are missing, listing them.
  /// @error usage      a directory with several GGUF models, listing them.
  /// @error corrupt, unsupported, too_large, io  as the readers say; `where` is the file.
  static Result<Checkpoint> open(const std::filesystem::path& path, std::string display_name = {});

  /// The same for a directory whose files are in memory; they must outlive the checkpoint.
  static Result<Checkpoint> from_memory(std::string display_name, std::vector<MemoryFile> files);

  Container container() const;
  /// As the user named it.
  const std::string& display_name() const;
  const TensorTable& tensors() const;
  /// Sum of all tensors' bytes.
  std::uint64_t tensor_bytes() const;
  /// Files that hold tensors, in order.
  struct File {
    std::string name;
    std::uint64_t bytes;
  };
  const std::vector<File>& files() const;
  /// Bytes of the weight files that are in memory now.
  std::uint64_t resident_bytes() const;

  /// safetensors: config.json, parsed (an object); empty for GGUF, and for a single safetensors
  /// file that has none beside it.
  const json::object& config() const;
  /// GGUF: the metadata of the first part; empty for safetensors.
  const GgufMetadata& metadata() const;

  /// Text of a small file beside the weights ("tokenizer.json", "chat_template.jinja",
  /// "generation_config.json"), nothing when it is absent; for GGUF always nothing. May be called
  /// from several threads. @param name  a plain file name
  /// @error io, too_large (over 256 MB), usage (no plain file name)
  Result<std::optional<std::string_view>> side_file(std::string_view name) const;

  struct State;

 private:
  explicit Checkpoint(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;

 public:
  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();
};

}  // namespace tern::formats
