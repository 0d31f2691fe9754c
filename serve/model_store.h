// The models in memory. A request holds the model it is answered by, so a swap never disturbs one: the new version is
// loaded and warmed beside the old, then takes its place, and the old is freed with its last request.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <variant>

#include "bib/ner.h"
#include "bib/tc.h"
#include "serve/metrics.h"
#include "serve/repository.h"
#include "serve/settings.h"

namespace bib::serve {

struct LoadedModel {
  std::string name;
  int version = 0;
  std::string file_id;  // Repository::file_id: numbers come again when the newest version is deleted
  double load_seconds = 0;
  std::variant<NerModel, TcModel> model;
  std::string dictionary_id{};                        // of the file that was read, or refused
  std::shared_ptr<const NerDictionary> dictionary{};  // NER; null: none

  Task task() const { return std::holds_alternative<NerModel>(model) ? Task::ner : Task::tc; }
  const std::vector<std::string>& labels() const {
    return std::visit([](const auto& m) -> const std::vector<std::string>& { return m.labels(); }, model);
  }
};
using ModelHandle = std::shared_ptr<const LoadedModel>;

class ModelStore {
 public:
  /// Called with the model, or with nothing and a thrown Refusal in flight (std::current_exception).
  using Done = std::function<void(ModelHandle, std::exception_ptr, double load_seconds)>;

  ModelStore(const Settings& settings, Repository& repository, Metrics& metrics);
  ~ModelStore();
  /// Ends the threads; loads that still wait are answered with UNAVAILABLE.
  void stop();

  /// What serves the selector now, if anything does. Never waits for a load.
  ModelHandle find(const std::string& name, const std::string& selector) const;
  /// The same, loading it first where needed; `done` is called at once or from the loader's thread.
  void get(const std::string& name, const std::string& selector, bool load, Done done);
  /// Loads (again, if the file on disk is another) and waits. Throws Refusal, ModelError.
  ModelHandle load(const std::string& name, const std::string& selector);
  void unload(const std::string& name, const std::string& selector);

  /// Looks at the repository at once: new versions, changed aliases, deleted models.
  void refresh();
  /// Has the repository looked at now, by another thread.
  void look();
  /// Loads what --preload says and starts to follow the repository.
  void start();

  bool any() const;
  /// The names of --preload that were not served yet, with commas; before the first look is over: not empty.
  std::string awaited() const;
  /// What is in memory of the version that the selector means, by whatever selector it is served; null: nothing.
  ModelHandle at_hand(const std::string& name, const std::string& selector) const;
  std::map<std::string, ModelHandle> serving(const std::string& name) const;  // by selector
  std::vector<std::string> served_names() const;
  std::size_t versions_in_memory() const;
  /// Why the file that is there now is refused; "" when it is not, or nobody tried.
  std::string error_of(const std::string& name, int version) const;
  /// `f` is called after every change of what is served, from now on; f that was given before is not running any more.
  void on_change(std::function<void()> f);

 private:
  struct Job {
    std::string name, selector;
    Done done;
  };
  /// What serves a selector.
  struct Place {
    ModelHandle model;
    bool lent = false;  // a request had it loaded by its number: it goes when nobody asks for it
    std::chrono::steady_clock::time_point asked{};
  };
  ModelHandle ask_for(const std::string& name, const std::string& selector);
  enum class For { request, hand, look };
  ModelHandle load_now(const std::string& name, const std::string& selector, For whom);
  bool wanted(const std::string& name, const std::string& selector) const;
  ModelHandle read(const std::string& name, int version);
  ModelHandle read_file(const std::string& name, int version, const std::string& file_id);
  ModelHandle with_dictionary(const ModelHandle& model);
  void follow_dictionary(const std::string& name, const std::string& selector, const ModelHandle& now);
  void follow(std::stop_token stop);
  void run_loads(std::stop_token stop);
  void update(const std::string& name, const std::string& selector);
  void drop(const std::string& name, const std::string& selector);
  bool idle(const Place& place) const;
  void drop_idle();
  void tell_change();

  const Settings& settings_;
  Repository& repository_;
  Metrics& metrics_;
  std::mutex loading_;  // one load at a time; guards context_
  std::unique_ptr<Context> context_;
  std::mutex telling_;  // guards changed_; taken with loading_ held or nothing, mutex_ only within
  std::function<void()> changed_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable_any wake_;
  std::map<std::string, std::map<std::string, Place>> served_;  // name -> selector
  std::string fault_;               // why the repository could not be looked at, the last time: said once
  std::set<std::string> unloaded_;  // by hand: not preloaded again
  struct Error {
    std::string file_id, what;
    std::exception_ptr exception;
    std::chrono::steady_clock::time_point when{};
  };
  void refuse_at_once(const std::string& name, const std::string& selector) const;
  std::optional<Error> refused(const std::string& name, int version) const;  // the file that is there now
  std::map<std::pair<std::string, int>, Error> errors_;
  std::map<std::pair<std::string, std::string>, std::string> unresolved_;  // why not, by name and selector: said once
  std::set<std::string> awaited_;                                          // of --preload
  bool looked_ = false;                                                    // once
  std::deque<Job> jobs_;
  std::mutex look_mutex_;
  std::condition_variable_any timer_;
  bool look_ = false;
  std::jthread loader_, follower_;
};

}  // namespace bib::serve
