// Counters, gauges and histograms in Prometheus' text format. Observing costs a few relaxed atomic additions.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace bib::serve {

class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Seconds from 50 us to 10 s, in steps of about 2.
class Histogram {
 public:
  static constexpr std::array<double, 17> bounds{5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2,
                                                 5e-2, 0.1,  0.2,  0.5,  1.0,  2.0,  5.0,  10.0};
  void observe(double seconds);
  void print(std::string& to, const std::string& name, const std::string& labels) const;

 private:
  std::array<std::atomic<std::uint64_t>, bounds.size() + 1> counts_{};
  std::atomic<std::uint64_t> nanoseconds_{0};
};

class Metrics {
 public:
  Histogram queue, total;               // of a request
  Histogram tokenise, compute, decode;  // of a batch
  Histogram load;                       // of a model
  Counter texts, units, batches, expired, cancelled, rejected;
  Counter loads_failed, dictionaries_failed, idle_unloads;
  Counter jobs_succeeded, jobs_failed, jobs_cancelled, jobs_interrupted;
  std::atomic<std::int64_t> in_flight{0}, streams{0};
  std::atomic<std::uint64_t> asked{0};  // calls that came, of any kind

  /// Calls by method and status code.
  void count_call(const std::string& method, int code);
  /// A value asked for when the page is printed.
  void gauge(const std::string& name, const std::string& help, std::function<double()> value);
  std::string page() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, std::uint64_t> calls_;
  struct Gauge {
    std::string name, help;
    std::function<double()> value;
  };
  std::vector<Gauge> gauges_;
};

double resident_bytes();

}  // namespace bib::serve
