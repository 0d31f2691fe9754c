// The dictionaries of models: read with a model, and again when the file changes. The model in memory stays; what
// serves is a copy of its handle with other terms.
#include "serve/log.h"
#include "serve/model_store.h"

namespace bib::serve {

/// The model with the dictionary that is there now. One that cannot be read, or has labels that the model lacks, leaves
/// it with the terms that it has.
ModelHandle ModelStore::with_dictionary(const ModelHandle& model) {
  const auto* ner = std::get_if<NerModel>(&model->model);
  const std::optional<std::string> id = repository_.dictionary_id(model->name);
  if (!ner || !id || *id == model->dictionary_id) return model;
  for (const auto& [selector, other] : serving(model->name)) {
    if (other->version == model->version && other->file_id == model->file_id && other->dictionary_id == *id)
      return other;
  }
  auto changed = std::make_shared<LoadedModel>(*model);
  changed->dictionary_id = *id;
  const std::string which = "model " + model->name + " version " + std::to_string(model->version);
  try {
    changed->dictionary = nullptr;
    if (!id->empty()) {
      changed->dictionary =
          std::make_shared<const NerDictionary>(NerDictionary::load(repository_.dictionary(model->name), *ner));
    }
    log(which + " has a dictionary of " + std::to_string(id->empty() ? 0 : changed->dictionary->size()) + " terms");
  } catch (const std::exception& e) {
    changed->dictionary = model->dictionary;
    metrics_.dictionaries_failed.add();
    log("the dictionary of " + which + " is refused" +
            (changed->dictionary ? ", what it was keeps serving: " : ", none serves: ") + e.what(),
        Level::error);
  }
  return changed;
}

void ModelStore::follow_dictionary(const std::string& name, const std::string& selector, const ModelHandle& now) {
  const std::lock_guard loading(loading_);
  const ModelHandle model = with_dictionary(now);
  if (model == now) return;
  const std::lock_guard lock(mutex_);
  const auto served = served_.find(name);
  if (served == served_.end()) return;  // unloaded meanwhile
  const auto place = served->second.find(selector);
  if (place != served->second.end() && place->second.model == now) place->second.model = model;
}

}  // namespace bib::serve
