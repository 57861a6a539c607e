#include "engine/model_source.h"

#include <system_error>

#include "demo/embedded_model.h"
#include "hub/cache.h"
#include "hub/environment.h"
#include "hub/family.h"

namespace tern::engine {
namespace {

using formats::Checkpoint;

Result<std::filesystem::path> download(const hub::Environment& environment,
                                       const hub::ModelName& name, std::string_view revision,
                                       const FindOptions& options) {
  TERN_TRY(const auto plan, hub::plan_pull(environment, name, revision));
  TERN_TRY(auto model, hub::pull(environment, plan, [&](const hub::PullProgress& progress) {
             if (options.on_pull)
               options.on_pull(progress);
             else if (options.progress)
               options.progress("downloading", progress.done, progress.total);
             return options.cancel == nullptr || !options.cancel->requested();
           }));
  return std::move(model.path);
}

std::unexpected<Error> not_there(std::string_view model, const hub::ModelName& name,
                                 const Error& reason) {
  const bool incomplete = reason.where != name.repository;
  std::string what = incomplete ? "in the cache, but " + reason.what
                                : "no such file or folder, and no model of that name in the cache";
  std::string hint = "\"tern pull " + std::string(model) + "\" downloads it";
  if (name.weights != name.repository) hint += "; its weights are those of " + name.weights;
  return fail(ErrorCode::not_found, std::move(what), std::string(model), std::move(hint));
}

}  // namespace

FindOptions find_options(const LoadOptions& options) {
  return {options.pull, options.revision, options.progress, options.cancel, {}};
}

Result<ModelSource> find_model(std::string_view model, const FindOptions& options) {
  if (model.empty())
    return fail(ErrorCode::usage, "no model named", "model",
                "a folder, a .gguf file, a name, or demo");
  const std::string typed(model);
  std::error_code ignored;
  std::optional<hub::ModelName> name;
  if (typed != "demo" && !std::filesystem::exists(typed, ignored)) {
    TERN_TRY(name, hub::parse_model_name(typed));
  }
  if (!name) {
    if (!options.revision.empty())
      return fail(ErrorCode::usage, "a revision of something that is no name of a model", typed,
                  "only names such as owner/model have revisions");
    return ModelSource{typed, typed == "demo" ? "" : typed};
  }
  TERN_TRY(const auto environment, hub::read_environment());
  const std::string_view revision =
      options.revision.empty() ? hub::kMainRevision : std::string_view(options.revision);
  auto cached = hub::find_cached(environment.cache, *name, revision);
  if (cached) return ModelSource{typed, std::move(cached->path)};
  if (cached.error().code != ErrorCode::not_found)
    return std::unexpected(std::move(cached).error());
  if (!options.pull) return not_there(model, *name, cached.error());
  auto path = download(environment, *name, revision, options);
  if (path) return ModelSource{typed, *std::move(path)};
  // It may have been meant as a path.
  const ErrorCode code = path.error().code;
  if (code == ErrorCode::not_found || code == ErrorCode::unreachable || code == ErrorCode::offline)
    path.error().what += "; nor is there a file or folder of that name";
  return std::unexpected(std::move(path).error());
}

Result<Checkpoint> open_checkpoint(std::string_view model, const FindOptions& options) {
  TERN_TRY(const auto source, find_model(model, options));
  if (!source.path.empty()) return Checkpoint::open(source.path, source.name);
  std::vector<formats::MemoryFile> files;
  for (const demo::EmbeddedFile& file : demo::embedded_model())
    files.push_back({file.name, file.bytes});
  return Checkpoint::from_memory(source.name, std::move(files));
}

}  // namespace tern::engine
