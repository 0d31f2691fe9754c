#include "serve/model_store.h"

#include <malloc.h>
#include <sys/resource.h>

#include <chrono>
#include <filesystem>
#include <sstream>
#include <utility>

#include "bib/error.h"
#include "models/model_file.h"
#include "models/model_parts.h"
#include "serve/log.h"
#include "serve/status.h"

namespace bib::serve {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int loading_niceness = 19;
// Polls until a file that was refused is tried again: what was wrong, such as too little memory, may have gone.
constexpr double retry_polls = 30;
double since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

std::string shown(const std::string& name, const std::string& selector) {
  return "model '" + name + "'" + (selector.empty() ? "" : " version '" + selector + "'");
}

bool is_number(const std::string& selector) {
  return !selector.empty() && selector.find_first_not_of("0123456789") == std::string::npos;
}

bool listed(const std::string& list, const std::string& name) {
  return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

/// A first prediction brings the weights into memory and lets the allocator settle. A GPU's driver loads each kernel
/// when it is first launched, and a whole batch takes others than a single text.
void warm(Context& ctx, const LoadedModel& model, int batch_texts) {
  const auto predict = [&](int texts) {
    const std::vector<Document> batch(static_cast<std::size_t>(texts),
                                      {.text = "서울에 사는 김민수는 2026년에 bib 1.0을 썼다."});
    std::visit([&](const auto& m) { m.predict(ctx, batch); }, model.model);
  };
  predict(1);
  if (ctx.device() == Device::cuda) predict(batch_texts);
}

}  // namespace

ModelStore::ModelStore(const Settings& settings, Repository& repository, Metrics& metrics)
    : settings_(settings), repository_(repository), metrics_(metrics) {
  ContextOptions options = settings.device;
  options.threads = 1;
  context_ = std::make_unique<Context>(options);
  if (settings.preload == "all" || settings.preload == "none") return;
  std::istringstream names(settings.preload);
  for (std::string name; std::getline(names, name, ',');) {
    if (!name.empty()) awaited_.insert(name);
  }
}

ModelStore::~ModelStore() { stop(); }

void ModelStore::stop() {
  loader_ = {};  // asks to stop and joins
  follower_ = {};
  for (const Job& job : std::exchange(jobs_, {})) {
    job.done(nullptr, std::make_exception_ptr(Refusal(grpc::StatusCode::UNAVAILABLE, "the server is going down")), 0);
  }
}

void ModelStore::start() {
  refresh();
  {
    const std::lock_guard lock(mutex_);
    looked_ = true;
  }
  tell_change();
  loader_ = std::jthread([this](std::stop_token stop) { run_loads(stop); });
  follower_ = std::jthread([this](std::stop_token stop) { follow(stop); });
}

ModelHandle ModelStore::find(const std::string& name, const std::string& selector) const {
  const std::lock_guard lock(mutex_);
  const auto model = served_.find(name);
  if (model == served_.end()) return {};
  const auto found = model->second.find(selector);
  return found == model->second.end() ? nullptr : found->second.model;
}

ModelHandle ModelStore::at_hand(const std::string& name, const std::string& selector) const {
  if (ModelHandle model = find(name, selector)) return model;
  try {
    check_name(name, "name");
    const std::optional<int> version = repository_.resolve(name, selector);
    for (const auto& [other, model] : serving(name)) {
      if (version && model->version == *version) return model;
    }
  } catch (const Refusal&) {  // an alias that means nothing, a name that is none
  }
  return {};
}

void ModelStore::get(const std::string& name, const std::string& selector, bool load, Done done) {
  if (ModelHandle model = ask_for(name, selector)) return done(std::move(model), nullptr, 0);
  try {
    check_name(name, "model_name");
    if (!repository_.resolve(name, selector)) {
      throw Refusal(grpc::StatusCode::NOT_FOUND, shown(name, selector) + " does not exist in " + repository_.root() +
                                                     "; ListModels lists what does");
    }
    if (!load) {
      throw Refusal(grpc::StatusCode::FAILED_PRECONDITION, shown(name, selector) + " is not loaded; call LoadModel");
    }
  } catch (...) {
    return done(nullptr, std::current_exception(), 0);
  }
  const std::lock_guard lock(mutex_);
  jobs_.push_back({name, selector, std::move(done)});
  wake_.notify_all();
}

void ModelStore::run_loads(std::stop_token stop) {
  for (;;) {
    std::unique_lock lock(mutex_);
    if (!wake_.wait(lock, stop, [&] { return !jobs_.empty(); })) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    const auto begin = Clock::now();
    ModelHandle model = ask_for(job.name, job.selector);  // an earlier job may have loaded it
    std::exception_ptr error;
    try {
      if (!model) {
        refuse_at_once(job.name, job.selector);
        model = load_now(job.name, job.selector, For::request);
      }
    } catch (...) {
      error = std::current_exception();
    }
    job.done(std::move(model), error, since(begin));
  }
}

/// Requests for a version that was refused just now do not read its file again and again, while others wait to load.
void ModelStore::refuse_at_once(const std::string& name, const std::string& selector) const {
  constexpr double just_now = 1;  // seconds
  const std::optional<int> version = repository_.resolve(name, selector);
  const auto error = version ? refused(name, *version) : std::nullopt;
  if (error && since(error->when) < just_now) std::rethrow_exception(error->exception);
}

ModelHandle ModelStore::load(const std::string& name, const std::string& selector) {
  check_name(name, "model_name");
  {
    const std::lock_guard lock(mutex_);
    unloaded_.erase(name);
  }
  return load_now(name, selector, For::hand);
}

/// Whether a look still has to do with it: not where it was unloaded meanwhile. mutex_ is held.
bool ModelStore::wanted(const std::string& name, const std::string& selector) const {
  const auto model = served_.find(name);
  if (model != served_.end() && model->second.contains(selector)) return true;
  return selector.empty() && !unloaded_.contains(name);
}

/// Null: a look found it, and it was unloaded meanwhile.
ModelHandle ModelStore::load_now(const std::string& name, const std::string& selector, For whom) {
  const std::lock_guard loading(loading_);  // before the look, or a slow load would undo a later one
  const std::optional<int> version = repository_.resolve(name, selector);
  if (!version) throw Refusal(grpc::StatusCode::NOT_FOUND, shown(name, selector) + " does not exist");
  ModelHandle model = with_dictionary(read(name, *version)), old;
  {
    const std::lock_guard lock(mutex_);
    if (whom == For::look && !wanted(name, selector)) return {};
    Place& place = served_[name][selector];
    place.lent = whom != For::hand && is_number(selector) && (!place.model || place.lent);
    place.asked = Clock::now();
    old = std::exchange(place.model, model);
    awaited_.erase(name);
  }
  tell_change();
  return model;
}

/// From memory when another selector serves the version already, else from the disk, warmed.
ModelHandle ModelStore::read(const std::string& name, int version) {
  const std::string file_id = repository_.file_id(name, version);
  for (const auto& [selector, model] : serving(name)) {
    if (model->version == version && model->file_id == file_id) return model;
  }
  try {
    ModelHandle model;
    std::exception_ptr error;
    // A thread of the lowest priority for what takes time: predictions go first. It holds no lock that they need.
    std::thread([&] {
      setpriority(PRIO_PROCESS, 0, loading_niceness);
      try {
        model = read_file(name, version, file_id);
      } catch (...) {
        error = std::current_exception();
      }
    }).join();
    if (error) std::rethrow_exception(error);
    const std::lock_guard lock(mutex_);
    errors_.erase({name, version});
    return model;
  } catch (const std::exception& e) {
    metrics_.loads_failed.add();
    const std::lock_guard lock(mutex_);
    errors_[{name, version}] = {file_id, e.what(), std::current_exception(), Clock::now()};
    throw;
  }
}

ModelHandle ModelStore::read_file(const std::string& name, int version, const std::string& file_id) {
  const auto begin = Clock::now();
  const std::string path = repository_.path(name, version);
  auto model = std::make_shared<LoadedModel>(
      task_of(read_model(path)) == Task::ner
          ? LoadedModel{.name = name, .version = version, .file_id = file_id, .model = NerModel::load(path, *context_)}
          : LoadedModel{.name = name, .version = version, .file_id = file_id, .model = TcModel::load(path, *context_)});
  warm(*context_, *model, settings_.batch_texts);
  model->load_seconds = since(begin);
  metrics_.load.observe(model->load_seconds);
  return model;
}

void ModelStore::drop(const std::string& name, const std::string& selector) {
  std::map<std::string, Place>::node_type gone;  // freed without the mutex, which every request takes
  {
    const std::lock_guard lock(mutex_);
    const auto model = served_.find(name);
    if (model == served_.end()) return;
    gone = model->second.extract(selector);
    if (model->second.empty()) served_.erase(model);
  }
  log("model " + name + (selector.empty() ? "" : " '" + selector + "'") + " is no longer served");
  tell_change();
}

void ModelStore::unload(const std::string& name, const std::string& selector) {
  if (!selector.empty()) {
    drop(name, selector);
  } else {
    decltype(served_)::node_type gone;
    {
      const std::lock_guard lock(mutex_);
      gone = served_.extract(name);
      unloaded_.insert(name);
    }
    tell_change();
  }
  malloc_trim(0);  // what the model held goes back to the system
}

void ModelStore::on_change(std::function<void()> f) {
  const std::lock_guard lock(telling_);
  changed_ = std::move(f);
}

void ModelStore::tell_change() {
  const std::lock_guard lock(telling_);
  if (changed_) changed_();
}

void ModelStore::follow(std::stop_token stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(look_mutex_);
      timer_.wait_for(lock, stop, std::chrono::duration<double>(settings_.poll_seconds), [this] { return look_; });
      look_ = false;
    }
    if (stop.stop_requested()) return;
    refresh();
    drop_idle();
  }
}

void ModelStore::look() {
  {
    const std::lock_guard lock(look_mutex_);
    look_ = true;
  }
  timer_.notify_all();
}

void ModelStore::refresh() {
  std::vector<std::pair<std::string, std::string>> wanted;
  std::vector<std::string> names;
  std::string fault;
  try {
    names = repository_.names();
  } catch (const Refusal& e) {
    fault = e.what();
  }
  bool said = false;
  {
    const std::lock_guard lock(mutex_);
    said = std::exchange(fault_, fault) == fault;
  }
  if (!fault.empty() && !said) log("what is served stays as it is: " + fault, Level::warning);
  if (!fault.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, selectors] : served_) {
      for (const auto& [selector, place] : selectors) wanted.emplace_back(name, selector);
    }
    for (const std::string& name : names) {
      const bool preload = settings_.preload == "all" || listed(settings_.preload, name);
      if (preload && !unloaded_.contains(name) && !served_.contains(name)) wanted.emplace_back(name, "");
    }
  }
  for (const auto& [name, selector] : wanted) update(name, selector);
}

/// Brings what serves a selector up to date; a version that cannot be loaded leaves the old one serving.
void ModelStore::update(const std::string& name, const std::string& selector) {
  const ModelHandle now = find(name, selector);
  {
    const std::lock_guard lock(mutex_);
    if (!wanted(name, selector)) return;
  }
  std::optional<int> version;
  try {
    version = repository_.resolve(name, selector);
    const std::lock_guard lock(mutex_);
    unresolved_.erase({name, selector});
  } catch (const Refusal& e) {
    std::unique_lock lock(mutex_);
    const bool said = std::exchange(unresolved_[{name, selector}], e.what()) == e.what();
    lock.unlock();
    const std::string serves = now ? ", version " + std::to_string(now->version) + " keeps serving" : " is not served";
    if (!said) log("model " + name + serves + ": " + e.what(), Level::warning);
    return;
  }
  if (!version) {
    std::error_code ignored;  // a volume that has gone is no wish to delete its models
    if (now && std::filesystem::exists(repository_.root(), ignored)) drop(name, selector);
    return;
  }
  const bool same = now && now->version == *version;
  if (same && now->file_id == repository_.file_id(name, *version)) return follow_dictionary(name, selector, now);
  const auto error = refused(name, *version);
  if (error && since(error->when) < retry_polls * settings_.poll_seconds) return;
  try {
    const ModelHandle model = load_now(name, selector, For::look);
    if (!model) return;
    log("model " + name + " version " + std::to_string(*version) + " serves" +
        (same  ? " from its new file"
         : now ? " instead of " + std::to_string(now->version)
               : "") +
        " (loaded in " + std::to_string(static_cast<int>(model->load_seconds * 1000)) + " ms)");
  } catch (const std::exception& e) {
    if (error && error->what == e.what()) return;  // said already
    log("model " + name + " version " + std::to_string(*version) + " is refused" +
            (same  ? ", what it was keeps serving"
             : now ? ", version " + std::to_string(now->version) + " keeps serving"
                   : "") +
            ": " + e.what(),
        Level::error);
  }
}

std::string ModelStore::awaited() const {
  const std::lock_guard lock(mutex_);
  if (!looked_) return "the first look at the repository";
  std::string out;
  for (const std::string& name : awaited_) out += (out.empty() ? "" : ", ") + name;
  return out;
}

bool ModelStore::any() const {
  const std::lock_guard lock(mutex_);
  return !served_.empty();
}

std::map<std::string, ModelHandle> ModelStore::serving(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = served_.find(name);
  std::map<std::string, ModelHandle> out;
  if (found == served_.end()) return out;
  for (const auto& [selector, place] : found->second) out[selector] = place.model;
  return out;
}

std::vector<std::string> ModelStore::served_names() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [name, selectors] : served_) out.push_back(name);
  return out;
}

std::optional<ModelStore::Error> ModelStore::refused(const std::string& name, int version) const {
  const std::string file_id = repository_.file_id(name, version);
  const std::lock_guard lock(mutex_);
  const auto found = errors_.find({name, version});
  if (found == errors_.end() || found->second.file_id != file_id) return {};
  return found->second;
}

std::string ModelStore::error_of(const std::string& name, int version) const {
  const auto error = refused(name, version);
  return error ? error->what : "";
}

}  // namespace bib::serve
