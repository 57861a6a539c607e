// Where a model is: what a path, a name or "demo" stands for.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <tern/tern.hpp>

#include "base/error.h"
#include "formats/checkpoint.h"
#include "hub/pull.h"

namespace tern::engine {

struct FindOptions {
  bool pull = false;          ///< download what is not in the cache
  std::string revision = {};  ///< of a named model: branch, tag or commit; "": main
  /// Called with "downloading" and bytes while a download runs.
  std::function<void(std::string_view what, std::size_t done, std::size_t total)> progress = {};
  const Cancel* cancel = nullptr;  ///< stops a download
  /// Called instead of `progress` while a download runs, with every file that is on its way.
  std::function<void(const hub::PullProgress&)> on_pull = {};
};

/// The parts of `options` that say how a model is found.
FindOptions find_options(const LoadOptions& options);

struct ModelSource {
  std::string name;            ///< as it was asked for
  std::filesystem::path path;  ///< a folder or a file; empty for the demo
};

/// "demo"; a path, if there is such a file or folder; the name of a model (hub/family.h has the
/// forms), which is looked for in the cache that huggingface_hub shares, without asking the network
/// if it is there.
/// @error not_found  neither a path nor in the cache, and `pull` is not set; or the hub has no such
///                   repository, revision or file
/// @error usage      a name of the family that does not exist, or a revision of what is no name
/// Else what hub::pull says.
Result<ModelSource> find_model(std::string_view model, const FindOptions& options = {});

/// Opens what find_model finds; its display name is the one that was asked for. Errors as
/// find_model and Checkpoint::open.
Result<formats::Checkpoint> open_checkpoint(std::string_view model,
                                            const FindOptions& options = {});

}  // namespace tern::engine
