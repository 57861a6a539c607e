#include "hub/pull.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>
#include <new>
#include <set>
#include <system_error>

#include "base/printable.h"
#include "hub/transfer.h"

namespace tern::hub {
namespace {

namespace fs = std::filesystem;
using Step = Transfer::Step;
using Clock = Transfer::Clock;

constexpr std::size_t kMaxIndex = 64u << 20;
constexpr int kPollMilliseconds = 100;
constexpr std::uint64_t kSpareBytes = 16u << 20;  // for links, refs and whatever else needs room

/// Files that programs which share the cache ask the hub for, unless they know that it has none.
constexpr std::string_view kOftenAskedFor[] = {
    "added_tokens.json",        "chat_template.jinja",     "generation_config.json",
    "preprocessor_config.json", "special_tokens_map.json", "tokenizer_config.json",
};

/// Free bytes where `folder` is or will be.
std::uint64_t free_bytes(fs::path folder) {
  std::error_code ec;
  while (!fs::exists(folder, ec) && folder.has_relative_path()) folder = folder.parent_path();
  const auto space = fs::space(folder, ec);
  return ec ? std::uint64_t(-1) : space.available;
}

/// Drives the transfers of one download.
class Downloads {
 public:
  Downloads(const Environment& environment, const RepoCache& cache, const PullPlan& plan,
            const OnPull& on_progress)
      : plan_(plan), on_progress_(on_progress), multi_(curl_multi_init()) {
    if (multi_ == nullptr) throw std::bad_alloc();
    const RemoteRepository remote{plan.repository, plan.commit, {}};
    std::set<std::string> etags;  // two files may have the same bytes
    for (const RemoteFile& file : plan.files)
      if (etags.insert(file.etag).second)
        waiting_.push_back(std::make_unique<Transfer>(environment, cache, remote, file));
    count_ = waiting_.size();
  }
  ~Downloads() {
    for (const auto& transfer : running_) curl_multi_remove_handle(multi_, transfer->handle());
    curl_multi_cleanup(multi_);
  }
  Downloads(const Downloads&) = delete;
  Downloads& operator=(const Downloads&) = delete;

  Result<void> run() {
    for (;;) {
      TERN_TRY_VOID(start_some());
      TERN_TRY_VOID(report());
      if (waiting_.empty() && running_.empty()) return {};
      int still = 0;
      if (const auto code = curl_multi_perform(multi_, &still); code != CURLM_OK)
        return fail(ErrorCode::unreachable, curl_multi_strerror(code), plan_.repository);
      TERN_TRY_VOID(finish_some());
      if (static_cast<std::size_t>(still) < running_.size()) continue;
      curl_multi_poll(multi_, nullptr, 0, kPollMilliseconds, nullptr);
    }
  }

 private:
  using Transfers = std::vector<std::unique_ptr<Transfer>>;

  Result<void> start_some() {
    for (auto next = waiting_.begin();
         next != waiting_.end() && running_.size() < kParallelFiles;) {
      TERN_TRY(const Step step, (*next)->start(Clock::now()));
      if (step == Step::waiting) {
        ++next;
        continue;
      }
      if (step == Step::done) {
        settle(**next);
      } else {
        curl_multi_add_handle(multi_, (*next)->handle());
        running_.push_back(std::move(*next));
      }
      next = waiting_.erase(next);
    }
    return {};
  }

  Result<void> finish_some() {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      const auto found = std::ranges::find_if(running_, [&](const auto& transfer) {
        return transfer->handle() == message->easy_handle;
      });
      if (found == running_.end()) continue;
      auto transfer = std::move(*found);
      running_.erase(found);
      curl_multi_remove_handle(multi_, transfer->handle());
      TERN_TRY(const Step step, transfer->finish(code, Clock::now()));
      if (step == Step::done)
        settle(*transfer);
      else
        waiting_.push_back(std::move(transfer));
    }
    return {};
  }

  void settle(const Transfer& transfer) {
    settled_bytes_ += transfer.file().size;
    ++settled_;
  }

  Result<void> report() {
    if (!on_progress_) return {};
    PullProgress progress;
    progress.done = progress.total = settled_bytes_;
    progress.files_done = settled_;
    progress.files = count_;
    for (const Transfers* transfers : {&running_, &waiting_})
      for (const auto& transfer : *transfers) {
        progress.done += transfer->bytes();
        progress.total += transfer->file().size;
        if (transfer->ours())
          progress.running.push_back(
              {transfer->file().path, transfer->bytes(), transfer->file().size});
      }
    progress.waiting = !waiting_.empty() && progress.running.empty();
    if (on_progress_(progress)) return {};
    return fail(ErrorCode::cancelled, "interrupted", plan_.repository,
                "the same command goes on from here");
  }

  const PullPlan& plan_;
  const OnPull& on_progress_;
  CURLM* multi_;
  Transfers waiting_, running_;
  std::size_t count_ = 0, settled_ = 0;
  std::uint64_t settled_bytes_ = 0;
};

/// Bytes of the files that are not yet in the cache.
std::uint64_t missing_bytes(const RepoCache& cache, const std::vector<RemoteFile>& files) {
  std::uint64_t bytes = 0;
  std::error_code ec;
  for (const RemoteFile& file : files) {
    if (has_blob(cache, file)) continue;
    const auto there = fs::file_size(cache.incomplete(file.etag), ec);
    bytes += file.size - (ec ? 0 : std::min<std::uint64_t>(there, file.size));
  }
  return bytes;
}

/// Files that are there without digest are asked for one by one.
Result<RemoteFile> complete(Connection& connection, const Environment& environment,
                            const RemoteRepository& remote, const RemoteFile& file) {
  if (!file.etag.empty()) return file;
  return ask_for_file(connection, environment, remote, file.path);
}

void note_absent(const RepoCache& cache, const PullPlan& plan) {
  for (const std::string& path : plan.absent) {
    const fs::path mark = cache.no_exist(plan.commit, path);
    std::error_code ignored;
    fs::create_directories(mark.parent_path(), ignored);
    if (std::FILE* file = std::fopen(mark.c_str(), "a")) std::fclose(file);
  }
}

}  // namespace

Result<PullPlan> plan_pull(const Environment& environment, const ModelName& name,
                           std::string_view revision) {
  if (!is_safe_path(revision))
    return fail(ErrorCode::usage, printable(revision) + " is no branch, tag or commit",
                "--revision");
  TERN_TRY(auto connection, Connection::create(environment));
  TERN_TRY(const auto remote, ask_for_repository(connection, environment, name.weights, revision));
  std::vector<std::string> paths;
  for (const RemoteFile& file : remote.files) paths.push_back(file.path);
  auto chosen = choose_files(paths, name, [&]() -> Result<std::string> {
    TERN_TRY(
        auto answer,
        connection.get(file_url(environment, remote, "model.safetensors.index.json"), kMaxIndex));
    return std::move(answer.body);
  });
  if (!chosen) {
    if (chosen.error().where.empty()) chosen.error().where = name.weights;
    return std::unexpected(std::move(chosen).error());
  }
  PullPlan plan{name.weights, std::string(revision), remote.commit, name, {}, {}, 0, 0};
  for (const RemoteFile& file : remote.files) {
    if (!std::ranges::binary_search(chosen->files, file.path)) continue;
    TERN_TRY(auto known, complete(connection, environment, remote, file));
    plan.bytes += known.size;
    plan.files.push_back(std::move(known));
  }
  std::ranges::sort(plan.files, {}, &RemoteFile::path);
  for (const std::string_view path : kOftenAskedFor)
    if (std::ranges::find(paths, path) == paths.end()) plan.absent.emplace_back(path);
  plan.to_fetch = missing_bytes(RepoCache(environment.cache, plan.repository), plan.files);
  return plan;
}

Result<CachedModel> pull(const Environment& environment, const PullPlan& plan,
                         const OnPull& on_progress) {
  const RepoCache cache(environment.cache, plan.repository);
  const std::uint64_t needed = missing_bytes(cache, plan.files);
  const std::uint64_t room = free_bytes(environment.cache);
  if (needed > 0 && (room < kSpareBytes || needed > room - kSpareBytes))
    return fail(ErrorCode::io,
                "not enough room: " + std::to_string(needed) + " bytes to download, " +
                    std::to_string(room) + " are free",
                environment.cache.string(),
                "free some, or set HF_HUB_CACHE to a folder on a larger disk");
  TERN_TRY_VOID(Downloads(environment, cache, plan, on_progress).run());
  for (const RemoteFile& file : plan.files)
    TERN_TRY_VOID(cache.link(plan.commit, file.path, file.etag));
  note_absent(cache, plan);
  TERN_TRY_VOID(cache.write_ref(plan.revision, plan.commit));
  return model_of(cache, plan.commit, plan.name);
}

}  // namespace tern::hub
