// The model repository on disk, shared by training servers (which publish) and prediction servers (which look):
//   <root>/<name>/<version>/model.bib   versions are whole numbers from 1, complete once their folder exists
//   <root>/<name>/<version>/job         the job that made it, if one did
//   <root>/<name>/<alias>.alias         holds the version an alias means
//   <root>/<name>/dictionary.tsv        terms for the model's versions, put there by whoever runs the servers
// Everything appears by rename(2), so that a reader never sees a part.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bib::serve {

/// A model or data set name that stays inside its folder: letters, digits, '.', '_', '-' and non-ASCII UTF-8, not
/// beginning with '.' or '-', at most 128 bytes. Throws Refusal INVALID_ARGUMENT naming `field`.
void check_name(const std::string& name, const std::string& field);

class Repository {
 public:
  explicit Repository(std::string root) : root_(std::move(root)) {}

  const std::string& root() const { return root_; }
  /// These throw Refusal UNAVAILABLE where the volume cannot be looked at, rather than say that it holds nothing. The
  /// names are also those of models whose own folder cannot be looked at.
  std::vector<std::string> names() const;
  std::vector<int> versions(const std::string& name) const;  // rising
  std::map<std::string, int> aliases(const std::string& name) const;

  /// The version a selector means: a number, "latest", an alias, or "" (stable if set, else latest). Nothing: there is
  /// none. Throws Refusal FAILED_PRECONDITION where the alias, or stable for "", is set and means no version that is
  /// there: who set stable does not want the newest, and a file that is being written anew is soon whole.
  std::optional<int> resolve(const std::string& name, const std::string& selector) const;
  std::string path(const std::string& name, int version) const;
  /// Tells the version's file from another that later has its number, or takes its place; "" when it is not there.
  std::string file_id(const std::string& name, int version) const;
  std::string dictionary(const std::string& name) const;
  /// Tells the dictionary from one that takes its place; "" when there is none, nothing when that cannot be seen.
  std::optional<std::string> dictionary_id(const std::string& name) const;
  std::string job_of(const std::string& name, int version) const;
  /// The version that the job published, if it did.
  std::optional<int> version_of_job(const std::string& name, const std::string& job) const;

  /// Moves the file (on the same volume) in as the next version.
  int publish(const std::string& name, const std::string& file, const std::string& job);
  void set_alias(const std::string& name, const std::string& alias, int version);
  void remove_alias(const std::string& name, const std::string& alias);
  void remove(const std::string& name, int version);
  void remove_all(const std::string& name);
  /// Removes what servers that were killed left half done: a day old, as another server may be at work on the rest.
  void remove_leftovers();

 private:
  bool may_hold_versions(const std::string& name) const;

  std::string root_;
};

/// Days since the file was last written, or the folder last changed; 0 when it is not there.
double days_old(const std::string& path);
/// Throws Refusal: RESOURCE_EXHAUSTED for a full disk, FAILED_PRECONDITION for any other `error` (errno).
[[noreturn]] void cannot_write(const std::string& what, int error);
/// Writes all of it; what went wrong (errno), or 0.
int write_all(int fd, const std::string& data);
/// Writes the file anew by way of a temporary name, synced. Throws as cannot_write does.
void write_file(const std::string& path, const std::string& content);
void make_folder(const std::string& path);
std::string read_file(const std::string& path);  // "" when it is not there

}  // namespace bib::serve
