#include "serve/http.h"

#include <httplib.h>

#include <cmath>
#include <future>
#include <optional>
#include <thread>

#include "serve/http_body.h"
#include "serve/http_refuse.h"
#include "serve/http_server.h"
#include "train/prediction_json.h"

namespace bib::serve {
namespace {

constexpr const char* json_type = "application/json";
constexpr const char* method = "POST /v1/predict";

int http_code(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK: return 200;
    case grpc::StatusCode::INVALID_ARGUMENT: return 400;
    case grpc::StatusCode::UNAUTHENTICATED: return 401;
    case grpc::StatusCode::PERMISSION_DENIED: return 403;
    case grpc::StatusCode::NOT_FOUND: return 404;
    case grpc::StatusCode::FAILED_PRECONDITION: return 409;
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return 429;
    case grpc::StatusCode::UNAVAILABLE: return 503;
    case grpc::StatusCode::DEADLINE_EXCEEDED: return 504;
    default: return 500;
  }
}

}  // namespace

struct Http::Impl {
  App& app;
  std::unique_ptr<HttpTls> tls;
  std::unique_ptr<HttpServer> server;
  int port = 0;
  std::jthread thread;

  explicit Impl(App& a) : app(a) {
    const Settings& s = a.settings;
    if (!s.tls_cert.empty()) tls = std::make_unique<HttpTls>(s.tls_cert, s.tls_key, s.tls_client_ca);
    server = std::make_unique<HttpServer>(static_cast<std::size_t>(s.http_connections), s.http_seconds, a.draining,
                                          tls.get());
    app.metrics.gauge("bib_http_connections", "HTTP connections open.",
                      [this] { return static_cast<double>(server->connections()); });
    server->set_payload_max_length(s.limits.message_bytes);
    server->set_keep_alive_max_count(1000000);
    server->set_tcp_nodelay(true);
    server->set_socket_options([](socket_t socket) {  // the library's own would let two servers share a port in silence
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    server->set_pre_routing_handler(
        [this, predicts = s.predicts()](const httplib::Request& request, httplib::Response& r) {
          request_id(request, r);
          return refuse_early(request, r, predicts) || (request.path == "/v1/predict" && refuse_crowd(request, r))
                     ? httplib::Server::HandlerResponse::Handled
                     : httplib::Server::HandlerResponse::Unhandled;
        });
    server->set_error_handler([](const httplib::Request& request, httplib::Response& r) { explain(request, r); });
    server->Get("/healthz", [](const httplib::Request&, httplib::Response& r) { r.set_content("ok\n", "text/plain"); });
    server->Get("/readyz", [this](const httplib::Request&, httplib::Response& r) {
      r.status = app.ready() ? 200 : 503;
      r.set_content(app.ready() ? "ready\n" : "not ready\n", "text/plain");
    });
    server->Get("/metrics", [this](const httplib::Request&, httplib::Response& r) {
      r.set_content(app.metrics.page(), "text/plain; version=0.0.4");
    });
    if (s.predicts()) {
      // The body is read here: httplib would take it for a form where the client says so, as `curl -d` does, and forms
      // end at 8 KB with it.
      server->Post("/v1/predict", [this](const httplib::Request& request, httplib::Response& r,
                                         const httplib::ContentReader& read) { predict(request, r, read); });
    }
    if (s.http_port == 0) {
      port = server->bind_to_any_port(s.listen.c_str());
    } else if (server->bind_to_port(s.listen.c_str(), s.http_port)) {
      port = s.http_port;
    }
    if (port <= 0)
      throw std::runtime_error("--http " + std::to_string(s.http_port) +
                               ": the port cannot be bound; is it taken by another program?");
    thread = std::jthread([this] { server->serve(); });
  }

  ~Impl() { server->end(); }

  /// True where too many predictions are asked for, or answered, and `r` says so.
  bool refuse_crowd(const httplib::Request& request, httplib::Response& r) {
    if (server->keep()) return false;
    r.set_header("Retry-After", "1");
    set_last_error(request, r, 503,
                   "the server has as many predictions under way by HTTP as --http-connections allows");
    app.count(method, {grpc::StatusCode::UNAVAILABLE, ""}, request_id(request, r));
    return true;
  }

  bool may_predict(const std::string& authorization) const {
    try {
      app.access.require(authorization, Role::predict);
      return true;
    } catch (const Refusal&) {
      return false;
    }
  }

  /// The body, unless the answer is given already: too long, or cut off. httplib holds only bodies that say their
  /// length, and are not packed, to the limit.
  std::optional<std::string> body_of(const httplib::Request& request, httplib::Response& r,
                                     const httplib::ContentReader& read) {
    const std::size_t most = app.settings.limits.message_bytes;
    const bool welcome = may_predict(request.get_header_value("Authorization"));
    std::string content;
    std::size_t size = 0;
    const auto take = [&](const char* data, std::size_t bytes) {
      size += bytes;
      if (size > most) content = {};
      if (welcome && size <= most) content.append(data, bytes);  // a stranger's is not kept
      return size <= 2 * most;  // somewhat more is read on: who still sends does not look for an answer
    };
    const bool form = request.is_multipart_form_data();
    const bool complete = form ? read([](const httplib::MultipartFormData&) { return true; }, take) : read(take);
    const bool large = size > most || r.status == 413;
    if (!complete || large) {
      app.count(method, {grpc::StatusCode::INVALID_ARGUMENT, ""}, request_id(request, r));
      const bool late = HttpServer::fault() == 408;
      if (large) {
        set_last_error(request, r, 413,
                       "the body has more than " + std::to_string(most) + " bytes (--max-message-bytes)");
      } else if (late) {
        set_last_error(request, r, 408, "the body came too slowly (--http-seconds)");
      } else {
        set_last_error(request, r, 400, "the body is cut short, or not coded as its headers say");
      }
      return {};
    }
    if (form) invalid("body", "is a form of several parts; send JSON alone");
    return content;
  }

  void predict(const httplib::Request& request, httplib::Response& r, const httplib::ContentReader& read) {
    const std::string id = request_id(request, r);
    const LogOfRequest about(id);
    try {
      const std::optional<std::string> content = body_of(request, r, read);
      if (!content) return;
      const std::string authorization = request.get_header_value("Authorization");
      const Pass pass(app, authorization, Role::predict);
      HttpBody body = read_body(*content);
      if (body.question.model_name.empty()) {
        const std::vector<std::string> served = app.store->served_names();
        if (served.size() != 1)
          invalid("model", "is not given, and the server has " + std::to_string(served.size()) + " models");
        body.question.model_name = served.front();
      }
      check_texts(app.settings.limits, body.texts.size(),
                  [&](std::size_t i) -> const std::string& { return body.texts[i]; });
      auto work = std::make_shared<Work>();
      work->request_id = id;
      for (std::string& text : body.texts) work->documents.push_back({.text = std::move(text)});
      work->ner_options = body.ner;
      work->tc_options = body.tc;
      const auto finished = std::make_shared<std::promise<void>>();
      work->done = [finished](Work&) { finished->set_value(); };
      ask(app, body.question, work);
      finished->get_future().wait();
      if (work->error) std::rethrow_exception(work->error);
      r.set_header("bib-timing", timing_text(*work));
      r.set_content(json_line(answer_json(*work, body)), json_type);
      app.count(method, grpc::Status::OK, id);
    } catch (...) {
      fail(r);
    }
  }

  void fail(httplib::Response& r) {
    try {
      throw;
    } catch (const Refusal& e) {
      if (e.retry_after > 0) r.set_header("Retry-After", std::to_string(static_cast<int>(std::ceil(e.retry_after))));
    } catch (...) {
    }
    const grpc::Status status = status_of_current_exception(nullptr);
    if (status.error_code() == grpc::StatusCode::UNAUTHENTICATED) r.set_header("WWW-Authenticate", "Bearer");
    set_error(r, http_code(status.error_code()), status.error_message());
    app.count(method, status, r.get_header_value(request_id_key));
  }
};

Http::Http(App& app) : impl_(std::make_unique<Impl>(app)) {}
Http::~Http() = default;
int Http::port() const { return impl_->port; }

}  // namespace bib::serve
