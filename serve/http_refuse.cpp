#include "serve/http_refuse.h"

#include "train/prediction_json.h"

namespace bib::serve {
namespace {

constexpr const char* json_type = "application/json";

std::string error_json(int status, const std::string& message) {
  return json_line({{"error", {{"code", status}, {"message", message}}}});
}

}  // namespace

void set_error(httplib::Response& r, int status, const std::string& message) {
  r.status = status;
  r.set_content(error_json(status, message), json_type);
}

void set_last_error(httplib::Response& r, int status, const std::string& message) {
  r.status = status;
  r.set_header("Connection", "close");
  const std::string body = error_json(status, message);
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
  const bool body = chunked || (sized && request.get_header_value("Content-Length") != "0");
  const auto refuse = [&](int status, const std::string& message) {
    (looks && !body ? set_error : set_last_error)(r, status, message);
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
  if (predict && chunked && sized) return refuse(400, "the body has a length and is chunked; send one of the two");
  if (probe && body) return refuse(400, "the request has a body; leave it out");
  return false;
}

void explain(httplib::Response& r) {
  if (r.has_header("Content-Type")) return;  // it has one
  set_error(r, r.status,
            r.status == 413   ? "the body is longer than --max-message-bytes"
            : r.status == 414 ? "the path is too long"
            : r.status == 400 ? "the request cannot be read; it is cut short, or no HTTP"
                              : "the request is refused");
}

}  // namespace bib::serve
