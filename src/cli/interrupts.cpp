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
