#include "cli/repeat.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "cli/common.h"
#include "cli/run_table.h"
#include "models/model_file.h"
#include "train/base.h"
#include "train/formats/files.h"

namespace bib::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Run {
  std::uint64_t seed = 0;
  double score = 0;
  int epoch = 0;
  std::optional<double> seconds;  // unknown of a run that was stopped and resumed
};

const Run* best_of(const std::vector<Run>& runs) {
  const auto best =
      std::max_element(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.score < b.score; });
  return best == runs.end() ? nullptr : &*best;  // of equal ones the first
}

Config config_of_run(const Config& config, int run, bool dev_given) {
  Config c = config;
  c.seed += static_cast<std::uint64_t>(run);
  if (run > 0 && !dev_given && c.split_seed == 0) c.split_seed = config.seed;
  return c;
}

void save(const std::vector<Run>& runs, const Config& config, const RepeatOptions& options) {
  Json list = Json::array();
  for (const Run& run : runs) {
    list.push_back({{"seed", run.seed}, {"score", run.score}, {"epoch", run.epoch}});
    if (run.seconds) list.back()["seconds"] = *run.seconds;
  }
  const std::string path = finished_runs_of(options.output), whole = path + ".tmp";
  std::ofstream out(whole, std::ios::binary);
  out << Json{{"config", to_toml(config)}, {"data", options.data}, {"runs", list}}.dump(1) << '\n';
  out.close();
  if (!out) throw std::runtime_error(whole + ": cannot be written");
  fs::rename(whole, path);
}

std::vector<Run> load(const Config& config, const RepeatOptions& options) {
  const std::string path = finished_runs_of(options.output);
  if (!fs::exists(path)) return {};
  const auto refuse = [&](const std::string& why) {
    throw DataError(path + ": error: " + why + ", or begin anew (without --resume)");
  };
  std::vector<Run> runs;
  try {
    const Json file = Json::parse(formats::read_file(path));
    if (file.at("config") != to_toml(config)) refuse("its runs had another configuration; give the same one");
    if (file.at("data") != options.data) refuse("its runs learned from other data; give the same");
    for (const Json& r : file.at("runs")) {
      runs.push_back({.seed = r.at("seed"), .score = r.at("score"), .epoch = r.at("epoch"), .seconds = {}});
      if (r.contains("seconds")) runs.back().seconds = r.at("seconds").get<double>();
    }
  } catch (const Json::exception&) {
    refuse("it is damaged; give it as it was written");
  }
  if (!runs.empty() && !fs::exists(options.output))
    refuse("the model of its runs, " + options.output + ", is gone; put it back");
  return runs;
}

std::string table_of(const std::vector<Run>& runs, const std::string& metric) {
  std::vector<FinishedRun> rows;
  for (const Run& run : runs) rows.push_back({std::to_string(run.seed), run.score, run.epoch, run.seconds});
  return run_table("seed", "dev " + metric, rows, static_cast<std::size_t>(best_of(runs) - runs.data()));
}

}  // namespace

std::string finished_runs_of(const std::string& output) { return output + ".repeat"; }

void check_repeat(const Config& config, int times, bool dev_given) {
  if (!dev_given && config.train_rate >= 1)
    throw UsageError("--repeat compares dev scores; give --dev, or a --train-rate below 1");
  if (!dev_given && config.seed == 0 && config.split_seed == 0)
    throw UsageError(
        "--repeat draws the dev texts of all runs by the first seed, and 0 is no seed for that; begin with --seed 1, "
        "or "
        "name another by --set split_seed=1");
  if (config.seed > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max() - times))
    throw UsageError("--repeat counts seeds up from " + std::to_string(config.seed) + ", which is too large for that");
}

Repeated train_repeatedly(const Config& config, const RepeatOptions& options, ProgressPrinter& progress,
                          const TrainOnce& train_once) {
  const std::string file = finished_runs_of(options.output);
  require_writable(options.output);  // not after the first run
  std::vector<Run> runs;
  if (options.resume) {
    runs = load(config, options);
  } else if (fs::exists(file)) {
    warn(file +
         " of an interrupted training is replaced when the first run ends: stop now and --resume to go on with it");
  }
  TrainResult last;
  for (bool resume = options.resume; static_cast<int>(runs.size()) < options.times && !last.interrupted;
       resume = false) {
    const int number = static_cast<int>(runs.size());
    const Config c = config_of_run(config, number, options.dev_given);
    const std::string output = options.output + ".seed" + std::to_string(c.seed);
    const bool begun = resume && fs::exists(output + ".checkpoint");
    progress.begin_run(number + 1, options.times);
    if (!options.quiet)
      note("run " + std::to_string(number + 1) + " of " + std::to_string(options.times) + ", seed " +
           std::to_string(c.seed));
    const auto began = std::chrono::steady_clock::now();
    last = train_once(c, output, begun || (resume && number == 0));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
    const Run* best = best_of(runs);
    if (last.best_score && (!best || *last.best_score > best->score)) write_model(options.output, read_model(output));
    fs::remove(output);
    if (!last.interrupted && !last.best_score)
      throw DataError("--repeat compares dev scores, and of so few documents none is set aside; give --dev");
    if (!last.interrupted)
      runs.push_back(
          {c.seed, *last.best_score, last.best_epoch, begun ? std::nullopt : std::optional(seconds.count())});
    save(runs, config, options);
  }
  if (!runs.empty()) std::printf("%s", table_of(runs, metric_of(config)).c_str());
  if (last.interrupted) {
    note("stopped in run " + std::to_string(runs.size() + 1) + " of " + std::to_string(options.times) +
         "; go on with the same command and --resume (" + file + ")");
    return {.best = last};
  }
  fs::remove(file);
  const Run& best = *best_of(runs);
  return {.best = {.best_epoch = best.epoch, .best_score = best.score, .base_score = last.base_score},
          .seed = best.seed};
}

}  // namespace bib::cli
