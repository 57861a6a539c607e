// A stream of text to a file descriptor that notices every failed write.
#pragma once
#include <string>
#include <string_view>

#include "base/error.h"

namespace tern::cli {

class Output {
 public:
  explicit Output(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

  /// Appends; written out when the buffer is full and by `flush`. After a failure nothing more is
  /// written.
  void write(std::string_view text);
  void flush();

  /// The reader has gone (EPIPE): no error to talk about, but a reason to stop.
  bool closed() const { return error_ == kClosed; }
  bool failed() const { return error_ != 0; }
  /// @error io  a write failed for another reason, for example a full disk.
  Result<void> status() const;

 private:
  static constexpr int kClosed = -1;

  int fd_;
  std::string name_;
  std::string buffer_;
  int error_ = 0;  // errno of the first failure
};

}  // namespace tern::cli
