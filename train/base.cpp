#include "train/base.h"

#include <algorithm>
#include <filesystem>

#include "bib/error.h"
#include "models/model_parts.h"

namespace bib {
namespace {

std::string counted(std::size_t n) { return std::to_string(n) + (n == 1 ? " label" : " labels"); }

/// With the first few names: "2 labels (PS, LC)".
std::string counted(const std::vector<std::string>& labels) {
  constexpr std::size_t shown = 10;
  std::string text = counted(labels.size());
  for (std::size_t i = 0; i < std::min(shown, labels.size()); ++i) text += (i ? ", " : " (") + labels[i];
  if (labels.size() > shown) text += ", ...";
  return labels.empty() ? text : text + ")";
}

std::vector<std::string> without(const std::vector<std::string>& labels, const std::vector<std::string>& others) {
  std::vector<std::string> rest;
  for (const std::string& label : labels)
    if (std::find(others.begin(), others.end(), label) == others.end()) rest.push_back(label);
  return rest;
}

}  // namespace

std::shared_ptr<const ModelFile> read_base(Task task, const std::string& path) {
  std::shared_ptr<const ModelFile> file = read_model_of(task, path);
  if (file->metadata.contains("state.position"))
    file->fail(
        "is the checkpoint of a training; resuming (--resume) goes on with it, a base is a model that was finished");
  return file;
}

std::shared_ptr<const ModelFile> open_base(const Config& config, const TrainOptions& options) {
  if (options.base.empty()) return nullptr;
  std::error_code ignored;  // where either is not there, they are not the same
  if (std::filesystem::equivalent(options.base, options.output, ignored))
    throw std::invalid_argument("output " + options.output + " is also the base, and would take its place");
  std::shared_ptr<const ModelFile> file = read_base(config.task, options.base);
  const Config base = config_of(*file);
  const std::string fixed = differences(config, base);
  if (!fixed.empty())
    throw DataError("configuration: error: the base " + options.base + " has " + fixed +
                    "; leave that out, or train a new model" +
                    (config.vectors != base.vectors ? " (vectors begin a new model, not one that is trained)" : ""));
  return file;
}

std::string hash_of_base(const ModelFile* base) { return base ? base->text("bib.checksum") : std::string(); }

std::vector<std::string> joined(std::vector<std::string> labels, const std::vector<std::string>& of_data) {
  const std::vector<std::string> unseen = without(of_data, labels);
  labels.insert(labels.end(), unseen.begin(), unseen.end());
  return labels;
}

void tell_growth(const TrainOptions& options, const Features& base, const Features& now,
                 const std::vector<std::string>& base_labels, const std::vector<std::string>& of_data) {
  if (options.note)
    options.note("base " + options.base + ": " + std::to_string(base.entries()) + " entries and " +
                 counted(base_labels.size()) + "; new: " + std::to_string(now.entries() - base.entries()) +
                 " entries and " + counted(without(of_data, base_labels)));
  const std::vector<std::string> missing = without(base_labels, of_data);
  if (!missing.empty() && options.warn)
    options.warn("the base knows " + counted(missing) +
                 " that the training data lack, and unlearns them; put texts that have them among the data");
}

const char* metric_of(const Config& config) {
  if (config.task == Task::ner) return "F1";
  return config.multilabel ? "micro F1" : "accuracy";
}

}  // namespace bib
