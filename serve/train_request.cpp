// A training request as the trainer needs it: documents in bytes, a configuration, and what is wrong with either.
#include <filesystem>
#include <set>

#include "bib/corpus.h"
#include "bib/error.h"
#include "models/model_file.h"
#include "models/model_parts.h"
#include "serve/ask.h"
#include "serve/jobs.h"

namespace bib::serve {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t longest_label = 256;

void check_records(const Limits& limits, std::size_t count) {
  if (count > limits.records) {
    invalid("data_set", "holds " + std::to_string(count) + " examples, at most " + std::to_string(limits.records) +
                            " are learned from (--max-records)");
  }
}

void check_text(const Limits& limits, const std::string& text, const std::string& field) {
  if (text.size() > limits.text_bytes) {
    invalid(field + ".text", "has " + std::to_string(text.size()) + " bytes, at most " +
                                 std::to_string(limits.text_bytes) + " are read");
  }
}

class LabelCheck {
 public:
  explicit LabelCheck(const Limits& limits) : limits_(limits) {}
  void add(const std::string& label, const std::string& field) {
    if (label.empty()) invalid(field, "is empty");
    if (label.size() > longest_label) invalid(field, "is longer than 256 bytes");
    if (seen_.insert(label).second && seen_.size() > limits_.labels) {
      invalid(field, "is the " + std::to_string(seen_.size()) + "th label, at most " + std::to_string(limits_.labels) +
                         " are learned");
    }
  }

 private:
  const Limits& limits_;
  std::set<std::string> seen_;
};

std::string at(const char* field, int i) { return std::string(field) + "[" + std::to_string(i) + "]"; }

/// Byte offset of every code point, and of the end.
std::vector<std::size_t> code_point_starts(const std::string& text) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((text[i] & 0xC0) != 0x80) out.push_back(i);
  }
  out.push_back(text.size());
  return out;
}

Document document_of(const v1::NamedEntityExample& example, const std::string& field) {
  Document d{.text = example.text(), .annotated = true};
  const std::vector<std::size_t> starts = code_point_starts(d.text);
  for (int e = 0; e < example.entities_size(); ++e) {
    const v1::EntitySpan& span = example.entities(e);
    if (span.start() >= span.end() || span.end() >= starts.size()) {
      invalid(field + "." + at("entities", e), "is [" + std::to_string(span.start()) + ", " +
                                                   std::to_string(span.end()) + ") in a text of " +
                                                   std::to_string(starts.size() - 1) + " code points");
    }
    Span out;
    out.begin = starts[span.start()];
    out.end = starts[span.end()];
    out.label = span.label();
    d.spans.push_back(std::move(out));
  }
  std::sort(d.spans.begin(), d.spans.end(),
            [](const Span& a, const Span& b) { return a.begin != b.begin ? a.begin < b.begin : a.end > b.end; });
  return d;
}

Document document_of(const v1::TextClassificationExample& example) {
  Document d{.text = example.text(), .annotated = true};
  if (!example.label().empty()) d.labels.push_back(example.label());
  for (const std::string& label : example.labels()) d.labels.push_back(label);
  return d;
}

/// A corpus from a file is held to the limits of one that comes inline.
std::vector<Document> within_limits(const Limits& limits, std::vector<Document> documents) {
  check_records(limits, documents.size());
  LabelCheck labels(limits);
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const Document& d = documents[i];
    const std::string field = at("data_set", static_cast<int>(i));
    check_text(limits, d.text, field);
    for (std::size_t l = 0; l < d.labels.size(); ++l) {
      labels.add(d.labels[l], field + "." + at("labels", static_cast<int>(l)));
    }
    for (std::size_t e = 0; e < d.spans.size(); ++e) {
      labels.add(d.spans[e].label, field + "." + at("entities", static_cast<int>(e)) + ".label");
    }
  }
  return documents;
}

/// What the model to go on from was trained with.
Config base_config(const TrainRequest& request, const std::string& base) {
  const auto file = read_model(base);
  if (task_of(file) != request.task) {
    throw Refusal(grpc::StatusCode::FAILED_PRECONDITION,
                  "options.base_model: model '" + request.options().base_model() + "' is for " +
                      (request.task == Task::ner ? "text classification" : "named-entity recognition"));
  }
  return bib::config_of(file);
}

/// A path the server may read: below --datasets, links followed.
std::string allowed_path(const Settings& settings, const std::string& path, const std::string& field) {
  if (settings.datasets.empty()) invalid(field, "cannot be used: this server was started without --datasets FOLDER");
  std::error_code error;
  const fs::path root = fs::canonical(settings.datasets, error);
  if (error) invalid(field, "cannot be used: the server's data folder is not there: " + error.message());
  const fs::path target = fs::weakly_canonical(root / path, error);
  const auto [end, ignored] = std::mismatch(root.begin(), root.end(), target.begin(), target.end());
  if (error || end != root.end() || fs::path(path).is_absolute()) invalid(field, "leaves the server's data folder");
  if (!fs::is_regular_file(target, error)) invalid(field, "names no file in the server's data folder");
  return target.string();
}

}  // namespace

void check_request(const Settings& settings, const TrainRequest& request, const std::string& base) {
  const Limits& limits = settings.limits;
  check_size(limits, request.task == Task::ner ? request.ner.ByteSizeLong() : request.tc.ByteSizeLong());
  check_name(request.model_name(), "model_name");
  if (request.epochs() < 1) invalid("epochs", "is " + std::to_string(request.epochs()) + ", at least 1 is needed");
  if (request.epochs() > limits.epochs) invalid("epochs", "is more than " + std::to_string(limits.epochs));
  if (!(request.train_rate() > 0 && request.train_rate() <= 1)) {
    invalid("train_rate", "is " + std::to_string(request.train_rate()) + ", it must be above 0 and at most 1");
  }
  const v1::TrainOptions& options = request.options();
  const int sources = (request.examples() > 0) + !options.dataset_id().empty() + !options.dataset_path().empty();
  if (sources == 0) invalid("data_set", "is empty; give examples, options.dataset_id or options.dataset_path");
  if (sources > 1) invalid("data_set", "give one of data_set, options.dataset_id and options.dataset_path");
  check_records(limits, static_cast<std::size_t>(request.examples()));
  if (options.request_id().size() > 256) invalid("options.request_id", "is longer than 256 bytes");
  if (options.pipeline_item_id().size() > 256) invalid("options.pipeline_item_id", "is longer than 256 bytes");
  if (!options.dataset_id().empty()) check_name(options.dataset_id(), "options.dataset_id");
  if (!options.dataset_path().empty()) allowed_path(settings, options.dataset_path(), "options.dataset_path");
  LabelCheck labels(limits);
  for (int i = 0; i < request.examples(); ++i) {
    const std::string field = at("data_set", i);
    if (request.task == Task::ner) {
      const auto& example = request.ner.data_set(i);
      check_text(limits, example.text(), field);
      document_of(example, field);
      for (int e = 0; e < example.entities_size(); ++e) {
        labels.add(example.entities(e).label(), field + "." + at("entities", e) + ".label");
      }
    } else {
      const auto& example = request.tc.data_set(i);
      check_text(limits, example.text(), field);
      if (example.labels().empty()) labels.add(example.label(), field + ".label");
      for (int l = 0; l < example.labels_size(); ++l) labels.add(example.labels(l), field + "." + at("labels", l));
    }
  }
  config_of(settings, request, base);
}

Config config_of(const Settings& settings, const TrainRequest& request, const std::string& base) {
  Config config = default_config(request.task), of_base;
  if (!base.empty()) config = continued(of_base = base_config(request, base));
  const auto& given = request.options().settings();
  const auto set = [&](const std::string& key, std::string value) {
    const std::string field = "options.settings[" + key + "]";
    if (key == "vectors" || key == "features.vectors") value = allowed_path(settings, value, field);
    if (key == "task") invalid(field, "is decided by the call");
    try {
      set_field(config, key + "=" + value);
    } catch (const DataError& e) {
      invalid(field, e.what());
    }
  };
  for (const char* key : {"unit", "features.unit"}) {  // decides the other defaults, so it comes first
    if (const auto unit = given.find(key); base.empty() && unit != given.end()) {
      set(key, unit->second);
      config = default_config(request.task, config.unit);
    }
  }
  bool multilabel = false;
  for (const auto& example : request.tc.data_set()) multilabel = multilabel || example.labels_size() > 0;
  if (base.empty() || multilabel) config.multilabel = multilabel;
  const std::map<std::string, std::string> ordered(given.begin(), given.end());
  for (const auto& [key, value] : ordered) set(key, value);
  config.epochs = request.epochs();
  config.train_rate = static_cast<float>(request.train_rate());
  if (request.options().has_seed()) config.seed = request.options().seed();
  try {
    check(config);
  } catch (const DataError& e) {
    invalid("options.settings", e.what());
  }
  if (const std::string fixed = base.empty() ? "" : differences(config, of_base); !fixed.empty()) {
    invalid("options.base_model", "has " + fixed + "; leave that out, or train a new model");
  }
  return config;
}

std::vector<Document> documents_of(const Settings& settings, const std::string& folder, const TrainRequest& request) {
  const v1::TrainOptions& options = request.options();
  const std::string format = options.dataset_format().empty() ? "auto" : options.dataset_format();
  if (!options.dataset_id().empty()) {
    return within_limits(settings.limits, read_documents(folder + "/" + options.dataset_id(), request.task, format));
  }
  if (!options.dataset_path().empty()) {
    const std::string path = allowed_path(settings, options.dataset_path(), "options.dataset_path");
    return within_limits(settings.limits, read_documents(path, request.task, format));
  }
  std::vector<Document> out;
  for (int i = 0; i < request.examples(); ++i) {
    out.push_back(request.task == Task::ner ? document_of(request.ner.data_set(i), at("data_set", i))
                                            : document_of(request.tc.data_set(i)));
  }
  return out;
}

}  // namespace bib::serve
