#include "train/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "bib/ner.h"
#include "bib/random.h"
#include "bib/tc.h"
#include "bib/train.h"
#include "train/machine.h"

namespace bib {
namespace {

using Clock = std::chrono::steady_clock;

template <class F>
double seconds_of(F&& f) {
  const auto begin = Clock::now();
  f();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Seconds of each run, for at least so long and at least `least` runs.
template <class F>
std::vector<double> runs(double at_least, std::size_t least, F&& f) {
  std::vector<double> seconds;
  for (double sum = 0; sum < at_least || seconds.size() < least; sum += seconds.back())
    seconds.push_back(seconds_of(f));
  return seconds;
}

double quantile(std::vector<double> x, double q) {
  const auto at = static_cast<std::ptrdiff_t>(q * static_cast<double>(x.size() - 1) + 0.5);
  std::nth_element(x.begin(), x.begin() + at, x.end());
  return x[static_cast<std::size_t>(at)];
}

template <class Model>
class ModelTiming {
 public:
  ModelTiming(const std::string& path, const std::vector<Document>& texts, const ContextOptions& device,
              const TimingOptions& options)
      : path_(path), texts_(texts), options_(options), ctx_(device), model_(Model::load(path, ctx_)) {
    name_ = device.device == Device::cpu ? "cpu" : "cuda";
    // A large batch need not be all different texts, but there must be as many.
    const auto most = static_cast<std::size_t>(*std::max_element(options.batches.begin(), options.batches.end()));
    while (many_.size() < most) many_.insert(many_.end(), texts.begin(), texts.end());
  }

  std::vector<Metric> all() {
    warm_up();
    Metric load = metric("load", "ms", true), p50 = metric("one_text/p50", "us", true),
           p99 = metric("one_text/p99", "us", true);
    std::vector<Metric> batches;
    for (int batch : options_.batches) batches.push_back(metric("batch/" + std::to_string(batch), "texts/s", false));
    // Repeat after repeat of everything, so that a load that comes and goes touches every figure.
    for (int repeat = 0; repeat < options_.repeats; ++repeat) {
      if (options_.doing) {
        options_.doing(name_ + ": repeat " + std::to_string(repeat + 1) + " of " + std::to_string(options_.repeats));
      }
      load.samples.push_back(1e3 * median(runs(options_.seconds / 4, 3, [&] { Model::load(path_, ctx_); })));
      const std::vector<double> one = runs(options_.seconds, 20, [&] { predict_next(); });
      p50.samples.push_back(1e6 * quantile(one, 0.5));
      p99.samples.push_back(1e6 * quantile(one, 0.99));
      for (std::size_t i = 0; i < batches.size(); ++i)
        batches[i].samples.push_back(rate(static_cast<std::size_t>(options_.batches[i])));
    }
    std::vector<Metric> out{std::move(load), std::move(p50), std::move(p99)};
    std::move(batches.begin(), batches.end(), std::back_inserter(out));
    out.push_back(metric("memory", "MB", true));
    out.back().samples.push_back(static_cast<double>(process_memory().now) / (1 << 20));
    return out;
  }

 private:
  Metric metric(const std::string& what, const std::string& unit, bool lower) const {
    return {.name = name_ + "/" + what, .unit = unit, .lower_is_better = lower, .samples = {}};
  }
  void predict_next() { model_.predict(ctx_, texts_[next_++ % texts_.size()].text); }
  void warm_up() {
    for (int i = 0; i < 20; ++i) predict_next();
    model_.predict(ctx_, many_);
  }
  double rate(std::size_t batch) {
    std::size_t begin = 0;
    const double seconds = median(runs(options_.seconds / 4, 3, [&] {
      if (begin + batch > many_.size()) begin = 0;
      model_.predict(ctx_, std::span(many_).subspan(begin, batch));
      begin += batch;
    }));
    return static_cast<double>(batch) / seconds;
  }

  std::string path_, name_;
  const std::vector<Document>& texts_;
  const TimingOptions& options_;
  std::vector<Document> many_;
  Context ctx_;
  Model model_;
  std::size_t next_ = 0;
};

std::string utf8(unsigned c) {  // of a Hangul syllable: three bytes
  return {static_cast<char>(0xE0 | (c >> 12)), static_cast<char>(0x80 | ((c >> 6) & 0x3F)),
          static_cast<char>(0x80 | (c & 0x3F))};
}

}  // namespace

std::vector<Metric> time_model(const std::string& path, Task task, const std::vector<Document>& texts,
                               const ContextOptions& device, const TimingOptions& options) {
  if (texts.empty()) throw std::invalid_argument("time_model: there are no texts");
  return task == Task::ner ? ModelTiming<NerModel>(path, texts, device, options).all()
                           : ModelTiming<TcModel>(path, texts, device, options).all();
}

std::vector<Document> made_up_documents(Task task, int count) {
  std::vector<Document> out;
  for (int i = 0; i < count; ++i) {
    const RandomKey key{.seed = 1, .step = static_cast<std::uint32_t>(i)};
    Document d{.annotated = true, .line = static_cast<std::size_t>(i) + 1};
    const std::uint32_t length = 10 + random_word(key, 0) % 51, entity = random_word(key, 1) % (length - 4);
    for (std::uint32_t s = 0; s < length; ++s) {
      if (s > 0 && random_word(key, 2 + 2 * s) % 4 == 0) d.text += ' ';
      if (s == entity) d.spans.push_back({{.begin = d.text.size(), .end = 0}, i % 2 ? "PS" : "LC"});
      d.text += utf8(0xAC00 + random_word(key, 3 + 2 * s) % 1200);
      if (s == entity + 2) d.spans.back().end = d.text.size();
    }
    if (task == Task::tc) d.spans.clear(), d.labels = {std::string(1, static_cast<char>('a' + i % 4))};
    out.push_back(std::move(d));
  }
  return out;
}

void write_made_up_model(const std::string& path, Task task) {
  Config config = default_config(task);
  config.epochs = 1, config.train_rate = 1;
  Context ctx;
  train(ctx, config, made_up_documents(task, 64), {}, {.output = path});
}

double median(std::vector<double> samples) { return quantile(std::move(samples), 0.5); }

double spread(const std::vector<double>& samples) {
  const double middle = median(samples);
  std::vector<double> away;
  for (double x : samples) away.push_back(std::abs(x - middle));
  return middle > 0 ? median(away) / middle : 0;
}

double mann_whitney_p(const std::vector<double>& a, const std::vector<double>& b) {
  const std::size_t n = a.size(), m = b.size();
  if (n == 0 || m == 0) return 1;
  double u = 0;
  for (double x : a)
    for (double y : b) u += x < y ? 1 : x == y ? 0.5 : 0;
  // ways[i][k]: orders of i of a's and all of b's so far in which k pairs have the a first.
  std::vector<std::vector<double>> ways(n + 1, std::vector<double>(n * m + 1, 0));
  ways[0][0] = 1;
  for (std::size_t i = 1; i <= n; ++i) ways[i][0] = 1;
  for (std::size_t j = 1; j <= m; ++j)
    for (std::size_t i = 1; i <= n; ++i)
      // The last of the i + j is an a, which no b follows, or a b, which all i of a's precede.
      for (std::size_t k = i * j + 1; k-- > 0;) ways[i][k] = ways[i - 1][k] + (k >= i ? ways[i][k - i] : 0);
  const double total = std::accumulate(ways[n].begin(), ways[n].end(), 0.0);
  const double tail = std::min(u, static_cast<double>(n * m) - u);
  double below = 0;
  for (std::size_t k = 0; k <= static_cast<std::size_t>(tail); ++k) below += ways[n][k];
  return std::min(1.0, 2 * below / total);
}

}  // namespace bib
