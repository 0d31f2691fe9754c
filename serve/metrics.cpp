#include "serve/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

namespace bib::serve {
namespace {

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", v);
  return text;
}

void head(std::string& to, const std::string& name, const char* type, const std::string& help) {
  to += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

}  // namespace

void Histogram::observe(double seconds) {
  const auto at = std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin();
  counts_[static_cast<std::size_t>(at)].fetch_add(1, std::memory_order_relaxed);
  nanoseconds_.fetch_add(static_cast<std::uint64_t>(std::max(0.0, seconds) * 1e9), std::memory_order_relaxed);
}

void Histogram::print(std::string& to, const std::string& name, const std::string& labels) const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i <= bounds.size(); ++i) {
    sum += counts_[i].load(std::memory_order_relaxed);
    to += name + "_bucket{" + labels + (labels.empty() ? "" : ",") + "le=\"" +
          (i < bounds.size() ? number(bounds[i]) : "+Inf") + "\"} " + std::to_string(sum) + "\n";
  }
  const std::string shown = labels.empty() ? "" : "{" + labels + "}";
  to += name + "_sum" + shown + " " + number(static_cast<double>(nanoseconds_.load()) * 1e-9) + "\n";
  to += name + "_count" + shown + " " + std::to_string(sum) + "\n";
}

void Metrics::count_call(const std::string& method, int code) {
  const std::lock_guard lock(mutex_);
  ++calls_[{method, code}];
}

void Metrics::gauge(const std::string& name, const std::string& help, std::function<double()> value) {
  const std::lock_guard lock(mutex_);
  gauges_.push_back({name, help, std::move(value)});
}

std::string Metrics::page() const {
  std::string out;
  head(out, "bib_predict_seconds", "histogram",
       "Time by stage: queue and total of a request; tokenise, compute and decode of a batch.");
  const std::pair<const char*, const Histogram*> stages[] = {
      {"queue", &queue}, {"tokenise", &tokenise}, {"compute", &compute}, {"decode", &decode}, {"total", &total}};
  for (const auto& [stage, histogram] : stages) {
    histogram->print(out, "bib_predict_seconds", std::string("stage=\"") + stage + "\"");
  }
  head(out, "bib_model_load_seconds", "histogram", "Time from the file to the warmed model.");
  load.print(out, "bib_model_load_seconds", "");
  const std::tuple<const char*, const char*, const Counter*> counters[] = {
      {"bib_predict_texts_total", "Texts answered.", &texts},
      {"bib_predict_units_total", "Code points of the texts answered.", &units},
      {"bib_predict_batches_total", "Batches computed.", &batches},
      {"bib_predict_expired_total", "Requests whose deadline passed in the queue.", &expired},
      {"bib_predict_cancelled_total", "Requests cancelled in the queue.", &cancelled},
      {"bib_predict_rejected_total", "Requests refused because the queue was full.", &rejected},
      {"bib_model_load_failures_total", "Versions that could not be loaded; ModelVersion.error says why.",
       &loads_failed},
      {"bib_dictionary_load_failures_total", "Dictionaries that could not be read; the log says why.",
       &dictionaries_failed},
      {"bib_model_idle_unloads_total", "Versions that left memory because nobody asked for them.", &idle_unloads}};
  for (const auto& [name, help, counter] : counters) {
    head(out, name, "counter", help);
    out += std::string(name) + " " + std::to_string(counter->value()) + "\n";
  }
  head(out, "bib_jobs_finished_total", "counter", "Training jobs by how they ended.");
  const std::pair<const char*, const Counter*> ends[] = {{"succeeded", &jobs_succeeded},
                                                         {"failed", &jobs_failed},
                                                         {"cancelled", &jobs_cancelled},
                                                         {"interrupted", &jobs_interrupted}};
  for (const auto& [state, counter] : ends) {
    out += std::string("bib_jobs_finished_total{state=\"") + state + "\"} " + std::to_string(counter->value()) + "\n";
  }
  head(out, "bib_build_info", "gauge", "Always 1; the label says which bib this is.");
  out += "bib_build_info{version=\"" BIB_VERSION "\"} 1\n";
  const std::lock_guard lock(mutex_);
  head(out, "bib_calls_total", "counter", "Calls by method and gRPC status code.");
  for (const auto& [key, count] : calls_) {
    out += "bib_calls_total{method=\"" + key.first + "\",code=\"" + std::to_string(key.second) + "\"} " +
           std::to_string(count) + "\n";
  }
  for (const Gauge& g : gauges_) {
    head(out, g.name, "gauge", g.help);
    out += g.name + " " + number(g.value()) + "\n";
  }
  return out;
}

double resident_bytes() {
  std::ifstream in("/proc/self/statm");
  double total = 0, resident = 0;
  in >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace bib::serve
