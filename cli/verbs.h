// One function per verb, each in a file of its own: it declares the verb's flags and sets what to run.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

namespace bib::cli {

/// What the program does once the command line is read; returns the exit code.
using Action = std::function<int()>;

void add_info(CLI::App& app, Action& action);
void add_convert(CLI::App& app, Action& action);
void add_check(CLI::App& app, Action& action);
void add_train(CLI::App& app, Action& action);
void add_predict(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_evaluate(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_serve(CLI::App& app, Action& action);  // and client

/// A gate such as --fail-under was missed: exit 6.
struct GateFailed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Wrong use that CLI11 cannot see, such as two flags that exclude each other by value: exit 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

namespace exit_code {
constexpr int ok = 0, failed = 1, usage = 2, bad_data = 3, bad_model = 4, no_device = 5, gate = 6, hung_up = 129,
              interrupted = 130, drained = 143;
}

}  // namespace bib::cli
