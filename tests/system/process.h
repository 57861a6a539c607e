// Runs the built program: with pipes, or on a terminal of its own.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/test_paths.h"

namespace tern::system {

using Seconds = std::chrono::duration<double>;

/// Sanitized builds are slow, and so are busy machines.
inline constexpr Seconds kPatience{120};

struct Invocation {
  std::vector<std::string> arguments;
  std::string input = {};
  std::map<std::string, std::string> environment = {};  ///< on top of a small fixed one
  std::filesystem::path folder = {};                    ///< to run in; "" for the present one
  std::string program = binary_dir() + "/tern";
};

struct Outcome {
  int status = -1;  ///< exit status; 128 + signal when one killed it
  bool killed_by_signal = false;
  std::string out, err;
};

/// Runs a program, by default `tern`, to its end; what takes longer than kPatience is killed.
Outcome run(const Invocation& invocation);
Outcome run_bash(const std::string& script);
Outcome run_tern(std::vector<std::string> arguments, std::string input = {});

/// A program that is still running, and the other ends of its standard streams.
class Process {
 public:
  enum class Streams : bool { pipes, terminal };

  explicit Process(const Invocation& invocation, Streams streams = Streams::pipes);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(std::string_view text);
  void close_input();
  /// Both.
  void send_all(std::string_view text);
  /// Nobody reads its output any more.
  void close_output();
  void signal(int number) const { ::kill(pid_, number); }

  /// Reads until `text` was printed after the last match (on either stream).
  /// @return false when the program ended or patience did
  bool wait_for(std::string_view text);
  /// Everything that was printed so far: on a terminal both streams.
  const std::string& output() const { return out_; }
  const std::string& errors() const { return err_; }

  /// Waits for the end; the input should be closed, or the program leave by itself.
  Outcome finish();

 private:
  bool read_some(Seconds limit);

  pid_t pid_ = -1;
  int in_ = -1, out_fd_ = -1, err_fd_ = -1;
  std::string out_, err_;
  std::size_t out_matched_ = 0, err_matched_ = 0;
  bool terminal_ = false;
};

/// A folder that is gone when the test is.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string file(std::string_view name) const { return path_ / name; }
  std::string write(std::string_view name, std::string_view text) const;

 private:
  std::filesystem::path path_;
};

std::string read_file(const std::filesystem::path& path);

}  // namespace tern::system
