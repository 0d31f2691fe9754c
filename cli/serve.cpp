// bib serve and bib client: programs of their own beside this one, because gRPC takes long to load and the other verbs
// need none of it.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "cli/common.h"

namespace bib::cli {
namespace {

/// Becomes `program` with the arguments of this one after its verb.
int become(const std::string& program, const std::vector<std::string>& arguments) {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const std::string path = (self.parent_path() / program).string();
  std::vector<char*> argv{const_cast<char*>(path.c_str())};
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  execv(path.c_str(), argv.data());
  throw std::runtime_error(
      path + ": " + std::strerror(errno) +
      "; this bib was built without its servers: install what they need with scripts/install-deps, then build "
      "again with -DBIB_SERVE=ON");
}

void add(CLI::App& app, Action& action, const char* name, const char* help, const char* program) {
  CLI::App* verb = app.add_subcommand(name, help);
  verb->prefix_command();
  verb->set_help_flag();  // the program answers --help
  verb->callback([&action, verb, program] {
    action = [program, arguments = verb->remaining()] { return become(program, arguments); };
  });
}

}  // namespace

void add_serve(CLI::App& app, Action& action) {
  add(app, action, "serve", "Serve training and prediction over gRPC and HTTP", "bib-serve");
  add(app, action, "client", "Talk to a server: train, predict, jobs, models, load", "bib-client");
}

}  // namespace bib::cli
