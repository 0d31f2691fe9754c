// bib verify MODEL [FILE]: the same texts through the model on the CPU and on the GPU.
#include "train/verify.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "models/model_parts.h"
#include "train/corpus.h"

namespace bib::cli {
namespace {

constexpr std::size_t flips_listed = 10;

struct VerifyFlags {
  std::string model, input, from = "auto";
  bool json = false;
  DeviceFlags device;
};

template <class Model>
VerifyReport compare_devices(const VerifyFlags& flags, const ContextOptions& gpu) {
  Context on_cpu({.threads = flags.device.threads}), on_gpu(gpu);
  const Model model = Model::load(flags.model, on_cpu), same = Model::load(flags.model, on_gpu);
  const std::vector<Document> documents =
      flags.input.empty() ? sample_texts(model) : read_corpus(flags.input, {.format = flags.from}).documents;
  return verify(on_cpu, model, on_gpu, same, documents);
}

void print_json(const VerifyFlags& flags, const std::string& gpu, const VerifyReport& r) {
  nlohmann::ordered_json out{{"model", flags.model}, {"gpu", gpu},        {"isa", cpu_isa_name()},
                             {"texts", r.texts},     {"units", r.units},  {"answers", r.answers},
                             {"passed", r.passed()}, {"why", r.failure()}};
  for (const LayerDifference& l : r.layers) {
    out["layers"].push_back({{"name", l.name},
                             {"values", l.values},
                             {"largest_difference", l.largest},
                             {"share_of_allowed", l.share},
                             {"document", l.document + 1}});
  }
  out["flips"] = nlohmann::ordered_json::array();
  for (const LabelFlip& f : r.flips) {
    out["flips"].push_back(
        {{"document", f.document + 1}, {"what", f.what}, {"cpu", f.reference}, {"gpu", f.other}, {"tie", f.tie}});
  }
  std::printf("%s\n", out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

void print_table(const VerifyFlags& flags, const std::string& gpu, const VerifyReport& r) {
  std::printf("%s on %s against the CPU (%s path): %zu texts, %zu units\n\n", flags.model.c_str(), gpu.c_str(),
              cpu_isa_name(), r.texts, r.units);
  std::printf("%-14s %12s %20s %16s\n", "layer", "values", "largest difference", "of the allowed");
  for (const LayerDifference& l : r.layers) {
    std::printf("%-14s %12lld %20.3g %15.1f%%\n", l.name.c_str(), static_cast<long long>(l.values), l.largest,
                100 * l.share);
  }
  std::size_t ties = 0;
  for (const LabelFlip& f : r.flips) ties += f.tie;
  std::printf("\nanswers: %zu of %zu differ, %zu of them ties\n", r.flips.size(), r.answers, ties);
  for (std::size_t i = 0; i < std::min(flips_listed, r.flips.size()); ++i) {
    const LabelFlip& f = r.flips[i];
    std::printf("  text %zu, %s: %s on the CPU, %s on the GPU%s\n", f.document + 1, f.what.c_str(), f.reference.c_str(),
                f.other.c_str(), f.tie ? " (a tie)" : "");
  }
  if (r.flips.size() > flips_listed) std::printf("  and %zu more; --json lists all\n", r.flips.size() - flips_listed);
  std::printf("%s\n", r.passed() ? "passed" : "FAILED");
}

int verify_model(const VerifyFlags& flags) {
  DeviceFlags device = flags.device;
  if (device.device == "auto") device.device = "cuda";  // the CPU in its place would compare nothing
  if (device.device == "cpu") throw UsageError("--device cpu: a GPU is compared with the CPU; write cuda or cuda:N");
  if (const DeviceInfo info = cuda_info(); !info.cuda)
    throw DeviceError("there is no GPU to compare with the CPU: " + info.why);
  const ContextOptions gpu = device.options();
  const VerifyReport report = task_of(read_model(flags.model)) == Task::ner ? compare_devices<NerModel>(flags, gpu)
                                                                            : compare_devices<TcModel>(flags, gpu);
  const std::string name = cuda_info(gpu.device_index).name;
  flags.json ? print_json(flags, name, report) : print_table(flags, name, report);
  if (!report.passed()) {
    throw GateFailed(flags.model + ": " + report.failure() +
                     "; the GPU's answers cannot be trusted: use --device cpu, and report this with the output of 'bib "
                     "verify --json' and 'bib info'");
  }
  return exit_code::ok;
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("verify", "Compare the GPU with the CPU, layer by layer");
  auto flags = std::make_shared<VerifyFlags>();
  flags->device.device = "cuda";
  verb->add_option("model", flags->model, "Model file")->required();
  verb->add_option("input", flags->input,
                   "Texts, one a line, or a corpus; without it, texts from the model's own words");
  verb->add_option("--from", flags->from, "Input format: auto, or a name that 'bib convert --formats' lists")
      ->capture_default_str();
  verb->add_flag("--json", flags->json, "One JSON object");
  flags->device.add(*verb);
  verb->footer("Example: bib verify ner.bib --device cuda:0");
  verb->callback([&action, flags] { action = [flags] { return verify_model(*flags); }; });
}

}  // namespace bib::cli
