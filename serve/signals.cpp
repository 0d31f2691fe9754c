#include "serve/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <stdexcept>

#include "serve/log.h"

namespace bib::serve {
namespace {

// Signals come through a pipe. Blocking them for sigwait would not do: threads that a library starts before main
// have them open, and one of those would take the default action.
int signal_pipe[2] = {-1, -1};

// The last resort is the system's alarm and its handler: it needs no thread, which there may be none left for, and no
// lock, which what hangs may hold.
std::atomic<unsigned> alarm_seconds{0};
std::atomic<int> last_code{0};  // of the exit; 0: nobody has asked for the end
std::atomic<const char*> awaited{"the start"};
static_assert(std::atomic<const char*>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

unsigned whole(double seconds) { return static_cast<unsigned>(std::ceil(std::clamp(seconds, 1.0, 1e9))); }

void on_alarm(int) {
  log_in_handler({"the end waits for ", awaited.load(), ", which does not stop; the process ends at once"},
                 Level::error);
  _exit(last_code);
}

void on_signal(int signal) {
  const int error = errno;
  int none = 0;
  if (signal != SIGHUP && last_code.compare_exchange_strong(none, exit_code(signal))) alarm(alarm_seconds);
  const auto byte = static_cast<unsigned char>(signal);
  if (write(signal_pipe[1], &byte, 1) < 0) {
    // The pipe is full: as many signals wait already.
  }
  errno = error;
}

}  // namespace

int exit_code(int signal) { return signal == SIGTERM ? 143 : 130; }

void catch_signals(double seconds_to_end) {
  if (pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) != 0) throw std::runtime_error("no pipe for signals");
  alarm_seconds = whole(seconds_to_end);
  struct sigaction action {};
  action.sa_flags = SA_RESTART;
  action.sa_handler = on_alarm;
  sigaction(SIGALRM, &action, nullptr);
  action.sa_handler = on_signal;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  struct sigaction hangup {};
  sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // nohup's wish is left alone
  signal(SIGPIPE, SIG_IGN);
}

int wait_signal(double seconds) {
  pollfd pipe{signal_pipe[0], POLLIN, 0};
  unsigned char byte = 0;
  poll(&pipe, 1, static_cast<int>(std::min(seconds * 1000, 1e9)));
  return read(signal_pipe[0], &byte, 1) == 1 ? byte : 0;
}

void end_within(double seconds, int code) {
  int none = 0;
  last_code.compare_exchange_strong(none, code);
  alarm(whole(seconds));
}

void awaiting(const char* what) { awaited = what; }

}  // namespace bib::serve
