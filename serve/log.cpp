#include "serve/log.h"

#include <grpc/support/log.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

namespace bib::serve {
namespace {

LogFormat log_format = LogFormat::text;
thread_local const std::string* request = nullptr;  // that this thread answers, by its id

const char* name_of(Level level) {
  return level == Level::info ? "info" : level == Level::warning ? "warning" : "error";
}

/// A line that grows in place; what does not fit is left out.
class ShortLine {
 public:
  void add(std::string_view part) {
    part = part.substr(0, text_.size() - size_);
    std::memcpy(text_.data() + size_, part.data(), part.size());
    size_ += part.size();
  }
  void add(int number, int digits) {
    std::array<char, 4> text{};
    for (auto i = static_cast<std::size_t>(digits); i-- > 0; number /= 10)
      text[i] = static_cast<char>('0' + number % 10);
    add({text.data(), static_cast<std::size_t>(digits)});
  }
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, 512> text_{};
  std::size_t size_ = 0;
};

/// RFC 3339, UTC; by arithmetic alone, as the library's calendar takes a lock.
void add_time(ShortLine& to) {
  using namespace std::chrono;
  const auto now = floor<milliseconds>(system_clock::now());
  const auto day = floor<days>(now);
  const year_month_day date{day};
  const hh_mm_ss time{now - day};
  to.add(static_cast<int>(date.year()), 4);
  to.add("-");
  to.add(static_cast<int>(static_cast<unsigned>(date.month())), 2);
  to.add("-");
  to.add(static_cast<int>(static_cast<unsigned>(date.day())), 2);
  to.add("T");
  to.add(static_cast<int>(time.hours().count()), 2);
  to.add(":");
  to.add(static_cast<int>(time.minutes().count()), 2);
  to.add(":");
  to.add(static_cast<int>(time.seconds().count()), 2);
  to.add(".");
  to.add(static_cast<int>(time.subseconds().count()), 3);
  to.add("Z");
}

std::string time_now() {
  ShortLine line;
  add_time(line);
  return std::string(line.view());
}

std::string as_json(const std::string& line, Level level) {
  using Json = nlohmann::ordered_json;
  Json out{{"time", time_now()}, {"level", name_of(level)}, {"message", line}};
  if (request) out["request_id"] = *request;
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string as_text(const std::string& line, Level level) {
  std::string safe = line;  // a name in a message must not begin a line of its own
  for (char& c : safe) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return time_now() + " bib serve: " + (level == Level::info ? "" : std::string(name_of(level)) + ": ") + safe +
         (request ? " [request " + *request + "]" : "");
}

/// What GRPC_VERBOSITY lets through. Its errors are mostly what a client did: the server goes on.
void log_of_grpc(gpr_log_func_args* line) {
  const char* slash = std::strrchr(line->file, '/');
  log(std::string("gRPC: ") + line->message + " (" + (slash ? slash + 1 : line->file) + ":" +
          std::to_string(line->line) + ")",
      line->severity == GPR_LOG_SEVERITY_ERROR ? Level::warning : Level::info);
}

}  // namespace

void set_log_format(LogFormat format) {
  log_format = format;
  gpr_set_log_function(log_of_grpc);
}

void log(const std::string& line, Level level) {
  const std::string out = log_format == LogFormat::json ? as_json(line, level) : as_text(line, level);
  std::fprintf(stderr, "%s\n", out.c_str());
}

LogOfRequest::LogOfRequest(const std::string& id) : before_(std::exchange(request, &id)) {}
LogOfRequest::~LogOfRequest() { request = before_; }

void log_in_handler(std::initializer_list<std::string_view> line, Level level) {
  const bool json = log_format == LogFormat::json;
  ShortLine out;
  out.add(json ? "{\"time\":\"" : "");
  add_time(out);
  out.add(json ? "\",\"level\":\"" : " bib serve: ");
  out.add(name_of(level));
  out.add(json ? "\",\"message\":\"" : ": ");
  for (const std::string_view part : line) out.add(part);
  out.add(json ? "\"}\n" : "\n");
  pollfd standard_error{STDERR_FILENO, POLLOUT, 0};
  if (poll(&standard_error, 1, 0) == 1 && write(STDERR_FILENO, out.view().data(), out.view().size()) < 0) {
    // Nobody reads: the exit code still says what it was.
  }
}

}  // namespace bib::serve
