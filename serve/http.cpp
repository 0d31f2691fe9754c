#include "serve/http.h"

#include <httplib.h>

#include <cmath>
#include <future>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "serve/ask.h"
#include "train/prediction_json.h"

namespace bib::serve {
namespace {

using Json = nlohmann::ordered_json;
constexpr const char* json_type = "application/json";

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

/// What a body asks for.
struct Body {
  Question question;
  std::vector<std::string> texts;
  bool single = false;  // "text" rather than "texts"
  std::string offsets = "codepoint";
  NerPredictOptions ner;
  TcPredictOptions tc;
};

template <class T>
T field(const Json& json, const char* name, T fallback) {
  if (!json.contains(name)) return fallback;
  try {
    return json[name].get<T>();
  } catch (const Json::exception&) {
    invalid(name, "is of the wrong type");
  }
}

Body read_body(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) invalid("body", "is not a JSON object, such as {\"model\":\"ner\",\"text\":\"...\"}");
  for (const auto& [key, value] : json.items()) {
    static const std::set<std::string> known{"model",  "version", "text",  "texts",    "offsets",
                                             "scores", "nbest",   "top_k", "threshold"};
    if (!known.contains(key)) invalid(key, "is not known; a body holds model, version, text or texts, and options");
  }
  Body b;
  b.question.model_name = field<std::string>(json, "model", "");
  b.question.version = field<std::string>(json, "version", "");
  b.single = json.contains("text");
  if (b.single == json.contains("texts")) invalid("text", "give either text or texts");
  if (b.single) {
    b.texts.push_back(field<std::string>(json, "text", ""));
  } else {
    b.texts = field<std::vector<std::string>>(json, "texts", {});
  }
  b.offsets = field<std::string>(json, "offsets", "codepoint");
  if (b.offsets != "codepoint" && b.offsets != "utf16" && b.offsets != "byte") {
    invalid("offsets", "is none of codepoint, utf16, byte");
  }
  const auto scores = field<std::string>(json, "scores", "entity");
  b.ner = {.scores = scores != "none", .nbest = field(json, "nbest", 0)};
  b.tc = {.top_k = scores == "all" ? 0 : std::max(1, field(json, "top_k", 1)),
          .threshold = field(json, "threshold", 0.5)};
  if (b.ner.nbest < 0 || b.ner.nbest > 100) invalid("nbest", "is not between 0 and 100");
  return b;
}

Json answer_json(const Work& work, const Body& body) {
  Json results = Json::array();
  for (std::size_t i = 0; i < work.documents.size(); ++i) {
    const std::string& text = work.documents[i].text;
    Json head{{"text", text}};
    results.push_back(work.model->task() == Task::ner
                          ? to_json(std::move(head), text, work.ner[i], body.offsets, body.ner.nbest > 0)
                          : to_json(std::move(head), work.tc[i]));
  }
  if (body.single) return results.front();
  return {{"model_version", std::to_string(work.model->version)}, {"results", std::move(results)}};
}

}  // namespace

struct Http::Impl {
  App& app;
  std::unique_ptr<httplib::Server> server;
  int port = 0;
  std::jthread thread;

  explicit Impl(App& a) : app(a) {
    const Settings& s = a.settings;
    if (s.tls_cert.empty()) {
      server = std::make_unique<httplib::Server>();
    } else {
      server = std::make_unique<httplib::SSLServer>(s.tls_cert.c_str(), s.tls_key.c_str(),
                                                    s.tls_client_ca.empty() ? nullptr : s.tls_client_ca.c_str());
      if (!server->is_valid()) throw std::runtime_error("--tls-cert, --tls-key: cannot be used for HTTP");
    }
    server->new_task_queue = [] { return new httplib::ThreadPool(8); };
    server->set_payload_max_length(s.limits.message_bytes);
    server->set_keep_alive_max_count(1000000);
    server->set_tcp_nodelay(true);
    server->Get("/healthz", [](const httplib::Request&, httplib::Response& r) { r.set_content("ok\n", "text/plain"); });
    server->Get("/readyz", [this](const httplib::Request&, httplib::Response& r) {
      r.status = app.ready() ? 200 : 503;
      r.set_content(app.ready() ? "ready\n" : "not ready\n", "text/plain");
    });
    server->Get("/metrics", [this](const httplib::Request&, httplib::Response& r) {
      r.set_content(app.metrics.page(), "text/plain; version=0.0.4");
    });
    if (s.predicts()) {
      server->Post("/v1/predict",
                   [this](const httplib::Request& request, httplib::Response& r) { predict(request, r); });
    }
    if (s.http_port == 0) {
      port = server->bind_to_any_port(s.listen.c_str());
    } else if (server->bind_to_port(s.listen.c_str(), s.http_port)) {
      port = s.http_port;
    }
    if (port <= 0) throw std::runtime_error("--http " + std::to_string(s.http_port) + ": the port cannot be bound");
    thread = std::jthread([this] { server->listen_after_bind(); });
  }

  ~Impl() { server->stop(); }

  void predict(const httplib::Request& request, httplib::Response& r) {
    try {
      const Pass pass(app, request.get_header_value("Authorization"), Role::predict);
      Body body = read_body(request.body);
      if (body.question.model_name.empty()) {
        const std::vector<std::string> served = app.store->served_names();
        if (served.size() != 1)
          invalid("model", "is not given, and the server has " + std::to_string(served.size()) + " models");
        body.question.model_name = served.front();
      }
      check_texts(app.settings.limits, body.texts.size(),
                  [&](std::size_t i) -> const std::string& { return body.texts[i]; });
      auto work = std::make_shared<Work>();
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
      app.metrics.count_call("POST /v1/predict", 0);
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
    r.status = http_code(status.error_code());
    r.set_content(json_line({{"error", {{"code", r.status}, {"message", status.error_message()}}}}), json_type);
    app.metrics.count_call("POST /v1/predict", status.error_code());
  }
};

Http::Http(App& app) : impl_(std::make_unique<Impl>(app)) {}
Http::~Http() = default;
int Http::port() const { return impl_->port; }

}  // namespace bib::serve
