#include "serve/log.h"

#include <cstdio>
#include <ctime>

namespace bib::serve {

void log(const std::string& line) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  std::tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char time[32];
  std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &utc);
  std::string safe = line;  // a name in a message must not begin a line of its own
  for (char& c : safe) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  std::fprintf(stderr, "%s.%03ldZ bib serve: %s\n", time, now.tv_nsec / 1'000'000, safe.c_str());
}

}  // namespace bib::serve
