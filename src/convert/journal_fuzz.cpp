// A journal of any bytes is refused, or goes on: what is added afterwards is what is read next.
#include <unistd.h>

#include <fstream>

#include "base/check.h"
#include "convert/journal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tern::convert;
  static const auto folder = [] {
    auto path = std::filesystem::temp_directory_path() /
                ("tern_journal_fuzz_" + std::to_string(::getpid()));
    std::filesystem::create_directories(path);
    return path;
  }();
  // The first byte says whether the line that names the plan is the right one.
  const bool named = size > 0 && data[0] % 2 == 0;
  if (named) TERN_CHECK(Journal::create(folder, "plan").has_value());
  const auto mode = named ? std::ios::binary | std::ios::app : std::ios::binary | std::ios::trunc;
  std::ofstream(folder / Journal::kName, mode)
      .write(reinterpret_cast<const char*>(data) + (size > 0 ? 1 : 0),
             static_cast<std::streamsize>(size > 0 ? size - 1 : 0));
  Point found;
  auto journal = Journal::open(folder, "plan", found);
  if (!journal) {
    TERN_CHECK(!journal.error().what.empty() && !journal.error().where.empty());
    return 0;
  }
  const Point next{found.files + 1, 7, 8, 9, 0.1, 1e300};
  TERN_CHECK(journal->add(next).has_value());
  Point again;
  TERN_CHECK(Journal::open(folder, "plan", again).has_value());
  TERN_CHECK(again.files == next.files && again.bytes == 8 && again.error == 0.1 &&
             again.square == 1e300);
  return 0;
}
