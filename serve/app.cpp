#include "serve/app.h"

#include <filesystem>

#include "serve/jobs.h"
#include "serve/log.h"

namespace bib::serve {

namespace fs = std::filesystem;

App::App(Settings s) : settings(std::move(s)), repository(settings.models), access(settings.tokens) {
  std::error_code ignored;
  if (fs::exists(settings.models, ignored) && !fs::is_directory(settings.models, ignored))
    throw std::runtime_error("--models " + settings.models + ": is no folder; name the one that holds the models");
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

void App::count(const char* method, const grpc::Status& status, const std::string& id) {
  metrics.count_call(method, status.error_code());
  const grpc::StatusCode code = status.error_code();
  if (code != grpc::StatusCode::INTERNAL && code != grpc::StatusCode::DATA_LOSS) return;
  constexpr auto again = std::chrono::minutes(1);  // a damaged model fails every request for it
  constexpr std::size_t most = 100;                // lines of that time
  const std::string line = std::string(method) + " failed: " + status.error_message();
  {
    const std::lock_guard lock(said_mutex_);
    const auto now = Clock::now();
    std::erase_if(said_, [&](const auto& one) { return now - one.second >= again; });
    if (said_.size() >= most || !said_.emplace(line, now).second) return;
  }
  const LogOfRequest about(id);
  log(line, Level::error);
}

/// A prediction server without a model, or without one that --preload names, is not ready; one that can also train may
/// get its first model that way. While the models of the start are loaded, the first of them does not make it ready.
bool App::ready() const {
  if (draining) return false;
  if (store && !store->awaited().empty()) return false;
  return !store || settings.allow_empty || settings.trains() || store->any();
}

}  // namespace bib::serve
