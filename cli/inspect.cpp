// bib inspect MODEL: what a model file holds.
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "models/model_parts.h"

namespace bib::cli {
namespace {

struct InspectFlags {
  std::string model;
  bool json = false, config = false;
};

int inspect(const InspectFlags& flags) {
  const ModelFile file = read_model(flags.model);
  const Config config = config_of(file);
  if (flags.config) {
    std::printf("%s", to_toml(config).c_str());
    return exit_code::ok;
  }
  const Labels labels = Labels::load(file, "bib.labels");
  std::int64_t parameters = 0;
  for (const auto& [name, tensor] : file.tensors) {
    if (tensor.type == ElementType::f32) parameters += tensor.size();
  }
  const auto bytes = std::filesystem::file_size(flags.model);
  if (flags.json) {
    nlohmann::ordered_json out{{"file", flags.model}, {"bytes", bytes}, {"parameters", parameters}};
    out["labels"] = labels.names();
    for (const auto& [key, value] : file.metadata) {
      if (key != "bib.labels") out["metadata"][key] = value;
    }
    for (const auto& [name, tensor] : file.tensors) {
      out["tensors"][name] = {{"type", element_type_name(tensor.type)}, {"shape", tensor.shape}};
    }
    std::printf("%s\n", out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    return exit_code::ok;
  }
  std::printf("%s: %s model, %lld parameters, %llu KiB\n", flags.model.c_str(),
              config.task == Task::ner ? "NER (BiLSTM-CRF)" : "text classification (TextCNN)",
              static_cast<long long>(parameters), static_cast<unsigned long long>(bytes >> 10));
  std::printf("labels (%d):", labels.size());
  for (const std::string& label : labels.names()) std::printf(" %s", label.c_str());
  std::printf("\n\n");
  for (const auto& [key, value] : file.metadata) {
    if (key != "bib.config" && key != "bib.labels") std::printf("%s = %s\n", key.c_str(), value.c_str());
  }
  std::printf("\ntensors:\n");
  for (const auto& [name, tensor] : file.tensors) {
    std::string shape;
    for (int n : tensor.shape) shape += (shape.empty() ? "" : "x") + std::to_string(n);
    std::printf("  %-32s %s %s\n", name.c_str(), std::string(element_type_name(tensor.type)).c_str(), shape.c_str());
  }
  std::printf("\nconfiguration ('bib inspect --config' prints it alone; it trains the same model again):\n%s",
              to_toml(config).c_str());
  return exit_code::ok;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("inspect", "Show what a model file holds");
  auto flags = std::make_shared<InspectFlags>();
  verb->add_option("model", flags->model, "Model file")->required();
  CLI::Option* json = verb->add_flag("--json", flags->json, "One JSON object");
  verb->add_flag("--config", flags->config, "Only the configuration, as TOML for 'bib train --config'")->excludes(json);
  verb->footer("Example: bib inspect ner.bib --config > same.toml");
  verb->callback([&action, flags] { action = [flags] { return inspect(*flags); }; });
}

}  // namespace bib::cli
