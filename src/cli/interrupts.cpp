#include "cli/interrupts.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <string_view>

namespace tern::cli {
namespace {

// Everything that the handler touches; all of it lock-free.
std::atomic<Cancel*> cancel_target{nullptr};
std::atomic<bool> only_note{false};
std::atomic<int> last_signal{0};
std::atomic<bool> reset_style{false};
static_assert(std::atomic<Cancel*>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

extern "C" void on_signal(int signal) {
  const bool again = last_signal.exchange(signal) != 0;
  if (Cancel* target = cancel_target.load(); target != nullptr && !again)
    target->request();
  else if (target != nullptr || !only_note.load()) {
    constexpr std::string_view reset = "\x1b[0m\n";
    if (reset_style.load()) static_cast<void>(!::write(STDOUT_FILENO, reset.data(), reset.size()));
    ::_exit(128 + signal);
  }
}

/// A page of a mapped file that cannot be read: nothing in the program can go on from there.
extern "C" void on_bus_error(int signal, siginfo_t* info, void*) {
  if (info->si_code != BUS_ADRERR) {  // a fault of ours: the default is a core dump
    ::signal(signal, SIG_DFL);
    ::raise(signal);
    return;
  }
  constexpr std::string_view message =
      "\ntern: error: a model file can no longer be read: it was cut short, or its disk failed\n"
      "hint: do not change a model file while it is in use\n";
  static_cast<void>(!::write(STDERR_FILENO, message.data(), message.size()));
  ::_exit(exit_status(ErrorCode::io));
}

}  // namespace

void Interrupts::install(bool styled) {
  reset_style.store(styled);
  struct sigaction action{};
  action.sa_handler = on_signal;  // no SA_RESTART: a waiting read must return
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before{};
    const bool nohup = signal == SIGHUP && ::sigaction(signal, nullptr, &before) == 0 &&
                       before.sa_handler == SIG_IGN;
    if (nohup) continue;
    ::sigaction(signal, &action, nullptr);
  }
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, nullptr);
  struct sigaction unreadable{};
  unreadable.sa_sigaction = on_bus_error;
  unreadable.sa_flags = SA_SIGINFO;
  sigemptyset(&unreadable.sa_mask);
  ::sigaction(SIGBUS, &unreadable, nullptr);
}

int Interrupts::received() {
  return last_signal.load();
}

void Interrupts::forget() {
  last_signal.store(0);
}

StartThreadsWithoutSignals::StartThreadsWithoutSignals() {
  sigset_t all;
  sigfillset(&all);
  // A fault of the thread itself ends the process unheard when it is blocked.
  for (const int fault : {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGABRT}) sigdelset(&all, fault);
  ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

StartThreadsWithoutSignals::~StartThreadsWithoutSignals() {
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

CancelOnInterrupt::CancelOnInterrupt(Cancel& cancel) {
  cancel_target.store(&cancel);
}

CancelOnInterrupt::~CancelOnInterrupt() {
  cancel_target.store(nullptr);
}

NoteInterrupt::NoteInterrupt() {
  only_note.store(true);
}

NoteInterrupt::~NoteInterrupt() {
  only_note.store(false);
}

}  // namespace tern::cli
