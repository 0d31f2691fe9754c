#include "serve/app.h"

#include "serve/jobs.h"

namespace bib::serve {

App::App(Settings s) : settings(std::move(s)), repository(settings.models), access(settings.tokens) {
  if (settings.trains()) make_folder(settings.models);
  repository.remove_leftovers();
  if (settings.predicts()) {
    store = std::make_unique<ModelStore>(settings, repository, metrics);
    engine = std::make_unique<Engine>(settings, metrics);
  }
  if (settings.trains()) jobs = std::make_unique<Jobs>(*this);
}

App::~App() {
  jobs.reset();
  store.reset();  // its loader may still hand work to the engine
  engine.reset();
}

/// A prediction server without a model is not ready; one that can also train may get its first model that way.
bool App::ready() const {
  if (draining) return false;
  return !store || settings.allow_empty || settings.trains() || store->any();
}

}  // namespace bib::serve
