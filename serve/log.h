// One line an event on standard error, with the time; never a text of a user.
#pragma once
#include <string>

namespace bib::serve {

enum class Level {
  info,
  warning,  // the server goes on, but not as it was told to: someone should look
  error     // something was lost or failed
};
enum class LogFormat { text, json };

/// How lines are written from now on; before there are threads.
void set_log_format(LogFormat format);
void log(const std::string& line, Level level = Level::info);

}  // namespace bib::serve
