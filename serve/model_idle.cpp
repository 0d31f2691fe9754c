// Versions that requests had loaded by their numbers leave memory again: a client that names one after another would
// else fill it.
#include <malloc.h>

#include <set>

#include "serve/log.h"
#include "serve/model_store.h"
#include "serve/status.h"

namespace bib::serve {

using Clock = std::chrono::steady_clock;

/// What serves the selector, for a request: it is asked for now.
ModelHandle ModelStore::ask_for(const std::string& name, const std::string& selector) {
  const std::lock_guard lock(mutex_);
  const auto model = served_.find(name);
  if (model == served_.end()) return {};
  const auto found = model->second.find(selector);
  if (found == model->second.end()) return {};
  if (found->second.lent) found->second.asked = Clock::now();
  return found->second.model;
}

/// Held by nothing else, neither a request nor another selector, and not asked for lately; mutex_ is held.
bool ModelStore::idle(const Place& place) const {
  const std::chrono::duration<double> rested = Clock::now() - place.asked;
  return place.lent && place.model.use_count() == 1 && rested.count() > settings_.idle_unload_seconds;
}

/// Neither what an alias names nor the last of a model: nobody becomes unready by having nothing to do.
void ModelStore::drop_idle() {
  if (settings_.idle_unload_seconds == 0) return;
  std::vector<std::tuple<std::string, std::string, int>> found;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, selectors] : served_) {
      for (const auto& [selector, place] : selectors) {
        if (idle(place)) found.emplace_back(name, selector, place.model->version);
      }
    }
  }
  bool dropped = false;
  for (const auto& [name, selector, version] : found) {
    try {
      const auto aliases = repository_.aliases(name);
      if (std::any_of(aliases.begin(), aliases.end(), [v = version](const auto& a) { return a.second == v; })) continue;
    } catch (const Refusal&) {  // the volume cannot be looked at; the next time it may
      continue;
    }
    ModelHandle gone;  // freed without the mutex, which every request takes
    {
      const std::lock_guard lock(mutex_);
      const auto model = served_.find(name);
      if (model == served_.end() || model->second.size() == 1) continue;
      const auto place = model->second.find(selector);
      if (place == model->second.end() || !idle(place->second)) continue;  // asked for meanwhile
      gone = std::move(place->second.model);
      model->second.erase(place);
    }
    metrics_.idle_unloads.add();
    log("model " + name + " version " + std::to_string(version) +
        " leaves memory: nobody asked for it in --idle-unload-seconds");
    dropped = true;
  }
  if (dropped) malloc_trim(0);  // what they held goes back to the system
}

std::size_t ModelStore::versions_in_memory() const {
  const std::lock_guard lock(mutex_);
  std::set<const LoadedModel*> versions;
  for (const auto& [name, selectors] : served_) {
    for (const auto& [selector, place] : selectors) versions.insert(place.model.get());
  }
  return versions.size();
}

}  // namespace bib::serve
