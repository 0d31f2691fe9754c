#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "train/progress_record.h"

namespace bib::cli {
namespace {

std::string rate_text(const TrainProgress& p) {
  const double rate = p.seconds > 0 ? static_cast<double>(p.units) / p.seconds : 0;
  char text[32];
  if (rate >= 1e6) {
    std::snprintf(text, sizeof text, "%.1fM units/s", rate / 1e6);
  } else {
    std::snprintf(text, sizeof text, rate >= 1e4 ? "%.0fk units/s" : "%.1fk units/s", rate / 1e3);
  }
  return text;
}

std::string epoch_line(const std::string& metric, const TrainProgress& p) {
  const auto score_text = [&](double score) {
    char text[16];
    std::snprintf(text, sizeof text, " %.2f", 100 * score);
    return metric + text;
  };
  char head[96];
  std::snprintf(head, sizeof head, "epoch %*d/%d  loss %.4f", p.epochs >= 10 ? 2 : 1, p.epoch, p.epochs, p.loss);
  std::string line = head;
  if (p.dev_score) line += "  dev " + score_text(*p.dev_score);
  if (p.best_score) line += "  best " + score_text(*p.best_score) + " @" + std::to_string(p.best_epoch);
  return line + "  " + rate_text(p) + "  " + duration_text(p.seconds);
}

class Plain final : public ProgressPrinter {
 public:
  explicit Plain(std::string metric) : metric_(std::move(metric)) {}
  void draw(const TrainProgress& p) override {
    if (p.epoch_done)
      std::fprintf(stderr, "%s  ETA %s\n", (run_text() + epoch_line(metric_, p)).c_str(),
                   duration_text(p.remaining).c_str());
  }

 private:
  std::string metric_;
};

class Bar final : public ProgressPrinter {
 public:
  explicit Bar(std::string metric) : metric_(std::move(metric)) {}
  ~Bar() override { clear(); }

  void draw(const TrainProgress& p) override {
    if (p.epoch_done) {
      clear();
      std::fprintf(stderr, "%s\n", (run_text() + epoch_line(metric_, p)).c_str());
      return;
    }
    if (p.seconds - shown_ < 0.1) return;
    shown_ = p.seconds;
    const double share = p.steps ? static_cast<double>(p.step) / p.steps : 0;
    const std::string head = run_text() + "epoch " + std::to_string(p.epoch) + "/" + std::to_string(p.epochs) + " ";
    char figures[96];
    std::snprintf(figures, sizeof figures, "%3.0f %%  loss %.4f  %s  ETA %s", 100 * share, p.loss, rate_text(p).c_str(),
                  duration_text(p.remaining).c_str());
    const std::string tail = figures;
    const int room = columns() - static_cast<int>(head.size() + tail.size());
    // What wraps could not be drawn over: the bar gives way, then the figures that come last.
    std::string line = head + (room > least_bar ? bar(share, std::min(room - 4, 24)) + " " : "") + tail;
    if (room <= 0) line.resize(static_cast<std::size_t>(std::max(0, columns() - 1)));
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
    drawn_ = true;
  }

 private:
  static constexpr int least_bar = 8;

  static int columns() {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  }

  static std::string bar(double share, int width) {
    const int eighths = static_cast<int>(share * width * 8);
    std::string bar = "▕";
    for (int i = 0; i < eighths / 8; ++i) bar += "█";
    static constexpr const char* part[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    bar += part[eighths % 8];
    const int filled = eighths / 8 + (eighths % 8 != 0);
    bar.append(static_cast<std::size_t>(std::max(0, width - filled)), ' ');
    return bar + "▏";
  }

  void clear() {
    if (drawn_) std::fprintf(stderr, "\r\033[K");
    drawn_ = false;
  }
  std::string metric_;
  double shown_ = -1;
  bool drawn_ = false;
};

class Json final : public ProgressPrinter {
 public:
  Json(Task task, std::string model_name, std::string item_id) {
    record_.task = task;
    record_.model_name = std::move(model_name);
    record_.pipeline_item_id = std::move(item_id);
    record_.start = std::chrono::system_clock::now();
  }
  void draw(const TrainProgress& p) override {
    last_ = p;
    print(p.seconds + p.remaining, p.steps ? static_cast<double>(p.step) / p.steps : 1);
  }
  void finish() override {
    record_.done = true;
    print(last_.seconds, 1);
  }

 private:
  void print(double estimate, double progress) {
    record_.estimate = estimate;
    record_.progress = progress;
    record_.run = run_;
    record_.runs = runs_;
    record_.step = last_.step;
    std::fprintf(stderr, "%s\n", to_json(record_, &last_).c_str());
  }
  ProgressRecord record_;
  TrainProgress last_;
};

class None final : public ProgressPrinter {
 public:
  void draw(const TrainProgress&) override {}
};

}  // namespace

void ProgressPrinter::begin_run(int run, int runs, const char* what) {
  run_ = run;
  runs_ = runs;
  what_ = what;
  units_before_ += last_.units;
  seconds_before_ += last_.seconds;
  last_ = {};
  first_step_.reset();
}

std::string ProgressPrinter::run_text() const {
  return runs_ > 1 ? std::string(what_) + " " + std::to_string(run_) + "/" + std::to_string(runs_) + "  " : "";
}

void ProgressPrinter::show(const TrainProgress& p) {
  last_ = p;
  if (!first_step_) first_step_ = p.step - 1;
  TrainProgress all = p;
  const double share =
      static_cast<double>(p.steps - *first_step_) / std::max(1, p.steps);  // of a run's steps, made here
  all.remaining += (runs_ - run_) * (p.seconds + p.remaining) / std::max(share, 1e-9);
  all.seconds += seconds_before_;
  all.units += units_before_;
  all.step += (run_ - 1) * p.steps;
  all.steps *= runs_;
  draw(all);
}

std::string duration_text(double seconds) {
  const auto s = static_cast<long>(std::max(0.0, seconds) + 0.5);
  char text[32];
  if (s >= 3600) {
    std::snprintf(text, sizeof text, "%ldh%02ldm", s / 3600, s / 60 % 60);
  } else if (s >= 60) {
    std::snprintf(text, sizeof text, "%ldm%02lds", s / 60, s % 60);
  } else {
    std::snprintf(text, sizeof text, "%.1fs", std::max(0.0, seconds));
  }
  return text;
}

std::unique_ptr<ProgressPrinter> make_progress(const std::string& style, Task task, const std::string& metric,
                                               const std::string& model_name, const std::string& item_id) {
  if (style == "json") return std::make_unique<Json>(task, model_name, item_id);
  if (style == "none") return std::make_unique<None>();
  const char* term = std::getenv("TERM");
  const bool terminal = isatty(STDERR_FILENO) && term && std::string(term) != "dumb";
  if (style == "bar" || (style == "auto" && terminal)) return std::make_unique<Bar>(metric);
  return std::make_unique<Plain>(metric);
}

}  // namespace bib::cli
