// Signals, and the end that comes even where something never stops.
#pragma once

namespace bib::serve {

/// From now on SIGTERM, SIGINT and SIGHUP are for wait_signal(). The first that asks for the end gives the process
/// `seconds_to_end`, then it ends whatever still runs: with a line that says what, and exit_code().
void catch_signals(double seconds_to_end);
/// Waits for a signal, at most `seconds`; 0: none came.
int wait_signal(double seconds);
/// 143 after SIGTERM, 130 after SIGINT.
int exit_code(int signal);

/// Sets the time of that end anew, or for the first time after an error, with the exit code `code`.
void end_within(double seconds, int code);
/// What the end waits for next, for the line of the last resort. A literal.
void awaiting(const char* what);

}  // namespace bib::serve
