// What a hub or a user says names files inside a folder, or is an error.
#include <algorithm>

#include "base/check.h"
#include "hub/cache.h"
#include "hub/family.h"
#include "hub/model_files.h"
#include "hub/repository.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tern;
  const std::string text(reinterpret_cast<const char*>(data), size);
  hub::ModelName name{"a/b", "a/b", ""};
  if (const auto typed = hub::parse_model_name(text)) {
    if (*typed) {
      TERN_CHECK(hub::is_repository((*typed)->repository));
      TERN_CHECK(hub::is_repository((*typed)->weights));
      name = **typed;
    }
  } else {
    TERN_CHECK(typed.error().code == ErrorCode::usage && !typed.error().what.empty());
  }
  std::vector<std::string> paths = {"config.json", "model.safetensors.index.json"};
  if (const auto repository = hub::parse_repository(text, "fuzz")) {
    TERN_CHECK(hub::is_commit(repository->commit));
    paths.clear();
    for (const hub::RemoteFile& file : repository->files) {
      TERN_CHECK(hub::is_safe_path(file.path) && file.size <= hub::kMaxFileBytes);
      TERN_CHECK(file.etag.empty() || hub::is_etag(file.etag));
      paths.push_back(file.path);
    }
  }
  const auto chosen = hub::choose_files(paths, name, [&] { return Result<std::string>(text); });
  if (!chosen) return 0;
  for (const std::string& file : chosen->files)
    TERN_CHECK(std::ranges::find(paths, file) != paths.end());
  return 0;
}
