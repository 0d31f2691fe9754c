// The bib command: reads the command line, runs one verb, turns errors into one line and an exit code.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "bib/error.h"
#include "cli/verbs.h"

namespace {

using namespace bib;

int fail(int code, const char* what) {
  std::fprintf(stderr, "bib: error: %s\n", what);
  return code;
}

int run(const cli::Action& action) {
  namespace code = cli::exit_code;
  try {
    return action();
  } catch (const cli::GateFailed& e) {
    return fail(code::gate, e.what());
  } catch (const cli::UsageError& e) {
    return fail(code::usage, e.what());
  } catch (const DataError& e) {
    return fail(code::bad_data, e.what());
  } catch (const ModelError& e) {
    return fail(code::bad_model, e.what());
  } catch (const DeviceError& e) {
    return fail(code::no_device, e.what());
  } catch (const std::bad_alloc&) {
    return fail(code::failed, "out of memory");
  } catch (const std::exception& e) {
    return fail(code::failed, e.what());
  }
}

}  // namespace

/// OpenMP's threads spin between two parallel loops by default: on a shared or oversubscribed machine that can cost a
/// hundred times the work. The library reads this setting before main, so the program starts once more with it.
void wait_without_spinning(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY")) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe", argv);  // returns only where it is not possible; then all works, if slower under load
}

int main(int argc, char** argv) {
  wait_without_spinning(argv);
  CLI::App app("bib trains, evaluates, runs and serves named-entity recognition and text classification models.",
               "bib");
  app.require_subcommand(1);
  app.set_version_flag("--version", "bib " BIB_VERSION);
  cli::Action action;
  cli::add_train(app, action);
  cli::add_predict(app, action);
  cli::add_inspect(app, action);
  cli::add_convert(app, action);
  cli::add_check(app, action);
  cli::add_info(app, action);
  cli::add_evaluate(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? cli::exit_code::ok : cli::exit_code::usage;
  }
  return run(action);
}
