// Places and threads in words.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "tests/simt/engine.h"

namespace simt {

namespace {
std::string file_name(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash ? slash + 1 : path;
}
std::string text_of(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}
}  // namespace

std::string text_of(Site site) { return file_name(site.file_name()) + ":" + std::to_string(site.line()); }

std::string text_of(const Thread& t) { return "block " + text_of(t.block->index) + ", thread " + text_of(t.index); }

std::string text_of_code(const void* pc) {
  static std::map<const void*, std::string> known;  // addr2line reads all of the debug information each time
  if (const auto it = known.find(pc); it != known.end()) return it->second;
  Dl_info info{};
  if (!dladdr(pc, &info)) return "unknown code";
  char self[1024] = "";
  if (info.dli_fname[0] != '/' && readlink("/proc/self/exe", self, sizeof self - 1) < 0) return "unknown code";
  char command[4096];
  const auto offset = static_cast<const char*>(pc) - static_cast<const char*>(info.dli_fbase) - 1;
  std::snprintf(command, sizeof command, "addr2line -e '%s' -f -C -s 0x%llx 2>/dev/null", *self ? self : info.dli_fname,
                static_cast<unsigned long long>(offset));
  std::string text;
  if (std::FILE* pipe = popen(command, "r")) {
    char line[1024];
    while (std::fgets(line, sizeof line, pipe))
      text += (text.empty() ? "" : " at ") + std::string(line, strcspn(line, "\n"));
    pclose(pipe);
  }
  return known[pc] = text.empty() ? "unknown code" : text;
}

}  // namespace simt
