// The bib command: reads the command line, runs one verb, turns errors into one line and an exit code.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include "bib/context.h"
#include "bib/error.h"
#include "cli/explain.h"
#include "cli/help.h"
#include "cli/standard_places.h"
#include "cli/verbs.h"

namespace {

using namespace bib;

int fail(int code, const char* what) {
  const std::string_view line(what, std::strcspn(what, "\n"));  // "file:line: error: what" has the word already
  std::fprintf(stderr, line.find(": error: ") == line.npos ? "bib: error: %s\n" : "bib: %s\n", what);
  return code;
}

/// An answer that was cut short must not look like success.
int finish(int code) {
  errno = 0;
  std::cout.flush();
  const bool whole = std::fflush(stdout) == 0 && !std::ferror(stdout) && std::cout.good();
  if (whole || code != cli::exit_code::ok) return code;
  // The reason is known only if the last write failed, too.
  const std::string reason = errno ? std::string(": ") + std::strerror(errno) : "; the answer is not whole";
  return fail(cli::exit_code::failed, ("standard output: cannot be written" + reason).c_str());
}

/// A wrong BIB_CPU_ISA or BIB_CPU_BLAS is as wrong as a flag; it must not wait for the first product.
void check_environment() {
  try {
    cpu_isa_name(), cpu_blas_name();
  } catch (const std::invalid_argument& e) {
    throw cli::UsageError(e.what());
  }
}

int run(const cli::Action& action) {
  namespace code = cli::exit_code;
  try {
    check_environment();
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

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file over the limit is a failed write, with its message
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
  cli::add_verify(app, action);
  cli::add_bench(app, action);
  cli::add_info(app, action);
  cli::add_evaluate(app, action);
  cli::add_serve(app, action);
  cli::add_help(app, action);
  app.footer(
      "Examples: bib train ner --train train.txt -o ner.bib\n"
      "          echo '서울에 사는 김민수' | bib predict ner.bib\n"
      "'bib VERB --help' explains a verb.");
  try {
    app.parse(argc, argv);
    cli::refuse_empty(app);
  } catch (const CLI::ParseError& e) {
    return finish(cli::explain(app, e));
  }
  return finish(run(action));
}
