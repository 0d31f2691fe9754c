// Who may do what: bearer tokens from a file, each with roles. Without a file everyone who can connect may do
// everything.
#pragma once
#include <grpcpp/grpcpp.h>

#include <array>
#include <mutex>
#include <string>
#include <vector>

namespace bib::serve {

enum class Role { predict = 1, train = 2, admin = 4 };  // admin includes the others

class Access {
 public:
  /// `path`: lines "<role>[,<role>] <token>", '#' begins a comment; "" for no tokens. Read again when it changes.
  /// Throws std::runtime_error "file:line: why".
  explicit Access(std::string path);

  /// Throws Refusal UNAUTHENTICATED or PERMISSION_DENIED.
  void require(const grpc::ServerContextBase& context, Role role);
  void require(const std::string& authorization, Role role);  // the header's value, "Bearer <token>"

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Entry {
    Digest digest;
    unsigned roles;
  };
  void reload();
  std::vector<Entry> read() const;

  const std::string path_;
  std::mutex mutex_;
  std::vector<Entry> entries_;
  std::pair<std::int64_t, std::int64_t> changed_{};  // time and size of the file
  std::int64_t looked_ = 0;
};

}  // namespace bib::serve
