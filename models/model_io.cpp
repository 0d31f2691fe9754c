// The model file on disk: mapped when read, replaced as a whole when written.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "models/mapped_file.h"
#include "models/model_file.h"

namespace bib {

namespace {

struct Descriptor {
  int fd = -1;
  explicit Descriptor(int opened) : fd(opened) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }
  int close() { return fd < 0 ? 0 : ::close(std::exchange(fd, -1)); }
};

/// Removes the file unless it was renamed into place.
struct TemporaryFile {
  std::string path;
  bool renamed = false;
  ~TemporaryFile() {
    if (!path.empty() && !renamed) ::unlink(path.c_str());
  }
};

[[noreturn]] void cannot_write(const std::string& path, const std::string& what) {
  const int error = errno;
  std::string advice;
  if (error == ENOSPC || error == EDQUOT) advice = "; free some space, then run again";
  if (error == EACCES || error == EROFS || error == EPERM) advice = "; choose a folder you may write to";
  if (error == EFBIG) advice = "; raise the limit on file sizes (ulimit -f), then run again";
  if (error == ENOENT) advice = "; create the folder first";
  if (error == ENAMETOOLONG) advice = "; choose a shorter name";
  throw WriteError(error, "cannot write model " + path + ": " + what + ": " + std::strerror(error) + advice);
}

void write_all(int fd, const void* data, std::size_t bytes, const std::string& path) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(fd, p, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) cannot_write(path, "write");
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

/// A new file beside `target`; the process id keeps two writers apart, the number skips what a crash left.
int open_temporary(const std::filesystem::path& target, TemporaryFile& temporary, const std::string& path) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::string name =
        "." + target.filename().string() + "." + std::to_string(::getpid()) + "-" + std::to_string(attempt) + ".tmp";
    const std::string candidate = (target.parent_path() / name).string();
    const int fd = ::open(candidate.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) {
      temporary.path = candidate;
      return fd;
    }
    if (errno != EEXIST) cannot_write(path, "create " + candidate);
  }
  cannot_write(path, "create a temporary file");
}

/// The file that a model of this path takes the place of, with its folder.
std::filesystem::path target_of(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  fs::path target = fs::path(path);
  if (fs::is_symlink(target, ignored)) target = fs::weakly_canonical(target);  // replace what the link names
  if (!target.has_filename()) {
    errno = EISDIR;
    cannot_write(path, "a file name is expected");
  }
  if (fs::exists(target, ignored) && !fs::is_regular_file(target, ignored)) {
    errno = fs::is_directory(target, ignored) ? EISDIR : EINVAL;
    cannot_write(path, "not a regular file");  // a rename would replace /dev/null
  }
  return (target.has_parent_path() ? target.parent_path() : fs::path(".")) / target.filename();
}

/// The rename itself must reach the disk; file systems that cannot sync a folder say EINVAL.
void sync_folder(const std::filesystem::path& folder, const std::string& path) {
  Descriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.fd < 0) {
    if (errno == EACCES) return;  // a folder that may be written but not listed
    cannot_write(path, "open folder");
  }
  if (::fsync(descriptor.fd) != 0 && errno != EINVAL) cannot_write(path, "sync folder");
}

}  // namespace

ModelFile read_model(const std::string& path) {
  MappedFile file;
  try {
    file = map_file(path, MapMode::whole);
  } catch (const std::runtime_error& error) {
    throw ModelError("model " + path + ": " + error.what() + "; a model file from 'bib train' is expected");
  }
  ModelFile model = parse_model(file.bytes, path);
  model.memory.push_back(std::move(file.owner));
  return model;
}

void require_writable(const std::string& path) {
  TemporaryFile temporary;
  const Descriptor descriptor(open_temporary(target_of(path), temporary, path));
}

void write_model(const std::string& path, const ModelFile& model) {
  const std::filesystem::path target = target_of(path);
  const std::string header = encode_header(model);
  TemporaryFile temporary;
  Descriptor descriptor(open_temporary(target, temporary, path));
  write_all(descriptor.fd, header.data(), header.size(), path);
  for (const Tensor* tensor : data_order(model)) write_all(descriptor.fd, tensor->data, tensor->bytes(), path);
  if (::fsync(descriptor.fd) != 0) cannot_write(path, "sync");
  if (descriptor.close() != 0) cannot_write(path, "close");
  if (::rename(temporary.path.c_str(), target.c_str()) != 0) cannot_write(path, "rename");
  temporary.renamed = true;
  sync_folder(target.parent_path(), path);
}

}  // namespace bib
