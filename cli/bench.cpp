// bib bench: how fast a model answers here, on each device; compare: two such measurements; --advise: CPU or GPU.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "bib/corpus.h"
#include "bib/error.h"
#include "cli/common.h"
#include "cli/output.h"
#include "models/model_parts.h"
#include "train/formats/files.h"
#include "train/timing.h"

namespace bib::cli {
namespace {

using Json = nlohmann::ordered_json;

struct BenchFlags {
  std::string model, texts, task = "ner", math = "strict", output;
  std::vector<std::string> devices;
  TimingOptions timing;
  int threads = 0;
  bool json = false, advise = false;
};

struct CompareFlags {
  std::string before, after;
  double noise = 2, fail_slower = 0;  // percent
  bool json = false;
};

/// A model made up where none is given. Its file has no name any more, so that nothing stays where Ctrl-C ends the
/// measuring.
class MadeUpModel {
 public:
  explicit MadeUpModel(Task task) {
    namespace fs = std::filesystem;
    const char* set = std::getenv("TMPDIR");
    std::string folder = (set && *set ? std::string(set) : "/tmp") + "/bib_bench.XXXXXX";
    if (!mkdtemp(folder.data()))
      throw std::runtime_error(fs::path(folder).parent_path().string() + ": no model can be made up there: " +
                               std::strerror(errno) + "; set TMPDIR to a folder that can be written");
    const std::string file = folder + "/made_up.bib";
    try {
      write_made_up_model(file, task);
    } catch (...) {
      fs::remove_all(folder);
      throw;
    }
    fd_ = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    fs::remove_all(folder);
  }
  ~MadeUpModel() { close(fd_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

std::vector<std::string> devices_of(const BenchFlags& flags) {
  if (!flags.devices.empty()) return flags.devices;
  return cuda_info().cuda ? std::vector<std::string>{"cpu", "cuda"} : std::vector<std::string>{"cpu"};
}

std::string four_digits(double x) {
  char text[32];
  std::snprintf(text, sizeof text, x >= 1000 ? "%.0f" : "%.4g", x);
  return text;
}

Json machine_json(const Machine& m) {
  Json out{{"cpu", m.cpu}, {"isa", m.isa}, {"threads", m.threads}, {"mhz", m.mhz}};
  out["gpu"] = m.gpu.empty() ? Json(nullptr) : Json(m.gpu);
  if (m.gpu.empty()) out["why_no_gpu"] = m.why_no_gpu;
  out["version"] = m.version, out["commit"] = BIB_COMMIT, out["fingerprint"] = fingerprint(m);
  return out;
}

Json to_json(const std::vector<Metric>& metrics) {
  Json out = Json::array();
  for (const Metric& m : metrics) {
    out.push_back({{"name", m.name},
                   {"unit", m.unit},
                   {"better", m.lower_is_better ? "lower" : "higher"},
                   {"median", median(m.samples)},
                   {"spread", spread(m.samples)},
                   {"samples", m.samples}});
  }
  return out;
}

double value(const std::vector<Metric>& metrics, const std::string& name) {
  for (const Metric& m : metrics)
    if (m.name == name) return median(m.samples);
  return 0;
}

Advice advise(const Machine& machine, const BenchFlags& flags, const std::vector<Metric>& metrics) {
  Advice a{.machine = fingerprint(machine)};
  const std::string most = "/batch/" + std::to_string(flags.timing.batches.back());
  const double cpu_one = value(metrics, "cpu/one_text/p50"), gpu_one = value(metrics, "cuda/one_text/p50");
  const double cpu_many = value(metrics, "cpu" + most), gpu_many = value(metrics, "cuda" + most);
  const std::string cpu = four_digits(cpu_one) + " us for one text and " + four_digits(cpu_many) + " texts/s";
  if (gpu_many == 0) {
    a.verdict = "Use the CPU: there is no GPU to compare it with. It takes " + cpu + " in batches of " +
                std::to_string(flags.timing.batches.back()) + ".";
    return a;
  }
  if (gpu_one < cpu_one) a.one_text = "cuda";
  if (gpu_many > cpu_many) a.many_texts = "cuda";
  for (auto it = flags.timing.batches.rbegin(); it != flags.timing.batches.rend(); ++it) {
    const std::string name = "/batch/" + std::to_string(*it);
    if (value(metrics, "cuda" + name) <= value(metrics, "cpu" + name)) break;
    a.crossover = *it;
  }
  const std::string gpu = four_digits(gpu_one) + " us and " + four_digits(gpu_many) + " texts/s";
  a.verdict = a.crossover == 0 ? "Use the CPU, whatever the batch: "
              : a.crossover == 1
                  ? "Use the GPU, even for one text: "
                  : "Use the GPU for batches of " + std::to_string(a.crossover) + " texts and more, the CPU below: ";
  a.verdict += "the CPU takes " + cpu + " in batches of " + std::to_string(flags.timing.batches.back()) + ", the GPU " +
               gpu + ".";
  return a;
}

void print(const Json& result) {
  const Json& m = result["machine"];
  std::printf("%s; bib %s, %s\n", m["fingerprint"].get<std::string>().c_str(), m["version"].get<std::string>().c_str(),
              m["commit"].get<std::string>().c_str());
  std::printf("model: %s\n\n%-24s %12s %-8s %8s\n", result["model"].get<std::string>().c_str(), "", "median", "",
              "spread");
  for (const Json& x : result["metrics"]) {
    std::printf("%-24s %12s %-8s %7.1f%%\n", x["name"].get<std::string>().c_str(),
                four_digits(x["median"].get<double>()).c_str(), x["unit"].get<std::string>().c_str(),
                100 * x["spread"].get<double>());
  }
  if (result.contains("advice")) std::printf("\n%s\n", result["advice"]["verdict"].get<std::string>().c_str());
}

int bench(const BenchFlags& flags) {
  refuse_overwriting(flags.output, {flags.model, flags.texts});
  if (!flags.output.empty()) refuse_unwritable(flags.output);
  const Machine machine = this_machine();
  std::vector<std::pair<std::string, ContextOptions>> devices;  // refused before anything is measured
  for (const std::string& name : devices_of(flags))
    devices.emplace_back(name, DeviceFlags{.device = name, .math = flags.math, .threads = flags.threads}.options());
  std::optional<MadeUpModel> made_up;
  std::string path = flags.model;
  Task task = flags.task == "ner" ? Task::ner : Task::tc;
  if (path.empty()) {
    path = made_up.emplace(task).path();
  } else {
    task = task_of(read_model(path));
  }
  const std::vector<Document> texts =
      flags.texts.empty() ? made_up_documents(task, 200) : read_documents(flags.texts, task);
  if (texts.empty()) throw DataError(flags.texts + ": error: holds no texts");
  std::vector<Metric> metrics;
  for (const auto& [name, device] : devices) {
    for (Metric& m : time_model(path, task, texts, device, flags.timing)) metrics.push_back(std::move(m));
  }
  Json result{{"machine", machine_json(machine)},
              {"model", flags.model.empty() ? "made up, default size of " + flags.task : flags.model},
              {"texts", flags.texts.empty() ? "made up" : flags.texts},
              {"math", flags.math},
              {"threads", flags.threads > 0 ? flags.threads : available_threads()},
              {"metrics", to_json(metrics)}};
  Advice advice;
  if (flags.advise) {
    advice = advise(machine, flags, metrics);
    result["advice"] = {{"one_text", advice.one_text},
                        {"many_texts", advice.many_texts},
                        {"crossover", advice.crossover},
                        {"verdict", advice.verdict},
                        {"kept_in", advice_path()}};
  }
  const std::string text = result.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (flags.json) {
    std::fputs(text.c_str(), stdout);
  } else {
    print(result);
  }
  if (!flags.output.empty()) Output(flags.output).write(text);
  if (flags.advise) write_advice(advice_path(), advice);
  return exit_code::ok;
}

/// A file that `bib bench --json` or -o wrote.
Json read_result(const std::string& path) {
  const Json result = Json::parse(formats::read_file(path), nullptr, false);
  if (!result.is_object() || !result.contains("metrics") || !result["metrics"].is_array() ||
      !result.contains("machine")) {
    throw DataError(path + ": error: is no result of 'bib bench --json'");
  }
  return result;
}

/// One figure in both: how much better it is now in percent, and whether that is more than chance and noise.
Json compared(const Json& before, const Json& after, double noise_percent) {
  const auto a = before.at("samples").get<std::vector<double>>(), b = after.at("samples").get<std::vector<double>>();
  if (a.empty() || b.empty()) throw DataError("compare: error: a figure has no samples");
  const double change = 100 * (median(b) / median(a) - 1);
  const double noise = std::max(noise_percent, 100 * (spread(a) + spread(b)));
  const double p = mann_whitney_p(a, b);
  const bool real = p < 0.05 && std::abs(change) > noise;
  const bool better = (change < 0) == (before.at("better").get<std::string>() == "lower");
  return {{"name", before.at("name")},
          {"unit", before.at("unit")},
          {"before", median(a)},
          {"after", median(b)},
          {"change_percent", change},
          {"noise_percent", noise},
          {"p", p},
          {"verdict", !real    ? "same"
                      : better ? "better"
                               : "worse"}};
}

int compare(const CompareFlags& flags) {
  const Json before = read_result(flags.before), after = read_result(flags.after);
  const auto print_of = [](const Json& r) { return r["machine"].value("fingerprint", std::string("unknown")); };
  if (print_of(before) != print_of(after)) {
    warn("the two were measured on different machines (" + print_of(before) + "; " + print_of(after) +
         "): a difference is the machine's as much as bib's");
  }
  Json rows = Json::array();
  try {
    for (const Json& a : before["metrics"])
      for (const Json& b : after["metrics"])
        if (a.at("name") == b.at("name")) rows.push_back(compared(a, b, flags.noise));
  } catch (const Json::exception& e) {
    throw DataError("compare: error: a figure is not whole: " + std::string(e.what()));
  }
  if (rows.empty()) throw DataError("compare: error: " + flags.before + " and " + flags.after + " share no figure");
  if (flags.json) {
    std::printf("%s\n", rows.dump(1).c_str());
  } else {
    std::printf("%-24s %12s %12s %-8s %9s %8s %8s\n", "", "before", "after", "", "change", "noise", "p");
    for (const Json& r : rows) {
      std::printf("%-24s %12s %12s %-8s %+8.1f%% %7.1f%% %8.3f  %s\n", r["name"].get<std::string>().c_str(),
                  four_digits(r["before"].get<double>()).c_str(), four_digits(r["after"].get<double>()).c_str(),
                  r["unit"].get<std::string>().c_str(), r["change_percent"].get<double>(),
                  r["noise_percent"].get<double>(), r["p"].get<double>(), r["verdict"].get<std::string>().c_str());
    }
  }
  std::string worse;
  for (const Json& r : rows) {
    if (flags.fail_slower > 0 && r["verdict"] == "worse" &&
        std::abs(r["change_percent"].get<double>()) > flags.fail_slower)
      worse += (worse.empty() ? "" : ", ") + r["name"].get<std::string>();
  }
  if (!worse.empty()) throw GateFailed("worse by more than " + four_digits(flags.fail_slower) + " %: " + worse);
  return exit_code::ok;
}

void add_compare(CLI::App& verb, Action& action) {
  CLI::App* compare_verb = verb.add_subcommand("compare", "Compare two results of 'bib bench --json'");
  auto flags = std::make_shared<CompareFlags>();
  compare_verb->add_option("before", flags->before, "The older result")->required();
  compare_verb->add_option("after", flags->after, "The newer result")->required();
  compare_verb->add_option("--noise", flags->noise, "Least change in percent that counts, however steady the figures")
      ->check(in_range(0.0, 1000.0))
      ->capture_default_str();
  compare_verb
      ->add_option("--fail-slower", flags->fail_slower, "Exit 6 when a figure is worse by more than this percent")
      ->check(in_range(0.0, 1e6));
  compare_verb->add_flag("--json", flags->json, "One JSON array");
  compare_verb->footer("Example: bib bench compare before.json after.json --fail-slower 10");
  compare_verb->callback([&action, flags] { action = [flags] { return compare(*flags); }; });
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("bench", "Measure latency, throughput, load time and memory; compare; advise");
  auto flags = std::make_shared<BenchFlags>();
  verb->add_option("model", flags->model, "Model file (default: one of default size, made up)");
  verb->add_option("--texts", flags->texts, "Corpus whose texts are predicted (default: made up)");
  verb->add_option("--task", flags->task, "Without a model: ner or tc")
      ->check(CLI::IsMember({"ner", "tc"}))
      ->capture_default_str();
  verb->add_option("--devices", flags->devices, "cpu, cuda or both with a comma (default: all there are)")
      ->delimiter(',');
  verb->add_option("--batches", flags->timing.batches, "Texts in one call, with commas")
      ->delimiter(',')
      ->check(in_range(1, 100000))
      ->capture_default_str();
  verb->add_option("--repeats", flags->timing.repeats, "Repeats of every figure")
      ->check(in_range(1, 1000))
      ->capture_default_str();
  verb->add_option("--seconds", flags->timing.seconds, "Least time of one figure in one repeat")
      ->check(in_range(0.0, 3600.0))
      ->capture_default_str();
  verb->add_option("--math", flags->math, "As in bib predict")->envname("BIB_MATH")->capture_default_str();
  verb->add_flag("--advise", flags->advise, "Say whether CPU or GPU, and keep it for --device auto");
  verb->add_flag("--json", flags->json, "One JSON object, with the machine");
  verb->add_option("-o,--output", flags->output, "Write the JSON object to this file, too");
  verb->add_option("-t,--threads", flags->threads, "CPU threads; 0 = all this process may use")
      ->envname("BIB_THREADS")
      ->check(in_range(0, 4096));
  verb->footer(
      "Examples: bib bench ner.bib --advise\n"
      "          bib bench ner.bib -o after.json && bib bench compare before.json after.json");
  add_compare(*verb, action);
  verb->callback([&action, flags, verb] {
    if (!verb->get_subcommands().empty()) return;  // compare has set its own
    flags->timing.doing = [](const std::string& what) { note(what); };
    std::sort(flags->timing.batches.begin(), flags->timing.batches.end());
    action = [flags] { return bench(*flags); };
  });
}

}  // namespace bib::cli
