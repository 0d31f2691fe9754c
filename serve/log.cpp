#include "serve/log.h"

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

namespace bib::serve {
namespace {

LogFormat log_format = LogFormat::text;

/// RFC 3339, UTC.
std::string time_now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  std::tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char seconds[32], all[48];
  std::strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(all, sizeof all, "%s.%03ldZ", seconds, now.tv_nsec / 1'000'000);
  return all;
}

std::string as_json(const std::string& line, const char* level) {
  using Json = nlohmann::ordered_json;
  return Json{{"time", time_now()}, {"level", level}, {"message", line}}.dump(-1, ' ', false,
                                                                              Json::error_handler_t::replace);
}

std::string as_text(const std::string& line, Level level, const char* name) {
  std::string safe = line;  // a name in a message must not begin a line of its own
  for (char& c : safe) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return time_now() + " bib serve: " + (level == Level::info ? "" : std::string(name) + ": ") + safe;
}

}  // namespace

void set_log_format(LogFormat format) { log_format = format; }

void log(const std::string& line, Level level) {
  const char* name = level == Level::info ? "info" : level == Level::warning ? "warning" : "error";
  const std::string out = log_format == LogFormat::json ? as_json(line, name) : as_text(line, level, name);
  std::fprintf(stderr, "%s\n", out.c_str());
}

}  // namespace bib::serve
