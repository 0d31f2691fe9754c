// bib client load: how much a server carries, and how fast its answers are. With --concurrency so many requests are
// always open (each answer asks the next); with --rate they come at fixed times, whether or not earlier ones are
// answered, and their latency counts from the time they were due.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/explain.h"
#include "predict.grpc.pb.h"
#include "serve/client/client.h"

namespace bib::client {
namespace {

using Clock = std::chrono::steady_clock;

struct LoadFlags {
  std::string task, model, texts;
  int concurrency = 1, batch = 1, channels = 1;
  double rate = 0, seconds = 10, warmup = 1;
  bool json = false;
};

struct Sample {
  double latency, queue, compute;
};

class Load {
 public:
  Load(const Connection& connection, const LoadFlags& flags) : connection_(connection), flags_(flags) {
    std::ifstream in = open_input(flags.texts);
    for (std::string line; std::getline(in, line);) texts_.push_back(std::move(line));
    if (texts_.empty()) throw std::runtime_error(flags.texts + ": holds no texts");
    for (int i = 0; i < flags.channels; ++i) stubs_.push_back(v1::PredictProvider::NewStub(connection.channel()));
  }

  int run() {
    begin_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(flags_.warmup));
    end_ = begin_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(flags_.seconds));
    if (flags_.rate > 0) {
      const auto gap = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / flags_.rate));
      for (auto due = Clock::now(); due < end_; due += gap) {
        std::this_thread::sleep_until(due);
        start(due);
      }
    } else {
      for (int i = 0; i < flags_.concurrency; ++i) start(Clock::now());
    }
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return open_ == 0; });
    report();
    return errors_.empty() || (errors_.size() == 1 && errors_.contains("RESOURCE_EXHAUSTED")) ? 0 : 1;
  }

 private:
  struct Call {
    std::unique_ptr<grpc::ClientContext> context;
    v1::PredictNamedEntityRecognitionRequest ner;
    v1::PredictTextClassificationRequest tc;
    v1::PredictNamedEntityRecognitionReply ner_reply;
    v1::PredictTextClassificationReply tc_reply;
    Clock::time_point due;
  };

  template <class Request>
  void fill(Request& request) {
    request.set_model_name(flags_.model);
    for (int i = 0; i < flags_.batch; ++i) *request.add_text() = texts_[next_++ % texts_.size()];
  }

  void start(Clock::time_point due) {
    auto call = std::make_shared<Call>();
    call->context = connection_.context();
    call->due = due;
    std::size_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      ++open_;
      number = count_++;
      flags_.task == "ner" ? fill(call->ner) : fill(call->tc);
    }
    auto& stub = *stubs_[number % stubs_.size()];
    if (flags_.task == "ner") {
      stub.async()->PredictNamedEntityRecognition(call->context.get(), &call->ner, &call->ner_reply,
                                                  [this, call](grpc::Status s) mutable { done(std::move(call), s); });
    } else {
      stub.async()->PredictTextClassification(call->context.get(), &call->tc, &call->tc_reply,
                                              [this, call](grpc::Status s) mutable { done(std::move(call), s); });
    }
  }

  void done(std::shared_ptr<Call> call, const grpc::Status& status) {
    const auto now = Clock::now();
    const bool again = flags_.rate <= 0 && now < end_;
    if (again) start(now);
    count(*call, status, now);
    call.reset();  // before the last one lets run() end
    const std::lock_guard lock(mutex_);
    if (--open_ == 0) idle_.notify_all();
  }

  void count(const Call& call, const grpc::Status& status, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    if (call.due >= begin_ && call.due < end_) {
      const v1::Timing& timing = flags_.task == "ner" ? call.ner_reply.timing() : call.tc_reply.timing();
      if (status.ok()) {
        samples_.push_back({std::chrono::duration<double>(now - call.due).count(), timing.queue(), timing.compute()});
      } else {
        ++errors_[code_name(status.error_code())];
        const auto& trailers = call.context->GetServerTrailingMetadata();
        if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED &&
            !trailers.contains("grpc-retry-pushback-ms")) {
          ++errors_["without a retry hint"];
        }
        if (last_error_.empty()) last_error_ = status.error_message();
      }
    }
  }

  static double percentile(std::vector<double>& sorted, double share) {
    if (sorted.empty()) return 0;
    return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
  }

  nlohmann::ordered_json stage(double Sample::*member) {
    std::vector<double> values;
    for (const Sample& s : samples_) values.push_back(1e3 * s.*member);
    std::sort(values.begin(), values.end());
    return {{"p50", percentile(values, 0.5)},
            {"p95", percentile(values, 0.95)},
            {"p99", percentile(values, 0.99)},
            {"max", values.empty() ? 0 : values.back()}};
  }

  void report() {
    nlohmann::ordered_json out{{"task", flags_.task}, {"batch", flags_.batch}, {"seconds", flags_.seconds}};
    if (flags_.rate > 0) {
      out["rate"] = flags_.rate;
    } else {
      out["concurrency"] = flags_.concurrency;
    }
    out["answered"] = samples_.size();
    out["texts_per_second"] = static_cast<double>(samples_.size()) * flags_.batch / flags_.seconds;
    out["latency_ms"] = stage(&Sample::latency);
    out["queue_ms"] = stage(&Sample::queue);
    out["compute_ms"] = stage(&Sample::compute);
    out["errors"] = nlohmann::ordered_json::object();
    for (const auto& [code, count] : errors_) out["errors"][code] = count;
    if (flags_.json) {
      std::printf("%s\n", out.dump().c_str());
      return;
    }
    std::printf("%zu requests of %d texts in %.1f s: %.0f texts/s\n", samples_.size(), flags_.batch, flags_.seconds,
                out["texts_per_second"].get<double>());
    for (const char* name : {"latency_ms", "queue_ms", "compute_ms"}) {
      const auto& s = out[name];
      std::printf("%-11s p50 %8.3f  p95 %8.3f  p99 %8.3f  max %8.3f\n", name, s["p50"].get<double>(),
                  s["p95"].get<double>(), s["p99"].get<double>(), s["max"].get<double>());
    }
    for (const auto& [code, count] : errors_) std::printf("%s: %zu\n", code.c_str(), count);
    if (!last_error_.empty()) std::printf("first error: %s\n", last_error_.c_str());
  }

  const Connection& connection_;
  const LoadFlags& flags_;
  std::vector<std::string> texts_;
  std::vector<std::unique_ptr<v1::PredictProvider::Stub>> stubs_;
  Clock::time_point begin_, end_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::size_t open_ = 0, next_ = 0, count_ = 0;
  std::vector<Sample> samples_;
  std::map<std::string, std::size_t> errors_;
  std::string last_error_;
};

}  // namespace

void add_load(CLI::App& app, const Connection& connection, Action& action) {
  CLI::App* verb = app.add_subcommand("load", "Measure throughput and latency of a prediction server");
  auto f = std::make_shared<LoadFlags>();
  verb->add_option("task", f->task, "ner or tc")->required()->check(CLI::IsMember({"ner", "tc"}));
  verb->add_option("model", f->model, "Model name")->required();
  verb->add_option("texts", f->texts, "File of texts, one a line, used in turn")->required();
  verb->add_option("-c,--concurrency", f->concurrency, "Requests always open")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("-r,--rate", f->rate, "Requests a second, instead of --concurrency")
      ->check(cli::in_range(1e-3, 1e9));
  verb->add_option("-b,--batch", f->batch, "Texts of a request")->check(CLI::PositiveNumber)->capture_default_str();
  verb->add_option("--channels", f->channels, "Connections")->check(cli::in_range(1, 64))->capture_default_str();
  verb->add_option("--seconds", f->seconds, "How long")->check(cli::in_range(1e-3, 1e6))->capture_default_str();
  verb->add_option("--warmup", f->warmup, "Seconds before that, not counted")
      ->check(cli::in_range(0.0, 1e6))
      ->capture_default_str();
  verb->add_flag("--json", f->json, "One JSON object");
  verb->callback([&action, &connection, f] { action = [&connection, f] { return Load(connection, *f).run(); }; });
}

}  // namespace bib::client
