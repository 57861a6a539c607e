// Ctrl-C and its relatives.
#pragma once
#include <csignal>
#include <tern/tern.hpp>

namespace tern::cli {

/// SIGINT, SIGTERM and SIGHUP end the program with status 128 + signal, except
///  - while a CancelOnInterrupt lives: the first one cancels, the next one ends;
///  - else, while a NoteInterrupt lives: it is only noted (system calls return EINTR).
/// SIGPIPE is ignored; writes report it. SIGBUS for a page of a mapped file that cannot be read
/// ends the program with a message and the status of ErrorCode::io.
class Interrupts {
 public:
  /// @param styled  standard output may be in the middle of an escape sequence's effect
  static void install(bool styled);
  /// The last signal, or 0.
  static int received();
  static void forget();
};

/// While it lives, threads that are started take no signals (they inherit the mask), so that a
/// signal always interrupts the thread that waits for the user. A signal that comes meanwhile is
/// handled afterwards.
class StartThreadsWithoutSignals {
 public:
  StartThreadsWithoutSignals();
  ~StartThreadsWithoutSignals();
  StartThreadsWithoutSignals(const StartThreadsWithoutSignals&) = delete;
  StartThreadsWithoutSignals& operator=(const StartThreadsWithoutSignals&) = delete;

 private:
  sigset_t before_;
};

class CancelOnInterrupt {
 public:
  explicit CancelOnInterrupt(Cancel& cancel);
  ~CancelOnInterrupt();
  CancelOnInterrupt(const CancelOnInterrupt&) = delete;
  CancelOnInterrupt& operator=(const CancelOnInterrupt&) = delete;
};

class NoteInterrupt {
 public:
  NoteInterrupt();
  ~NoteInterrupt();
  NoteInterrupt(const NoteInterrupt&) = delete;
  NoteInterrupt& operator=(const NoteInterrupt&) = delete;
};

}  // namespace tern::cli
