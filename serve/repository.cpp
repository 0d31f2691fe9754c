#include "serve/repository.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <sstream>

#include "models/text.h"
#include "serve/ids.h"
#include "serve/log.h"
#include "serve/status.h"

namespace bib::serve {
namespace {

namespace fs = std::filesystem;
constexpr const char* model_file = "model.bib";
constexpr const char* alias_suffix = ".alias";

std::optional<int> number(const std::string& text) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos || text[0] == '0') {
    return {};
  }
  return std::stoi(text);
}

/// The version that an alias' file names; a line end, as editors and `echo` leave it, is none of it.
std::optional<int> aliased(const fs::path& file) {
  std::string text = read_file(file.string());
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  return number(text);
}

/// A folder that is not there, or is not for this server (lost+found), holds nothing. One that cannot be looked at now,
/// by a fault of the volume or for want of descriptors, may hold what it did: throws.
void require_looked(const fs::path& at, const std::error_code& error) {
  if (!error || error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory ||
      error == std::errc::permission_denied) {
    return;
  }
  throw Refusal(grpc::StatusCode::UNAVAILABLE, at.string() + " cannot be looked at: " + error.message(), "", 1);
}

void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

std::string id_of(const struct stat& s) {
  std::string id;
  for (const std::int64_t part :
       {static_cast<std::int64_t>(s.st_size), static_cast<std::int64_t>(s.st_mtim.tv_sec),
        static_cast<std::int64_t>(s.st_mtim.tv_nsec)})  // no inode: some network file systems make them up
    id += std::to_string(part) + " ";
  return id;
}

}  // namespace

void check_name(const std::string& name, const std::string& field) {
  if (name.empty()) invalid(field, "is empty; give a name");
  if (name.size() > 128) invalid(field, "is longer than 128 bytes");
  if (name[0] == '.' || name[0] == '-') invalid(field, "begins with '.' or '-'");
  if (!is_valid_utf8(name)) invalid(field, "is not UTF-8");
  for (const char c : name) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x80 && !std::isalnum(u) && c != '.' && c != '_' && c != '-') {
      invalid(field, "may hold letters, digits, '.', '_' and '-' only");
    }
  }
}

void cannot_write(const std::string& what, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  const std::string line = what + ": " + std::strerror(error) +
                           (full ? "; free some space, then try again" : "; the server needs to write there");
  log(line, Level::error);  // the client is told, but the operator must act
  throw LoggedRefusal(full ? grpc::StatusCode::RESOURCE_EXHAUSTED : grpc::StatusCode::FAILED_PRECONDITION, line);
}

int write_all(int fd, const std::string& data) {
  for (std::size_t done = 0; done < data.size();) {
    const ssize_t n = ::write(fd, data.data() + done, data.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    done += static_cast<std::size_t>(n);  // fewer than asked for: the next try says why
  }
  return 0;
}

void make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) cannot_write(path + " cannot be created", error.value());
}

std::string read_file(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

void write_file(const std::string& path, const std::string& content) {
  const std::string temporary = path + ".tmp";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) cannot_write(path + " cannot be written", errno);
  int error = write_all(fd, content);
  if (error == 0 && ::fsync(fd) != 0) error = errno;
  ::close(fd);
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    cannot_write(path + " cannot be written", error);
  }
  sync_folder(fs::path(path).parent_path());
}

double days_old(const std::string& path) {
  std::error_code error;
  const auto written = fs::last_write_time(path, error);
  if (error) return 0;
  return std::chrono::duration<double, std::ratio<86'400>>(fs::file_time_type::clock::now() - written).count();
}

std::vector<std::string> Repository::names() const {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(root_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name[0] == '.' || !is_valid_utf8(name)) continue;  // messages could not hold the latter
    if (may_hold_versions(name)) out.push_back(name);
  }
  require_looked(root_, error);
  std::sort(out.begin(), out.end());
  return out;
}

bool Repository::may_hold_versions(const std::string& name) const try {
  return !versions(name).empty();
} catch (const Refusal&) {
  return true;  // who asks for it is told; the other models go on
}

std::vector<int> Repository::versions(const std::string& name) const {
  std::vector<int> out;
  std::error_code error, unseen;
  for (fs::directory_iterator it(fs::path(root_) / name, error), end; !error && it != end; it.increment(error)) {
    const std::optional<int> version = number(it->path().filename().string());
    if (version && fs::exists(it->path() / model_file, unseen)) out.push_back(*version);
    require_looked(it->path(), unseen);
  }
  require_looked(fs::path(root_) / name, error);
  std::sort(out.begin(), out.end());
  return out;
}

std::map<std::string, int> Repository::aliases(const std::string& name) const {
  std::map<std::string, int> out;
  std::error_code error;
  for (fs::directory_iterator it(fs::path(root_) / name, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != alias_suffix || !is_valid_utf8(it->path().filename().string())) continue;
    if (const std::optional<int> version = aliased(it->path())) {
      out[it->path().stem().string()] = *version;
    }
  }
  require_looked(fs::path(root_) / name, error);
  return out;
}

std::optional<int> Repository::resolve(const std::string& name, const std::string& selector) const {
  const std::vector<int> all = versions(name);
  const auto existing = [&](std::optional<int> v) {
    return v && std::binary_search(all.begin(), all.end(), *v) ? v : std::nullopt;
  };
  const auto latest = [&] { return all.empty() ? std::nullopt : std::optional<int>(all.back()); };
  if (selector == "latest") return latest();
  if (const std::optional<int> version = number(selector)) return existing(version);
  if (!selector.empty()) check_name(selector, "version");
  const std::string alias = selector.empty() ? "stable" : selector;
  const fs::path file = fs::path(root_) / name / (alias + alias_suffix);
  if (const std::optional<int> version = existing(aliased(file))) return version;
  std::error_code ignored;
  if (all.empty() || fs::symlink_status(file, ignored).type() == fs::file_type::not_found) {
    return selector.empty() ? latest() : std::nullopt;
  }
  throw Refusal(grpc::StatusCode::FAILED_PRECONDITION,
                file.string() + " holds '" + valid_utf8(read_file(file.string()).substr(0, 40)) +
                    "', which is no version of model '" + name + "'; set the alias to one (" +
                    std::to_string(all.back()) + " is the newest), or remove it");
}

std::string Repository::path(const std::string& name, int version) const {
  return (fs::path(root_) / name / std::to_string(version) / model_file).string();
}

std::string Repository::file_id(const std::string& name, int version) const {
  struct stat s {};
  return ::stat(path(name, version).c_str(), &s) != 0 ? "" : id_of(s) + job_of(name, version);
}

std::string Repository::dictionary(const std::string& name) const {
  return (fs::path(root_) / name / "dictionary.tsv").string();
}

std::optional<std::string> Repository::dictionary_id(const std::string& name) const {
  struct stat s {};
  if (::stat(dictionary(name).c_str(), &s) == 0) return id_of(s);
  return errno == ENOENT ? std::optional<std::string>("") : std::nullopt;
}

std::string Repository::job_of(const std::string& name, int version) const {
  return read_file((fs::path(root_) / name / std::to_string(version) / "job").string());
}

std::optional<int> Repository::version_of_job(const std::string& name, const std::string& job) const {
  for (const int version : versions(name)) {
    if (job_of(name, version) == job) return version;
  }
  return {};
}

int Repository::publish(const std::string& name, const std::string& file, const std::string& job) {
  // A job that publishes again after a crash finds what it had begun; several servers may share the folder.
  const fs::path folder = fs::path(root_) / name, staged = folder / (".new-" + (job.empty() ? new_id() : job));
  std::error_code ignored;
  fs::remove_all(staged, ignored);
  make_folder(staged.string());
  if (!job.empty()) write_file((staged / "job").string(), job);
  if (::rename(file.c_str(), (staged / model_file).c_str()) != 0) {
    cannot_write(file + " cannot be moved to " + staged.string() + " (they must be on one volume)", errno);
  }
  sync_folder(staged);
  const std::vector<int> all = versions(name);
  for (int version = all.empty() ? 1 : all.back() + 1;; ++version) {  // another server may take a number first
    const fs::path target = folder / std::to_string(version);
    if (::rename(staged.c_str(), target.c_str()) == 0) {
      sync_folder(folder);
      return version;
    }
    if (errno != EEXIST && errno != ENOTEMPTY) cannot_write(target.string() + " cannot be published", errno);
  }
}

void Repository::set_alias(const std::string& name, const std::string& alias, int version) {
  write_file((fs::path(root_) / name / (alias + alias_suffix)).string(), std::to_string(version));
}

void Repository::remove_alias(const std::string& name, const std::string& alias) {
  std::error_code ignored;
  fs::remove(fs::path(root_) / name / (alias + alias_suffix), ignored);
}

void Repository::remove(const std::string& name, int version) {
  // Out of sight first, so that nobody sees a half of it.
  const fs::path folder = fs::path(root_) / name, target = folder / std::to_string(version),
                 gone = folder / (".gone-" + std::to_string(version));
  const std::map<std::string, int> named = aliases(name);
  std::error_code ignored;
  fs::remove_all(gone, ignored);
  if (::rename(target.c_str(), gone.c_str()) != 0) cannot_write(target.string() + " cannot be removed", errno);
  fs::remove_all(gone, ignored);
  for (const auto& [alias, meant] : named) {
    if (meant == version) remove_alias(name, alias);
  }
}

void Repository::remove_all(const std::string& name) {
  for (const int version : versions(name)) remove(name, version);
  std::error_code ignored;
  fs::remove_all(fs::path(root_) / name, ignored);
}

void Repository::remove_leftovers() {
  const auto tidy = [](const fs::path& folder, std::initializer_list<const char*> prefixes) {
    std::error_code error, ignored;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().string();
      const bool ours = std::any_of(prefixes.begin(), prefixes.end(), [&](auto p) { return name.rfind(p, 0) == 0; });
      if (ours && days_old(it->path()) > 1 && fs::remove_all(it->path(), ignored) > 0 && !ignored) {
        log(it->path().string() + " is removed: a server that was killed left it");
      }
    }
  };
  tidy(root_, {".import-"});
  std::error_code error;
  for (fs::directory_iterator it(root_, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string()[0] != '.') tidy(it->path(), {".new-", ".gone-"});
  }
}

}  // namespace bib::serve
