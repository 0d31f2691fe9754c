#include "serve/request_id.h"

#include <algorithm>
#include <atomic>
#include <random>

#include "google/rpc/details.pb.h"
#include "serve/ids.h"

namespace bib::serve {
namespace {

constexpr std::size_t longest = 128;
constexpr std::size_t longest_message = 2000;

bool sane(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-_.:/+=").find(c) != std::string_view::npos;
}

/// 64 bits, another at each call: counted from where chance began, and mixed (SplitMix64) so that neighbours differ.
std::string new_request_id() {
  static std::atomic<std::uint64_t> state{(std::uint64_t{std::random_device()()} << 32) | std::random_device()()};
  std::uint64_t z = state.fetch_add(0x9E3779B97F4A7C15u, std::memory_order_relaxed);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return hex(reinterpret_cast<const unsigned char*>(&z), sizeof z);
}

}  // namespace

std::string request_id(std::string_view given) {
  const bool kept = !given.empty() && given.size() <= longest && std::all_of(given.begin(), given.end(), sane);
  return kept ? std::string(given) : new_request_id();
}

std::string request_id(grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(request_id_key);
  std::string id =
      request_id(found == metadata.end() ? "" : std::string_view(found->second.data(), found->second.size()));
  context.AddInitialMetadata(request_id_key, id);
  return id;
}

grpc::Status with_request_id(const grpc::Status& status, const std::string& id) {
  // The details repeat the message, and clients read 8 KB of trailers.
  if (status.ok() || status.error_message().size() > longest_message) return status;
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  details.set_code(status.error_code());
  details.set_message(status.error_message());
  google::rpc::RequestInfo info;
  info.set_request_id(id);
  details.add_details()->PackFrom(info);
  return {status.error_code(), status.error_message(), details.SerializeAsString()};
}

}  // namespace bib::serve
