// One line an event on standard error, with the time; never a text of a user.
#pragma once
#include <initializer_list>
#include <string>
#include <string_view>

namespace bib::serve {

enum class Level {
  info,
  warning,  // the server goes on, but not as it was told to: someone should look
  error     // something was lost or failed
};
enum class LogFormat { text, json };

/// How lines are written from now on, those of gRPC too; before there are threads.
void set_log_format(LogFormat format);
void log(const std::string& line, Level level = Level::info);

/// While it is there, what its thread logs is about the request with this id.
class LogOfRequest {
 public:
  explicit LogOfRequest(const std::string& id);
  LogOfRequest(const LogOfRequest&) = delete;
  LogOfRequest& operator=(const LogOfRequest&) = delete;
  ~LogOfRequest();

 private:
  const std::string* before_;
};

/// The same from a signal handler, of a line without special characters: takes no lock and no memory, and gives up
/// where standard error takes nothing.
void log_in_handler(std::initializer_list<std::string_view> line, Level level);

}  // namespace bib::serve
