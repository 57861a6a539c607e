// Which files of a repository make a model: all that is needed to run it, and nothing else.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hub/family.h"

namespace tern::hub {

struct ModelFiles {
  std::vector<std::string> files;  ///< paths inside the repository, sorted
  std::string gguf;  ///< the file to open: a GGUF model, or its first part; "" for the folder
};

/// Text of the file model.safetensors.index.json.
using ReadIndex = std::function<Result<std::string>()>;

/// Whether `path` may name a file of a repository: relative, of plain names between slashes, at
/// most 1024 bytes. Whatever a server says is asked this first.
bool is_safe_path(std::string_view path);

/// From the list of files that a repository (or a snapshot of it) has:
///  - safetensors: the shards that the index names, or model.safetensors, and beside them
///    configuration, tokenizer and chat template (*.json, *.jinja);
///  - GGUF: one model, all parts if it is split: the one that `name.quantization` says, else the
///    only one, else Q4_K_M.
/// @param paths  all of them is_safe_path
/// @error not_found  no model among them (what there is instead is said), or files that the index
/// or
///                   the name of a part promises are not there
/// @error usage      several GGUF models, or none of that quantization: they are listed
/// @error corrupt    the index is no such thing
Result<ModelFiles> choose_files(std::span<const std::string> paths, const ModelName& name,
                                const ReadIndex& read_index);

}  // namespace tern::hub
