#include "serve/journal.h"

#include <sqlite3.h>

#include <stdexcept>

#include "serve/log.h"
#include "serve/status.h"

namespace bib::serve {
namespace {

constexpr const char* schema = R"(
CREATE TABLE IF NOT EXISTS jobs(
  id TEXT PRIMARY KEY, request_id TEXT, request_hash TEXT, task TEXT, model_name TEXT, item_id TEXT, version TEXT,
  error TEXT, state INTEGER, error_code INTEGER, created REAL, started REAL, finished REAL) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS jobs_request ON jobs(request_id) WHERE request_id <> '';
CREATE TABLE IF NOT EXISTS records(
  job TEXT, sequence INTEGER, record BLOB, PRIMARY KEY(job, sequence)) WITHOUT ROWID;
)";

[[noreturn]] void fail(sqlite3* db, const std::string& path) {
  const int code = sqlite3_errcode(db) & 0xFF;
  const bool full = code == SQLITE_FULL;
  const bool closed = code == SQLITE_READONLY || code == SQLITE_CANTOPEN || code == SQLITE_PERM;
  const bool damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
  const std::string what =
      path + ": " + sqlite3_errmsg(db) +
      (full      ? "; free some space, then try again"
       : closed  ? "; the server needs to write there"
       : damaged ? "; the job journal is damaged: move it away (with its -wal and -shm files) and start again; models "
                   "and the folders of unfinished jobs are not touched"
                 : "");
  log(what, Level::error);
  throw LoggedRefusal(full     ? grpc::StatusCode::RESOURCE_EXHAUSTED
                      : closed ? grpc::StatusCode::FAILED_PRECONDITION
                               : grpc::StatusCode::INTERNAL,
                      what);
}

}  // namespace

/// A prepared statement that binds in order and reads in order.
class Journal::Statement {
 public:
  Statement(Journal& journal, const char* sql) : db_(journal.db_), path_(journal.path_) {
    if (sqlite3_prepare_v2(db_, sql, -1, &statement_, nullptr) != SQLITE_OK) fail(db_, path_);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(const std::string& text) {
    sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    return *this;
  }
  Statement& bind_blob(const std::string& bytes) {
    sqlite3_bind_blob(statement_, ++bound_, bytes.data(), static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
    return *this;
  }
  Statement& bind(std::int64_t value) {
    sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }
  Statement& bind(double value) {
    sqlite3_bind_double(statement_, ++bound_, value);
    return *this;
  }
  bool row() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) fail(db_, path_);
    column_ = 0;
    return code == SQLITE_ROW;
  }
  void run() {
    row();
    sqlite3_reset(statement_);
    bound_ = 0;
  }
  std::string text() {
    const int c = column_++;
    const void* bytes = sqlite3_column_blob(statement_, c);
    return bytes ? std::string(static_cast<const char*>(bytes),
                               static_cast<std::size_t>(sqlite3_column_bytes(statement_, c)))
                 : std::string();
  }
  int integer() { return sqlite3_column_int(statement_, column_++); }
  double real_number() { return sqlite3_column_double(statement_, column_++); }

 private:
  sqlite3* db_;
  const std::string& path_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0, column_ = 0;
};

Journal::Journal(const std::string& path) : path_(path) {
  if (sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr) !=
      SQLITE_OK) {
    fail(db_, path_);
  }
  sqlite3_busy_timeout(db_, 5000);
  execute("PRAGMA journal_mode=WAL");
  execute("PRAGMA synchronous=FULL");  // a job that was acknowledged is never lost
  Statement check(*this, "PRAGMA quick_check");
  check.row();
  if (check.text() != "ok") {
    throw std::runtime_error(path +
                             ": the job journal is damaged: move it away (with its -wal and -shm files) and start "
                             "again; models and the folders of unfinished jobs are not touched");
  }
  execute(schema);
}

Journal::~Journal() { sqlite3_close(db_); }

void Journal::execute(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(db_, path_);
}

std::vector<JobRow> Journal::jobs() {
  const std::lock_guard lock(mutex_);
  Statement s(
      *this,
      "SELECT id, request_id, request_hash, task, model_name, item_id, version, error, state, error_code, created, "
      "started, finished FROM jobs ORDER BY created, id");
  std::vector<JobRow> out;
  while (s.row()) {
    JobRow& r = out.emplace_back();
    for (std::string* text :
         {&r.id, &r.request_id, &r.request_hash, &r.task, &r.model_name, &r.item_id, &r.version, &r.error}) {
      *text = s.text();
    }
    r.state = s.integer();
    r.error_code = s.integer();
    r.created = s.real_number();
    r.started = s.real_number();
    r.finished = s.real_number();
  }
  return out;
}

void Journal::put(const JobRow& r) {
  const std::lock_guard lock(mutex_);
  Statement s(*this, "INSERT OR REPLACE INTO jobs VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)");
  for (const std::string* text :
       {&r.id, &r.request_id, &r.request_hash, &r.task, &r.model_name, &r.item_id, &r.version, &r.error}) {
    s.bind(*text);
  }
  s.bind(std::int64_t{r.state}).bind(std::int64_t{r.error_code}).bind(r.created).bind(r.started).bind(r.finished).run();
}

/// One that failed is taken back: in a transaction that stays open nothing would be kept any more.
template <class F>
void Journal::at_once(F&& changes) {
  execute("BEGIN");
  try {
    changes();
    execute("COMMIT");
  } catch (...) {
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

void Journal::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  at_once([&] {
    Statement(*this, "DELETE FROM records WHERE job=?").bind(id).run();
    Statement(*this, "DELETE FROM jobs WHERE id=?").bind(id).run();
  });
}

void Journal::append(const std::string& id, const std::vector<v1::TrainProgress>& records) {
  if (records.empty()) return;
  const std::lock_guard lock(mutex_);
  at_once([&] {
    Statement s(*this, "INSERT OR REPLACE INTO records VALUES(?,?,?)");
    for (const v1::TrainProgress& r : records) {
      s.bind(id).bind(std::int64_t{r.sequence()}).bind_blob(r.SerializeAsString()).run();
    }
  });
}

std::vector<v1::TrainProgress> Journal::records(const std::string& id, std::uint32_t after, int limit) {
  const std::lock_guard lock(mutex_);
  Statement s(*this, "SELECT record FROM records WHERE job=? AND sequence>? ORDER BY sequence LIMIT ?");
  s.bind(id).bind(std::int64_t{after}).bind(std::int64_t{limit});
  std::vector<v1::TrainProgress> out;
  while (s.row()) out.emplace_back().ParseFromString(s.text());
  return out;
}

std::optional<v1::TrainProgress> Journal::last(const std::string& id) {
  const std::lock_guard lock(mutex_);
  Statement s(*this, "SELECT record FROM records WHERE job=? ORDER BY sequence DESC LIMIT 1");
  s.bind(id);
  if (!s.row()) return {};
  v1::TrainProgress record;
  record.ParseFromString(s.text());
  return record;
}

}  // namespace bib::serve
