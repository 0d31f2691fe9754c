#include "models/model_parts.h"

#include "bib/error.h"

namespace bib {

NerModel::Impl make_ner(const Config& config, Features features, TagSet tags) {
  NerModel::Impl m{.config = config, .features = std::move(features), .tags = std::move(tags)};
  m.network = BiLstmCrf::add(m.parameters, config, m.features, m.tags.size());
  return m;
}

TcModel::Impl make_tc(const Config& config, Features features, Labels labels) {
  TcModel::Impl m{.config = config, .features = std::move(features), .labels = std::move(labels)};
  m.network = TextCnn::add(m.parameters, config, m.features, m.labels.size());
  return m;
}

namespace {

template <class Impl>
void save_common(Context& ctx, const Impl& model, ModelFile& file) {
  file.metadata["bib.config"] = to_toml(model.config);
  model.features.save(file);
  model.parameters.save(ctx, file);
}

}  // namespace

void save(Context& ctx, const NerModel::Impl& model, ModelFile& file) {
  file.metadata["bib.task"] = "ner";
  Labels(model.tags.labels()).save(file, "bib.labels");
  save_common(ctx, model, file);
}

void save(Context& ctx, const TcModel::Impl& model, ModelFile& file) {
  file.metadata["bib.task"] = "tc";
  model.labels.save(file, "bib.labels");
  save_common(ctx, model, file);
}

Task task_of(const ModelFile& file) {
  const std::string& task = file.text("bib.task");
  if (task == "ner") return Task::ner;
  if (task == "tc") return Task::tc;
  file.fail("has the unknown task '" + task + "'; it was made by another version of bib");
}

Config config_of(const ModelFile& file) {
  try {
    return from_toml(file.text("bib.config"), file.path + " (stored configuration)", default_config(task_of(file)));
  } catch (const DataError& e) {
    throw ModelError(e.what());
  }
}

std::shared_ptr<const ModelFile> read_model_of(Task task, const std::string& path) {
  auto file = std::make_shared<const ModelFile>(read_model(path));
  if (task_of(*file) != task) {
    file->fail(task == Task::ner ? "is a text classification model, not an NER model"
                                 : "is an NER model, not a text classification model");
  }
  return file;
}

std::shared_ptr<NerModel::Impl> open_ner(Context& ctx, std::shared_ptr<const ModelFile> file) {
  const Config config = config_of(*file);
  auto impl = std::make_shared<NerModel::Impl>(
      make_ner(config, Features::load(config, file), TagSet(Labels::load(*file, "bib.labels").names(), config.scheme)));
  impl->parameters.open(ctx, std::move(file));
  return impl;
}

std::shared_ptr<TcModel::Impl> open_tc(Context& ctx, std::shared_ptr<const ModelFile> file) {
  const Config config = config_of(*file);
  auto impl =
      std::make_shared<TcModel::Impl>(make_tc(config, Features::load(config, file), Labels::load(*file, "bib.labels")));
  impl->parameters.open(ctx, std::move(file));
  return impl;
}

NerModel load_ner(Context& ctx, std::shared_ptr<const ModelFile> file) {
  auto impl = open_ner(ctx, std::move(file));
  impl->network.pack(ctx);
  return NerModel(std::move(impl));
}

TcModel load_tc(Context& ctx, std::shared_ptr<const ModelFile> file) {
  auto impl = open_tc(ctx, std::move(file));
  impl->network.pack(ctx);
  return TcModel(std::move(impl));
}

NerModel NerModel::load(const std::string& path, Context& ctx) { return load_ner(ctx, read_model_of(Task::ner, path)); }

TcModel TcModel::load(const std::string& path, Context& ctx) { return load_tc(ctx, read_model_of(Task::tc, path)); }

const Config& NerModel::config() const { return impl_->config; }
const std::vector<std::string>& NerModel::labels() const { return impl_->tags.labels(); }
const Config& TcModel::config() const { return impl_->config; }
const std::vector<std::string>& TcModel::labels() const { return impl_->labels.names(); }

}  // namespace bib
