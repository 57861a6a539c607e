#include "convert/convert.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <system_error>

#include "convert/journal.h"
#include "convert/output_folder.h"
#include "convert/release_pages.h"
#include "convert/row_coder.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kPiece = std::size_t{8} << 20;  // copied between two looks at `progress`
constexpr auto kSyncTime = std::chrono::seconds(2);

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The plan, and the files that its numbers come from.
std::string fingerprint_of(const Plan& plan, const formats::Checkpoint& source) {
  std::string text = plan.fingerprint();
  const fs::path path = source.display_name();
  for (const auto& file : source.files()) {
    text += file.name + " " + std::to_string(file.bytes);
    std::error_code error;
    auto time = fs::last_write_time(path / file.name, error);
    if (error) time = fs::last_write_time(path, error);
    if (!error) text += " " + std::to_string(time.time_since_epoch().count());
    text += "\n";
  }
  return text;
}

class Runner {
 public:
  Runner(const Plan& plan, const Source& source, OutputFolder& output, ThreadPool& pool,
         const ConvertOptions& options)
      : plan_(plan),
        source_(source),
        output_(output),
        coder_(pool),
        options_(options),
        work_(plan, options.estimate),
        total_(plan.bytes()) {}

  Result<ConvertReport> run() {
    TERN_TRY_VOID(open_journal());
    for (; point_.files < plan_.files.size(); next_file())
      TERN_TRY_VOID(write_file(plan_.files[point_.files]));
    for (const SmallFile& file : plan_.small_files)
      TERN_TRY_VOID(output_.write(file.name, file.text));
    ConvertReport report{.weights = plan_.weights(),
                         .bytes = total_,
                         .resumed_bytes = resumed_,
                         .coded = before_.coded + coder_.coded(),
                         .seconds = seconds_since(started_)};
    for (const PlannedFile& file : plan_.files)
      for (const PlannedTensor& tensor : file.tensors) report.tensors += tensor.outputs.size();
    const double square = before_.square + coder_.square();
    if (square > 0) report.error = (before_.error + coder_.error()) / square;
    return report;
  }

 private:
  Result<void> open_journal() {
    const fs::path folder = output_.file("");
    const std::string fingerprint = fingerprint_of(plan_, source_.checkpoint());
    if (options_.resume) {
      TERN_TRY(journal_, Journal::open(folder, fingerprint, point_));
    } else {
      TERN_TRY(journal_, Journal::create(folder, fingerprint));
    }
    TERN_TRY_VOID(check_point());
    before_ = point_;
    for (std::size_t i = 0; i < point_.files; ++i) resumed_ += plan_.files[i].bytes();
    resumed_ += point_.bytes;
    done_ = resumed_;
    work_.skip(point_.files, point_.tensors);
    return {};
  }

  /// A journal is bytes from a disk: what it says must be what is there.
  Result<void> check_point() const {
    const auto refuse = [&](const std::string& why) {
      return fail(ErrorCode::corrupt, "the journal of the earlier run does not fit: " + why,
                  output_.file("").string(), "start again without --resume");
    };
    if (point_.files > plan_.files.size())
      return refuse(std::to_string(point_.files) + " complete files of " +
                    std::to_string(plan_.files.size()));
    for (std::size_t i = 0; i < point_.files; ++i) {
      const PlannedFile& planned = plan_.files[i];
      std::error_code error;
      const auto size = fs::file_size(output_.file(planned.name), error);
      if (error || size != planned.bytes()) return refuse(planned.name + " is not complete");
    }
    const std::size_t tensors =
        point_.files < plan_.files.size() ? plan_.files[point_.files].tensors.size() : 0;
    if (point_.tensors > tensors || (point_.tensors == 0 && point_.bytes != 0) ||
        (point_.tensors > 0 &&
         point_.bytes != plan_.files[point_.files].bytes_before(point_.tensors)))
      return refuse(std::to_string(point_.tensors) + " tensors in " + std::to_string(point_.bytes) +
                    " bytes");
    if (!std::isfinite(point_.error) || !std::isfinite(point_.square))
      return refuse("its errors are no numbers");
    return {};
  }

  void next_file() {
    ++point_.files;
    point_.tensors = 0;
    point_.bytes = 0;
  }

  /// The rest of a file.
  Result<void> write_file(const PlannedFile& planned) {
    TERN_TRY(auto file, PartFile::open(output_.file(planned.name), point_.bytes));
    if (point_.bytes == 0) TERN_TRY_VOID(file.write(planned.head));
    synced_ = file.length();
    synced_at_ = Clock::now();
    for (std::size_t t = point_.tensors; t < planned.tensors.size(); ++t) {
      at_ = t;
      TERN_TRY_VOID(write_tensor(planned, planned.tensors[t], file));
      const bool due =
          file.length() - synced_ >= options_.sync_bytes || Clock::now() - synced_at_ >= kSyncTime;
      if (due && t + 1 < planned.tensors.size())
        TERN_TRY_VOID(reach({point_.files, t + 1, file.length()}, file));
    }
    return reach({point_.files + 1, 0, 0}, file);
  }

  /// Everything before `point` is on the disk from here on.
  Result<void> reach(Point point, PartFile& file) {
    TERN_TRY_VOID(file.sync());
    point.coded = before_.coded + coder_.coded();
    point.error = before_.error + coder_.error();
    point.square = before_.square + coder_.square();
    synced_ = file.length();
    synced_at_ = Clock::now();
    return journal_->add(point);
  }

  Result<void> write_tensor(const PlannedFile& planned, const PlannedTensor& tensor,
                            PartFile& file) {
    if (const auto* coding = std::get_if<Coding>(&tensor.from)) {
      std::size_t current = 0;
      const auto sink = [&](std::size_t plane, std::span<const std::byte> bytes) -> Result<void> {
        if (plane != current) TERN_TRY_VOID(pad(planned, file));
        current = plane;
        return file.write(bytes);
      };
      TERN_TRY_VOID(coder_.run(*coding, tensor.outputs.front().name, sink,
                               [&](std::uint64_t bytes) { return advance(bytes); }));
    } else if (const auto* made = std::get_if<std::string>(&tensor.from)) {
      TERN_TRY_VOID(copy(std::as_bytes(std::span(*made)), file));
    } else {
      const Bytes bytes = std::get<const Tensor*>(tensor.from)->data;
      TERN_TRY_VOID(copy(bytes, file));
      release_pages(bytes);
    }
    return pad(planned, file);
  }

  Result<void> copy(Bytes bytes, PartFile& file) {
    for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
      const Bytes piece = bytes.subspan(at, std::min(kPiece, bytes.size() - at));
      TERN_TRY_VOID(file.write(piece));
      if (!advance(piece.size())) return fail(ErrorCode::cancelled, "interrupted");
    }
    return {};
  }

  /// Zeros up to where the next tensor may start.
  static Result<void> pad(const PlannedFile& planned, PartFile& file) {
    const std::uint64_t in_data = file.length() - planned.head.size();
    const std::uint64_t over = in_data % planned.alignment;
    return over == 0 ? Result<void>{} : file.write(std::string(planned.alignment - over, '\0'));
  }

  bool advance(std::uint64_t bytes) {
    done_ += bytes;
    work_.add(point_.files, at_, bytes);
    return !options_.progress ||
           options_.progress({.bytes = std::min(done_, total_),
                              .total_bytes = total_,
                              .part = work_.part(),
                              .seconds_left = work_.seconds_left(seconds_since(started_))});
  }

  const Plan& plan_;
  const Source& source_;
  OutputFolder& output_;
  RowCoder coder_;
  const ConvertOptions& options_;
  Work work_;
  std::optional<Journal> journal_;
  Point point_, before_;
  std::size_t at_ = 0;  // the tensor of the present file
  std::uint64_t total_, done_ = 0, resumed_ = 0, synced_ = 0;
  Clock::time_point started_ = Clock::now(), synced_at_;
};

/// Bytes of the files in a partial folder.
std::uint64_t bytes_there(const fs::path& partial) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (fs::directory_iterator entry(partial, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code gone;
    const auto size = entry->file_size(gone);
    if (!gone) sum += size;
  }
  return sum;
}

Result<void> check_room(const fs::path& partial, std::uint64_t needed) {
  std::error_code error;
  const auto space = fs::space(partial, error);
  const std::uint64_t there = bytes_there(partial);
  if (error || space.available + there >= needed) return {};
  return fail(ErrorCode::io,
              std::to_string(needed - there) + " bytes are needed, " +
                  std::to_string(space.available) + " are free",
              partial.string(), "free some disk space and try again");
}

Result<void> check_destination(const Plan& plan, const fs::path& destination) {
  std::error_code ignored;
  if (!plan.folder && fs::is_directory(destination, ignored))
    return fail(ErrorCode::usage, "is a folder, " + plan.target + " is one file",
                destination.string(),
                "name the file: " + (destination / plan.files.front().name).string());
  return {};
}

}  // namespace

Result<ConvertReport> convert(const Plan& plan, const Source& source, const fs::path& destination,
                              ThreadPool& pool, const ConvertOptions& options) {
  TERN_TRY_VOID(check_destination(plan, destination));
  TERN_TRY(auto output,
           OutputFolder::create(destination, options.resume ? OutputFolder::Leftover::take_over
                                                            : OutputFolder::Leftover::clear));
  if (options.resume) output.keep();
  TERN_TRY_VOID(check_room(output.file(""), plan.bytes()));
  auto report = Runner(plan, source, output, pool, options).run();
  if (!report) {
    // Another run can go on after these; what is wrong with the weights stays wrong.
    const ErrorCode code = report.error().code;
    if (options.keep && (code == ErrorCode::cancelled || code == ErrorCode::io)) output.keep();
    return report;
  }
  if (!plan.folder) {
    TERN_TRY_VOID(output.commit_file(plan.files.front().name));
    return report;
  }
  std::error_code error;
  if (!fs::remove(output.file(Journal::kName), error))
    return fail(ErrorCode::io, "cannot remove: " + error.message(),
                output.file(Journal::kName).string());
  TERN_TRY_VOID(output.commit());
  return report;
}

}  // namespace tern::convert
