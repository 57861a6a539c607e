#include <fcntl.h>
#include <histedit.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cwchar>
#include <filesystem>

#include "cli/interrupts.h"
#include "cli/line_reader.h"

namespace tern::cli {
namespace {

volatile std::sig_atomic_t window_changed = 0;
volatile std::sig_atomic_t continued = 0;

extern "C" void on_window_change(int) {
  window_changed = 1;
}

extern "C" void on_continue(int) {
  continued = 1;
}

/// While it lives, signals that the prompt reacts to wait for `waiting_mask`, so that none falls
/// between a look at what came and the wait that follows.
class SignalsOnlyWhenWaiting {
 public:
  SignalsOnlyWhenWaiting() {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT})
      sigaddset(&blocked, signal);
    ::pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  }
  ~SignalsOnlyWhenWaiting() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsOnlyWhenWaiting(const SignalsOnlyWhenWaiting&) = delete;
  SignalsOnlyWhenWaiting& operator=(const SignalsOnlyWhenWaiting&) = delete;

  const sigset_t& waiting_mask() const { return before_; }

 private:
  sigset_t before_;
};

struct Deleter {
  void operator()(EditLine* editor) const { el_end(editor); }
  void operator()(History* history) const { history_end(history); }
};

class EditedLines : public LineReader {
  static constexpr char kEndOfInput = 4;  // Ctrl-D

 public:
  EditedLines(std::FILE* terminal, std::string history_file)
      : history_file_(std::move(history_file)), history_(history_init()) {
    // libedit's own signal handling sends SIGINT to the whole process group again; ours does not.
    watch(SIGWINCH, on_window_change);
    watch(SIGCONT, on_continue);
    editor_.reset(el_init("tern", stdin, terminal, stderr));
    if (!editor_) return;
    el_set(editor_.get(), EL_CLIENTDATA, this);
    el_set(editor_.get(), EL_PROMPT, &EditedLines::prompt);
    el_set(editor_.get(), EL_EDITOR, "emacs");
    el_set(editor_.get(), EL_SIGNAL, 0);
    el_set(editor_.get(), EL_GETCFN, &EditedLines::read_character);
    if (history_) {
      history(history_.get(), &event_, H_SETSIZE, 1000);
      history(history_.get(), &event_, H_SETUNIQUE, 1);
      if (!history_file_.empty()) history(history_.get(), &event_, H_LOAD, history_file_.c_str());
      el_set(editor_.get(), EL_HIST, history, history_.get());
    }
    el_source(editor_.get(), nullptr);
  }

  Status next(const std::string& prompt, std::string& line) override {
    if (!editor_) return Status::failed;
    const SignalsOnlyWhenWaiting signals;
    waiting_mask_ = &signals.waiting_mask();
    prompt_ = prompt;
    stopped_by_ = Status::line;
    first_byte_ = true;
    int count = 0;
    // libedit writes the prompt first and takes the terminal out of line mode after: a Ctrl-C
    // between the two would drop what was typed unseen.
    el_set(editor_.get(), EL_PREP_TERM, 1);
    const char* typed = el_gets(editor_.get(), &count);
    if (stopped_by_ != Status::line) {
      interrupted_text_ = cursor_held_text();
      el_reset(editor_.get());
      return stopped_by_;
    }
    if (typed == nullptr || count <= 0) return Status::end;  // Ctrl-D
    line.assign(typed, static_cast<std::size_t>(count));
    if (line.ends_with('\n')) line.pop_back();
    return Status::line;
  }

  bool interrupted_text() const override { return interrupted_text_; }

  void remember(const std::string& line) override {
    if (!history_ || line.empty()) return;
    history(history_.get(), &event_, H_ENTER, line.c_str());
    if (!history_file_.empty()) save();
  }

 private:
  static void watch(int signal, void (*handler)(int)) {
    struct sigaction action{};
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    ::sigaction(signal, &action, nullptr);
  }

  static EditedLines* self(EditLine* editor) {
    void* data = nullptr;
    el_get(editor, EL_CLIENTDATA, &data);
    return static_cast<EditedLines*>(data);
  }

  static char* prompt(EditLine* editor) { return self(editor)->prompt_.data(); }

  bool cursor_held_text() const {
    const LineInfo* info = el_line(editor_.get());
    return info != nullptr && info->lastchar > info->buffer;
  }

  /// Waits for a key, and meanwhile for signals. @return false with the reason in stopped_by_
  bool wait(EditLine* editor) {
    for (;;) {
      pollfd input = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
      if (::ppoll(&input, 1, nullptr, waiting_mask_) >= 0) return true;
      if (errno != EINTR || Interrupts::received() != 0) {
        stopped_by_ = errno == EINTR ? Status::interrupted : Status::failed;
        return false;
      }
      if (continued != 0) {  // after Ctrl-Z and fg the shell has reset the terminal
        continued = 0;
        el_set(editor, EL_PREP_TERM, 1);
        el_set(editor, EL_REFRESH);
      }
      if (window_changed != 0) {
        window_changed = 0;
        el_resize(editor);
      }
    }
  }

  /// One byte; false with the reason in stopped_by_.
  bool read_byte(EditLine* editor, char& byte) {
    ssize_t got = 0;
    do {
      if (!wait(editor)) return false;
      got = ::read(STDIN_FILENO, &byte, 1);
    } while (got < 0 && (errno == EINTR || errno == EAGAIN));
    if (got <= 0) stopped_by_ = got == 0 ? Status::end : Status::failed;
    // A Ctrl-D that came while the terminal still was in line mode, before this prompt, is a zero
    // there (Linux's n_tty).
    if (got == 1 && byte == 0 && first_byte_) byte = kEndOfInput;
    first_byte_ = false;
    return got == 1;
  }

  /// One character of the terminal's locale. @return 1, or -1 with the reason in stopped_by_
  static int read_character(EditLine* editor, wchar_t* character) {
    EditedLines& reader = *self(editor);
    std::mbstate_t state{};
    for (;;) {
      char byte = 0;
      if (!reader.read_byte(editor, byte)) return -1;
      const std::size_t used = std::mbrtowc(character, &byte, 1, &state);
      if (used == static_cast<std::size_t>(-2)) continue;  // more bytes of this character follow
      if (used == static_cast<std::size_t>(-1)) {
        state = {};
        *character = L'?';
      }
      return 1;
    }
  }

  void save() {
    const std::filesystem::path path = history_file_;
    std::error_code ignored;
    if (std::filesystem::create_directories(path.parent_path(), ignored))
      std::filesystem::permissions(path.parent_path(), std::filesystem::perms::owner_all, ignored);
    const std::string partial = history_file_ + "." + std::to_string(::getpid());
    const int fd = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return;  // no history is no reason to stop
    ::close(fd);
    if (history(history_.get(), &event_, H_SAVE, partial.c_str()) < 0 ||
        ::rename(partial.c_str(), history_file_.c_str()) != 0)
      ::unlink(partial.c_str());
  }

  std::string history_file_;
  std::string prompt_;
  std::unique_ptr<History, Deleter> history_;
  std::unique_ptr<EditLine, Deleter> editor_;
  HistEvent event_{};
  Status stopped_by_ = Status::line;
  bool interrupted_text_ = false;
  bool first_byte_ = true;
  const sigset_t* waiting_mask_ = nullptr;
};

}  // namespace

std::unique_ptr<LineReader> edited_lines(std::FILE* terminal, std::string history) {
  return std::make_unique<EditedLines>(terminal, std::move(history));
}

std::string default_history_file() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  auto state = variable("XDG_STATE_HOME");
  if (!state.is_absolute()) {  // the specification says to ignore relative ones
    const auto home = variable("HOME");
    if (home.empty()) return {};
    state = home / ".local" / "state";
  }
  return state / "tern" / "chat_history";
}

}  // namespace tern::cli
