// The job journal: an SQLite database that survives the server. One row a job, one a progress record.
#pragma once
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "job.pb.h"

struct sqlite3;
struct sqlite3_stmt;

namespace bib::serve {

/// What the journal knows of a job, besides its records.
struct JobRow {
  std::string id, request_id, request_hash, task, model_name, item_id, version, error;
  int state = v1::QUEUED, error_code = 0;
  double created = 0, started = 0, finished = 0;  // seconds since 1970; 0: not yet
};

class Journal {
 public:
  /// Opens or creates it. Throws std::runtime_error saying what to do with a damaged one.
  explicit Journal(const std::string& path);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  std::vector<JobRow> jobs();   // oldest first
  void put(const JobRow& row);  // inserts or replaces
  void remove(const std::string& id);
  void append(const std::string& id, const std::vector<v1::TrainProgress>& records);
  std::vector<v1::TrainProgress> records(const std::string& id, std::uint32_t after, int limit);
  std::optional<v1::TrainProgress> last(const std::string& id);

 private:
  class Statement;
  void execute(const char* sql);
  template <class F>
  void at_once(F&& changes);  // all of them, or none
  std::mutex mutex_;
  std::string path_;
  sqlite3* db_ = nullptr;
};

}  // namespace bib::serve
