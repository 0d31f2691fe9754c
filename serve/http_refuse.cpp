#include "serve/http_refuse.h"

#include <strings.h>

#include "serve/http_server.h"
#include "serve/request_id.h"
#include "train/prediction_json.h"

namespace bib::serve {
namespace {

constexpr const char* json_type = "application/json";

std::string error_json(const httplib::Response& r, const std::string& message) {
  const std::string id = r.get_header_value(request_id_key);
  return json_line({{"error", {{"code", r.status}, {"message", message}, {"request_id", id}}}});
}

/// Why it is not sure where the request ends: what stands before this server may see it end elsewhere. "" where it is.
std::string unclear_end(const httplib::Request& request) {
  for (const auto& [name, value] : request.headers) {
    if (name.find_first_of(" \t") != std::string::npos) return "a header's name holds a blank";
  }
  const std::size_t lengths = request.get_header_value_count("Content-Length"),
                    codings = request.get_header_value_count("Transfer-Encoding");
  if (lengths + codings > 1) {
    return lengths && codings ? "the body has a length and is chunked; send one of the two"
                              : "a header that says where the body ends is given twice";
  }
  const std::string length = request.get_header_value("Content-Length");
  if (length.find_first_not_of("0123456789") != std::string::npos) return "Content-Length is no number";
  if (codings && strcasecmp(request.get_header_value("Transfer-Encoding").c_str(), "chunked") != 0) {
    return "Transfer-Encoding is not 'chunked'";
  }
  return "";
}

}  // namespace

std::string request_id(const httplib::Request& request, httplib::Response& r) {
  if (!r.has_header(request_id_key)) {
    r.set_header(request_id_key, serve::request_id(request.get_header_value(request_id_key)));
  }
  return r.get_header_value(request_id_key);
}

void set_error(httplib::Response& r, int status, const std::string& message) {
  r.status = status;
  r.set_content(error_json(r, message), json_type);
}

void set_last_error(const httplib::Request& request, httplib::Response& r, int status, const std::string& message) {
  // After HEAD the library writes no body, and would not ask for the one by which it closes.
  if (request.method == "HEAD") const_cast<httplib::Request&>(request).method = "GET";
  r.status = status;
  r.set_header("Connection", "close");
  const std::string body = error_json(r, message);
  r.set_content_provider(body.size(), json_type, [body](std::size_t, std::size_t, httplib::DataSink& sink) {
    sink.write(body.data(), body.size());
    return false;  // by this the library closes
  });
}

bool refuse_early(const httplib::Request& request, httplib::Response& r, bool predicts) {
  const bool probe = request.path == "/healthz" || request.path == "/readyz" || request.path == "/metrics";
  const bool predict = predicts && request.path == "/v1/predict";
  const bool looks = request.method == "GET" || request.method == "HEAD";
  const bool chunked = request.has_header("Transfer-Encoding"), sized = request.has_header("Content-Length");
  const std::string unclear = unclear_end(request);
  const bool body = chunked || (sized && request.get_header_value("Content-Length") != "0") || !unclear.empty();
  const auto refuse = [&](int status, const std::string& message) {
    looks && !body ? set_error(r, status, message) : set_last_error(request, r, status, message);
    return true;
  };
  if (!probe && !predict) {
    return refuse(404, predicts
                           ? "there is no such path; /healthz, /readyz, /metrics and /v1/predict are"
                           : "there is no such path; /healthz, /readyz and /metrics are, /v1/predict where the role "
                             "is predict or both");
  }
  if (predict ? request.method != "POST" : !looks) {
    r.set_header("Allow", predict ? "POST" : "GET, HEAD");
    return refuse(405, "/v1/predict takes POST; /healthz, /readyz and /metrics take GET");
  }
  if (!unclear.empty()) return refuse(400, unclear);
  if (predict && !body && !sized) return refuse(411, "the body has no length; send Content-Length, or chunks");
  if (probe && body) return refuse(400, "the request has a body; leave it out");
  return false;
}

void explain(const httplib::Request& request, httplib::Response& r) {
  request_id(request, r);
  if (r.has_header("Content-Type")) return;  // it has one
  if (const int fault = HttpServer::fault(); fault && r.status == 400) r.status = fault;
  set_last_error(request, r, r.status,
                 r.status == 408   ? "the head of the request came too slowly (--http-seconds)"
                 : r.status == 431 ? "the head of the request is too long"
                 : r.status == 413 ? "the body is longer than --max-message-bytes"
                 : r.status == 414 ? "the path is too long"
                 : r.status == 400 ? "the request cannot be read; it is cut short, or no HTTP"
                                   : "the request is refused");
}

}  // namespace bib::serve
