// What a request is known by, here and at those that it came through: in the log, in its answer, in its error.
#pragma once
#include <grpcpp/grpcpp.h>

#include <string>
#include <string_view>

namespace bib::serve {

constexpr const char* request_id_key = "x-request-id";  // metadata, and header of HTTP

/// The client's own, if it is 1 to 128 letters, digits and -_.:/+=, else a new one.
std::string request_id(std::string_view given);
/// Of a call, which gives it back with its initial metadata.
std::string request_id(grpc::ServerContextBase& context);

/// An error with google.rpc.RequestInfo among its details.
grpc::Status with_request_id(const grpc::Status& status, const std::string& id);

}  // namespace bib::serve
