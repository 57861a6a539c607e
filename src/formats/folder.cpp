#include "formats/folder.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>

namespace tern::formats {
namespace {

class DiskFolder final : public Folder {
 public:
  explicit DiskFolder(std::filesystem::path path) : path_(std::move(path)) {}

  Result<std::optional<Bytes>> open(std::string_view name) override {
    const std::lock_guard lock(mutex_);
    if (const auto known = files_.find(name); known != files_.end()) return known->second.bytes();
    auto file = MappedFile::open(path_ / name);
    if (!file && file.error().code == ErrorCode::not_found) return std::nullopt;
    if (!file) return std::unexpected(std::move(file).error());
    return files_.emplace(name, *std::move(file)).first->second.bytes();
  }

  Result<std::vector<std::string>> names() const override {
    std::vector<std::string> names;
    std::error_code ec;
    for (auto entry = std::filesystem::directory_iterator(path_, ec);
         !ec && entry != std::filesystem::directory_iterator(); entry.increment(ec))
      names.push_back(entry->path().filename().string());
    if (ec) return fail(ErrorCode::io, "cannot list the folder: " + ec.message(), place(""));
    std::ranges::sort(names);
    return names;
  }

  std::string place(std::string_view name) const override {
    return name.empty() ? path_.string() : (path_ / name).string();
  }

  std::uint64_t resident_bytes(std::string_view name) const override {
    const std::lock_guard lock(mutex_);
    const auto file = files_.find(name);
    return file == files_.end() ? 0 : file->second.resident_bytes();
  }

 private:
  std::filesystem::path path_;
  mutable std::mutex mutex_;
  std::map<std::string, MappedFile, std::less<>> files_;  // guarded by mutex_
};

class MemoryFolder final : public Folder {
 public:
  MemoryFolder(std::string display_name, const std::vector<MemoryFile>& files)
      : display_name_(std::move(display_name)) {
    for (const MemoryFile& file : files) files_.emplace(file.name, file.bytes);
  }

  Result<std::optional<Bytes>> open(std::string_view name) override {
    const auto file = files_.find(name);
    if (file == files_.end()) return std::nullopt;
    return file->second;
  }

  Result<std::vector<std::string>> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, bytes] : files_) names.push_back(name);
    return names;
  }

  std::string place(std::string_view name) const override {
    return name.empty() ? display_name_ : display_name_ + "/" + std::string(name);
  }

  std::uint64_t resident_bytes(std::string_view name) const override {
    const auto file = files_.find(name);
    return file == files_.end() ? 0 : file->second.size();
  }

 private:
  std::string display_name_;
  std::map<std::string, Bytes, std::less<>> files_;
};

}  // namespace

std::unique_ptr<Folder> disk_folder(std::filesystem::path path) {
  return std::make_unique<DiskFolder>(std::move(path));
}

std::unique_ptr<Folder> memory_folder(std::string display_name,
                                      const std::vector<MemoryFile>& files) {
  return std::make_unique<MemoryFolder>(std::move(display_name), files);
}

bool is_plain_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name == "." || name == "..") return false;
  return std::ranges::none_of(name, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return c == '/' || c == '\\' || byte < 0x20 || byte == 0x7f;
  });
}

}  // namespace tern::formats
