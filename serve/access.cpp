#include "serve/access.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <strings.h>
#include <sys/stat.h>

#include <ctime>
#include <fstream>
#include <sstream>

#include "serve/log.h"
#include "serve/status.h"

namespace bib::serve {
namespace {

constexpr std::size_t shortest_token = 16;

std::array<unsigned char, 32> digest_of(const std::string& token) {
  std::array<unsigned char, 32> out;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), out.data());
  return out;
}

std::pair<std::int64_t, std::int64_t> state_of(const std::string& path) {
  struct stat s {};
  if (stat(path.c_str(), &s) != 0) return {};
  return {s.st_mtim.tv_sec * 1'000'000'000 + s.st_mtim.tv_nsec, s.st_size};
}

}  // namespace

Access::Access(std::string path) : path_(std::move(path)) {
  if (path_.empty()) return;
  changed_ = state_of(path_);
  entries_ = read();
}

std::vector<Access::Entry> Access::read() const {
  std::ifstream in(path_);
  if (!in) throw std::runtime_error(path_ + ": the token file cannot be read");
  std::vector<Entry> entries;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    std::istringstream words(line);
    std::string roles, token, rest, role;
    if (!(words >> roles) || roles[0] == '#') continue;
    const std::string where = path_ + ":" + std::to_string(number) + ": ";
    if (!(words >> token) || token[0] == '#' || (words >> rest && rest[0] != '#'))
      throw std::runtime_error(where + "write '<role>[,<role>] <token>'");
    if (token.size() < shortest_token) throw std::runtime_error(where + "the token is shorter than 16 characters");
    Entry entry{digest_of(token), 0};
    std::istringstream names(roles);
    while (std::getline(names, role, ',')) {
      if (role == "predict")
        entry.roles |= static_cast<unsigned>(Role::predict);
      else if (role == "train")
        entry.roles |= static_cast<unsigned>(Role::train);
      else if (role == "admin")
        entry.roles |= 7;
      else
        throw std::runtime_error(where + "role '" + role + "' is none of predict, train, admin");
    }
    entries.push_back(entry);
  }
  if (entries.empty()) throw std::runtime_error(path_ + ": holds no token");
  return entries;
}

/// Looks at the file at most once a second; a file that cannot be used leaves the tokens as they are.
void Access::reload() {
  const std::int64_t now = std::time(nullptr);
  if (now == looked_) return;
  looked_ = now;
  const auto state = state_of(path_);
  if (state == changed_) return;
  changed_ = state;
  try {
    entries_ = read();
    log("tokens read again from " + path_);
  } catch (const std::exception& e) {
    log(std::string("tokens stay as they are: ") + e.what(), Level::warning);
  }
}

void Access::require(const grpc::ServerContextBase& context, Role role) {
  if (path_.empty()) return;
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("authorization");
  require(found == metadata.end() ? "" : std::string(found->second.data(), found->second.size()), role);
}

void Access::require(const std::string& authorization, Role role) {
  if (path_.empty()) return;
  const std::string scheme = "Bearer ";  // in any case of its letters
  if (strncasecmp(authorization.c_str(), scheme.c_str(), scheme.size()) != 0) {
    throw Refusal(grpc::StatusCode::UNAUTHENTICATED, "send a token: 'authorization: Bearer <token>'");
  }
  // Digests of equal length, every one compared in full: the time tells nothing about a token.
  const Digest given = digest_of(authorization.substr(scheme.size()));
  unsigned roles = 0;
  {
    const std::lock_guard lock(mutex_);
    reload();
    for (const Entry& e : entries_) {
      const unsigned same = CRYPTO_memcmp(e.digest.data(), given.data(), given.size()) == 0;
      roles |= (0u - same) & e.roles;
    }
  }
  if (!roles) throw Refusal(grpc::StatusCode::UNAUTHENTICATED, "the token is not known here");
  if (!(roles & static_cast<unsigned>(role))) {
    throw Refusal(grpc::StatusCode::PERMISSION_DENIED, "the token's role does not allow this call");
  }
}

}  // namespace bib::serve
