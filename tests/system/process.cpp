#include "process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

namespace tern::system {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> list;
  for (auto& word : words) list.push_back(word.data());
  list.push_back(nullptr);
  return list;
}

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

/// In the child: becomes the program. Only calls that are safe after fork.
[[noreturn]] void become(char** arguments, char** environment, const char* folder) {
  if (*folder != '\0' && ::chdir(folder) != 0) ::_exit(126);
  for (const int signal : {SIGINT, SIGPIPE, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
  ::execve(arguments[0], arguments, environment);
  ::_exit(127);
}

}  // namespace

Process::Process(const Invocation& invocation, Streams streams)
    : terminal_(streams == Streams::terminal) {
  std::vector<std::string> words = {invocation.program};
  words.insert(words.end(), invocation.arguments.begin(), invocation.arguments.end());
  std::map<std::string, std::string> variables = {
      {"PATH", "/usr/bin:/bin"}, {"HOME", "/nonexistent"}, {"LANG", "C.UTF-8"}};
  if (terminal_) variables["TERM"] = "xterm";
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "TERN_ISA"}) {
    if (const char* value = std::getenv(name)) variables[name] = value;
  }
  for (const auto& [name, value] : invocation.environment) variables[name] = value;
  std::vector<std::string> settings;
  for (const auto& [name, value] : variables) settings.push_back(name + "=" + value);
  auto arguments = pointers(words);
  auto environment = pointers(settings);
  const std::string folder = invocation.folder;

  if (terminal_) {
    winsize size{.ws_row = 40, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
    pid_ = ::forkpty(&out_fd_, nullptr, nullptr, &size);
    if (pid_ == 0) become(arguments.data(), environment.data(), folder.c_str());
    in_ = ::dup(out_fd_);
  } else {
    std::array<int, 2> in, out, err;
    for (auto* ends : {&in, &out, &err}) {
      if (::pipe2(ends->data(), O_CLOEXEC) != 0) std::abort();
    }
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::dup2(err[1], STDERR_FILENO);
      become(arguments.data(), environment.data(), folder.c_str());
    }
    ::close(in[0]);
    ::close(out[1]);
    ::close(err[1]);
    in_ = in[1];
    out_fd_ = out[0];
    err_fd_ = err[0];
  }
  if (pid_ < 0) std::abort();
}

Process::~Process() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  close_fd(in_);
  close_fd(out_fd_);
  close_fd(err_fd_);
}

void Process::send(std::string_view text) {
  ::signal(SIGPIPE, SIG_IGN);
  while (!text.empty()) {
    const ssize_t sent = ::write(in_, text.data(), text.size());
    if (sent <= 0) return;  // it does not read any more; the test sees what it says
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void Process::send_all(std::string_view text) {
  send(text);
  close_input();
}

void Process::close_input() {
  close_fd(in_);
}

void Process::close_output() {
  close_fd(out_fd_);
}

bool Process::read_some(Seconds limit) {
  std::array<pollfd, 2> ready = {pollfd{out_fd_, POLLIN, 0}, pollfd{err_fd_, POLLIN, 0}};
  if (out_fd_ < 0 && err_fd_ < 0) return false;
  const auto milliseconds = static_cast<int>(std::max(0.0, limit.count() * 1000));
  if (::poll(ready.data(), ready.size(), milliseconds) <= 0) return false;
  std::array<char, 4096> block;
  for (std::size_t stream = 0; stream < 2; ++stream) {
    if ((ready[stream].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    int& fd = stream == 0 ? out_fd_ : err_fd_;
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got > 0)
      (stream == 0 ? out_ : err_).append(block.data(), static_cast<std::size_t>(got));
    else
      close_fd(fd);
  }
  return true;
}

bool Process::wait_for(std::string_view text) {
  const auto end = Clock::now() + kPatience;
  for (;;) {
    if (const auto at = out_.find(text, out_matched_); at != std::string::npos) {
      out_matched_ = at + text.size();
      return true;
    }
    if (const auto at = err_.find(text, err_matched_); at != std::string::npos) {
      err_matched_ = at + text.size();
      return true;
    }
    if (!read_some(end - Clock::now())) return false;
  }
}

Outcome Process::finish() {
  const auto end = Clock::now() + kPatience;
  while ((out_fd_ >= 0 || err_fd_ >= 0) && read_some(end - Clock::now())) {
  }
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::now() > end) {
      ADD_FAILURE() << "the program did not end";
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, &status, 0);
      break;
    }
    ::poll(nullptr, 0, 10);
  }
  pid_ = -1;
  const bool killed = WIFSIGNALED(status);
  return {killed ? 128 + WTERMSIG(status) : WEXITSTATUS(status), killed, out_, err_};
}

Outcome run(const Invocation& invocation) {
  Process process(invocation);
  // On a thread of its own: the program may answer before it has read everything.
  std::thread sender([&] { process.send_all(invocation.input); });
  auto outcome = process.finish();
  sender.join();
  return outcome;
}

Outcome run_bash(const std::string& script) {
  return run({.arguments = {"-c", script}, .program = "/bin/bash"});
}

Outcome run_tern(std::vector<std::string> arguments, std::string input) {
  return run(Invocation{.arguments = std::move(arguments), .input = std::move(input)});
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = testing::TempDir() + "tern-system-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) std::abort();
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::write(std::string_view name, std::string_view text) const {
  std::ofstream(path_ / name, std::ios::binary) << text;
  return file(name);
}

std::string read_file(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(text).str();
}

}  // namespace tern::system
