// The training loop of both tasks: epochs, dev scores, the best weights, checkpoints, resume.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <filesystem>
#include <limits>

#include "bib/error.h"
#include "bib/together.h"
#include "models/number.h"
#include "train/base.h"
#include "train/batch_feed.h"
#include "train/batching.h"
#include "train/learner.h"
#include "train/output_lock.h"
#include "train/phase.h"
#include "train/training_data.h"
#include "train/updater.h"

namespace bib {
namespace {

constexpr std::uint32_t order_stream = 2000;

std::string checkpoint_of(const std::string& output) { return output + ".checkpoint"; }

/// Hours of training must not end in a path that cannot be written.
void require_place_for(const std::string& output) {
  namespace fs = std::filesystem;
  if (output.empty()) throw std::runtime_error("no output path is given for the model");
  if (fs::is_directory(output)) throw std::runtime_error(output + " is a directory; name a file for the model");
  if (fs::exists(output) && !fs::is_regular_file(output))  // else it would be found out when training has ended
    throw std::runtime_error(output + " is no regular file; name a file for the model");
  const fs::path folder = fs::path(output).has_parent_path() ? fs::path(output).parent_path() : fs::path(".");
  if (!fs::is_directory(folder))
    throw std::runtime_error("folder " + folder.string() + " does not exist; create it first");
  require_writable(output);
  require_writable(checkpoint_of(output));
}

/// On a small corpus a long average would still hold the first epoch's weights at the end: its memory is kept below a
/// third of an epoch, so that e^-3 of any state is left an epoch later.
Config with_short_average(Config config, int steps_per_epoch) {
  config.ema = std::min(config.ema, std::max(0.0f, 1.0f - 3.0f / static_cast<float>(steps_per_epoch)));
  return config;
}

std::string recorded_vectors(const ModelFile& base) {
  const auto found = base.metadata.find("bib.data.vectors");
  return found == base.metadata.end() ? std::string() : found->second;
}

int batches_of(const Learner& learner, const Config& config) {
  const std::size_t batch = static_cast<std::size_t>(config.batch);
  return static_cast<int>((learner.lengths().size() + batch - 1) / batch);
}

class Trainer {
 public:
  Trainer(Context& ctx, const Config& config, Learner& learner, const TrainOptions& options, std::string data_hash,
          const ModelFile* base)
      : ctx_(ctx),
        config_(config),
        learner_(learner),
        options_(options),
        data_hash_(std::move(data_hash)),
        base_hash_(hash_of_base(base)),
        vectors_hash_(base ? recorded_vectors(*base) : hash_of_vectors(config)),
        updater_(ctx, with_short_average(config, batches_of(learner, config)), learner.parameters()),
        batches_per_epoch_(batches_of(learner, config)) {}

  TrainResult run() {
    if (options_.resume) {
      resume();
    } else if (!options_.memory && options_.warn && std::filesystem::exists(checkpoint_path())) {
      options_.warn(checkpoint_path() +
                    " of an interrupted training is replaced by the first new checkpoint: stop now "
                    "and resume (--resume) to go on with it");
    }
    tell_base_score();
    started_ = last_checkpoint_ = std::chrono::steady_clock::now();
    first_step_ = finished_ = step_;
    while (epoch_ < config_.epochs && !out_of_patience()) {
      if (!run_epoch()) {
        save_checkpoint();
        if (!best_.empty()) write_model();  // the best so far is usable at once
        return result(true);
      }
    }
    write_model();
    if (!options_.memory) std::filesystem::remove(checkpoint_path());
    if (best_score_ && learner_.base_score() > best_score_ && options_.warn)
      options_.warn("no epoch scores as high on the dev set as the base; a lower lr than " + exact_text(config_.lr) +
                    ", or some of the base's own data among the new, may help");
    return result(false);
  }

 private:
  /// False when the user asked to stop.
  bool run_epoch() {
    const std::vector<Group> batches =
        shuffled_batches(learner_.lengths(), config_.batch,
                         {.seed = config_.seed, .step = static_cast<std::uint32_t>(epoch_), .stream = order_stream});
    const int count = static_cast<int>(batches.size()), before = step_ - batch_;  // steps made before this epoch
    const auto group = [&](int i) -> const Group& { return batches[static_cast<std::size_t>(i)]; };
    // One that was made to yield to others (bib serve's jobs) does not add a thread to those that wait for its cores.
    const bool ahead = ctx_.asynchronous() || getpriority(PRIO_PROCESS, 0) <= 0;
    BatchFeed feed(batch_, count, ahead, [&](int i) { return learner_.prepare(group(i), key_of(before + i + 1)); });
    while (batch_ < count) {
      start_step(feed, group(batch_++));
      while (under_way_.size() > most_under_way()) {
        finish_step();
        if (finished_ < before + count && !report(false)) {
          finish_all();
          return false;
        }
      }
    }
    finish_all();
    ++epoch_;
    if (config_.ema > 0 && !updater_.averaging()) updater_.start_average(ctx_, step_);
    finish_epoch();
    const bool go_on = report(true);
    batch_ = 0;
    epoch_loss_ = 0;
    epoch_documents_ = 0;
    const double since = std::chrono::duration<double>(std::chrono::steady_clock::now() - last_checkpoint_).count();
    if (go_on && epoch_ < config_.epochs && since >= options_.checkpoint_seconds) save_checkpoint();
    return go_on || epoch_ >= config_.epochs;
  }

  /// A step that was sent off and whose loss is not known yet.
  struct Step {
    int number;
    const Group* group;
    Fetched<real> losses;
  };

  /// Where run() returns before the work is done, the next step is sent off before the loss of this one is asked for.
  std::size_t most_under_way() const { return ctx_.asynchronous() ? 1 : 0; }

  RandomKey key_of(int step) const { return {.seed = config_.seed, .step = static_cast<std::uint32_t>(step)}; }

  void start_step(BatchFeed& feed, const Group& group) {
    const Batch batch = [&] {
      const Phase phase(options_.profile, &TrainProfile::batch);
      return feed.take();
    }();
    const Phase phase(options_.profile, &TrainProfile::network);
    ctx_.arena().reset();
    ++step_;
    const View<real, 1> losses = together(ctx_, [&] {
      TableGradients tables;
      const View<real, 1> l = learner_.loss(ctx_, batch, key_of(step_), tables);
      const Phase updating(options_.profile, &TrainProfile::update);
      updater_.step(ctx_, tables, step_, learning_rate(config_, step_, config_.epochs * batches_per_epoch_));
      return l;
    });
    under_way_.push_back({step_, &group, Fetched<real>(ctx_, losses)});
  }

  /// Waits for the oldest step under way, and counts its loss.
  void finish_step() {
    const Phase phase(options_.profile, &TrainProfile::network);
    Step& step = under_way_.front();
    const std::size_t documents = step.group->size();
    double loss = 0;
    for (real l : step.losses.values()) loss += static_cast<double>(l);
    loss *= static_cast<double>(documents);
    if (!std::isfinite(loss)) {
      throw std::runtime_error("the loss is no longer finite at step " + std::to_string(step.number) +
                               "; try a smaller lr (now " + exact_text(config_.lr) + ") or clip");
    }
    finished_ = step.number;
    epoch_loss_ += loss;
    epoch_documents_ += documents;
    for (std::size_t i : *step.group) units_ += learner_.lengths()[i];
    under_way_.pop_front();
  }

  void finish_all() {
    while (!under_way_.empty()) finish_step();
  }

  /// Scores the epoch's weights (their average, once it exists) and keeps them when they are the best.
  void finish_epoch() {
    const Phase phase(options_.profile, &TrainProfile::evaluate);
    ctx_.arena().reset();
    train_loss_ = epoch_loss_ / static_cast<double>(std::max<std::size_t>(1, epoch_documents_));
    const bool average = updater_.averaging() && step_ > first_averaged_step();
    if (average) updater_.swap_in_average(ctx_, step_);
    if (learner_.has_dev()) dev_score_ = learner_.evaluate(ctx_);
    if (!learner_.has_dev() || !best_score_ || *dev_score_ > *best_score_) {
      best_score_ = dev_score_;
      best_epoch_ = epoch_;
      best_ = download(ctx_, learner_.parameters().everything());
    }
    if (average) updater_.swap_back(ctx_);
  }

  int first_averaged_step() const { return batches_per_epoch_; }

  bool out_of_patience() const {
    return config_.patience > 0 && best_score_ && epoch_ - best_epoch_ >= config_.patience;
  }

  bool report(bool epoch_done) {
    if (!options_.progress) return true;
    TrainProgress p{.epoch = epoch_done ? epoch_ : epoch_ + 1, .epochs = config_.epochs, .step = finished_};
    p.steps = config_.epochs * batches_per_epoch_;
    p.loss = epoch_loss_ / static_cast<double>(std::max<std::size_t>(1, epoch_documents_));
    p.lr = learning_rate(config_, finished_, p.steps);
    p.units = units_;
    p.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    p.remaining = p.seconds / std::max(1, finished_ - first_step_) * (p.steps - finished_);
    p.epoch_done = epoch_done;
    p.best_score = best_score_;
    p.best_epoch = best_epoch_;
    if (epoch_done) p.dev_score = dev_score_;
    return options_.progress(p);
  }

  TrainResult result(bool interrupted) const {
    return {.interrupted = interrupted,
            .epochs = epoch_,
            .best_epoch = best_epoch_,
            .best_score = best_score_,
            .base_score = learner_.base_score(),
            .train_loss = train_loss_};
  }

  void tell_base_score() const {
    if (const std::optional<double> score = learner_.base_score(); score && options_.note)
      options_.note("base " + options_.base + ": dev " + metric_of(config_) + " " + fixed_text(100 * *score, 2) +
                    " before the first epoch");
  }

  std::string checkpoint_path() const { return checkpoint_of(options_.output); }

  void write_model() {
    const View<real, 1> everything = learner_.parameters().everything();
    copy_bytes(ctx_, everything.data, everything.device, best_.data(), Device::cpu, best_.size() * sizeof(real));
    ModelFile file;
    if (config_.calibrate && learner_.has_dev()) calibrate(file);
    learner_.save(ctx_, file);
    file.metadata["bib.version"] = BIB_VERSION;
    file.metadata["bib.data.train"] = data_hash_;
    if (!base_hash_.empty()) file.metadata["bib.base"] = base_hash_;
    if (!vectors_hash_.empty()) file.metadata["bib.data.vectors"] = vectors_hash_;
    file.metadata["bib.epoch"] = std::to_string(best_epoch_);
    if (best_score_) file.metadata["bib.dev_score"] = fixed_text(*best_score_, 6);
    if (options_.memory) {
      *options_.memory = encode(file);
    } else {
      bib::write_model(options_.output, file);
    }
  }

  /// The model's scores, not those that training goes on with: a checkpoint and the best weights keep theirs.
  void calibrate(ModelFile& file) {
    const Phase phase(options_.profile, &TrainProfile::evaluate);
    ctx_.arena().reset();
    const Temperature t = learner_.calibrate(ctx_);
    if (t.before <= 0) return;  // the dev set has nothing to find one by
    file.metadata["bib.temperature"] = fixed_text(t.value, 4);
    if (options_.note)
      options_.note("probabilities: temperature " + fixed_text(t.value, 2) + ", dev NLL " + fixed_text(t.before, 3) +
                    " -> " + fixed_text(t.after, 3));
  }

  void save_checkpoint() {
    if (options_.memory) return;
    ModelFile file;
    learner_.save(ctx_, file);
    updater_.save(ctx_, file);
    file.metadata["state.data"] = data_hash_ + vectors_hash_;
    file.metadata["state.base"] = base_hash_;
    file.metadata["state.position"] =
        std::to_string(epoch_) + " " + std::to_string(batch_) + " " + std::to_string(step_);
    file.metadata["state.best_epoch"] = std::to_string(best_epoch_);
    file.metadata["state.loss"] = exact_text(epoch_loss_) + " " + std::to_string(epoch_documents_);
    if (best_score_) file.metadata["state.best_score"] = exact_text(*best_score_);
    if (!best_.empty()) file.add("state.best", best_, {static_cast<int>(best_.size())});
    bib::write_model(checkpoint_path(), file);
    last_checkpoint_ = std::chrono::steady_clock::now();
  }

  void resume() {
    if (!std::filesystem::exists(checkpoint_path())) {
      if (options_.warn) options_.warn("no checkpoint " + checkpoint_path() + ": training starts from the beginning");
      return;
    }
    const ModelFile file = read_model(checkpoint_path());
    // First the base, which decides the configuration too; a checkpoint of an older bib has none.
    const auto base = file.metadata.find("state.base");
    const std::string begun_from = base == file.metadata.end() ? std::string() : base->second;
    if (begun_from != base_hash_) {
      throw DataError(checkpoint_path() + ": error: it was made " +
                      (begun_from.empty()   ? "without a base"
                       : base_hash_.empty() ? "with a base"
                                            : "from another base") +
                      " (--base); give the same, or begin anew (without --resume)");
    }
    // Then the configuration: another seed or train_rate parts the data elsewhere.
    if (file.text("bib.config") != to_toml(config_)) {
      throw DataError(
          checkpoint_path() +
          ": error: it was made with another configuration; give the same one ('bib inspect' prints it), or "
          "begin anew (without --resume)");
    }
    if (file.text("state.data") != data_hash_ + vectors_hash_) {
      throw DataError(checkpoint_path() +
                      ": error: it was made from other training data or vectors; give the same, or begin anew (without "
                      "--resume)");
    }
    learner_.parameters().load(ctx_, file);
    updater_.load(ctx_, file);
    const std::string loss = file.text("state.loss");
    std::string_view rest = loss;
    if (std::sscanf(file.text("state.position").c_str(), "%d %d %d", &epoch_, &batch_, &step_) != 3 ||
        !take_number(rest, epoch_loss_) || std::sscanf(rest.data(), " %zu", &epoch_documents_) != 1) {
      file.fail("holds no position to go on from");
    }
    best_epoch_ = std::stoi(file.text("state.best_epoch"));
    if (file.metadata.contains("state.best_score")) {
      const std::string score = file.text("state.best_score");
      rest = score;
      if (!take_number(rest, best_score_.emplace())) file.fail("holds no score of the best epoch");
    }
    if (file.has("state.best")) {
      const std::span<const real> best = file.get_span<real>("state.best");
      best_.assign(best.begin(), best.end());
    }
  }

  Context& ctx_;
  const Config config_;
  Learner& learner_;
  const TrainOptions& options_;
  const std::string data_hash_, base_hash_, vectors_hash_;
  Updater updater_;
  const int batches_per_epoch_;

  int epoch_ = 0, batch_ = 0, step_ = 0, first_step_ = 0;  // epochs finished, batches of this one and steps sent off
  int finished_ = 0;                                       // steps whose loss is known
  std::deque<Step> under_way_;
  double epoch_loss_ = 0, train_loss_ = 0;
  std::size_t epoch_documents_ = 0;
  std::int64_t units_ = 0;
  std::optional<double> dev_score_, best_score_;
  int best_epoch_ = 0;
  std::vector<real> best_;  // Parameters::everything() of the best epoch
  std::chrono::steady_clock::time_point started_, last_checkpoint_;
};

}  // namespace

std::vector<real> batch_weights(std::span<const std::size_t> examples, std::span<const float> weights) {
  std::vector<real> out;
  for (std::size_t i : examples) out.push_back(static_cast<real>(weights[i]) / static_cast<real>(examples.size()));
  return out;
}

namespace {

void tell_of_shared(const std::vector<Document>& dev, const std::vector<Document>& train,
                    const std::function<void(const std::string&)>& tell) {
  if (const std::size_t shared = count_shared(dev, train))
    tell(std::to_string(shared) + " of the " + std::to_string(dev.size()) +
         " dev texts are also in the training data: the dev score flatters");
}

}  // namespace

TrainResult train(Context& ctx, const Config& config, std::vector<Document> train, std::vector<Document> dev,
                  const TrainOptions& options) {
  const Phase whole(options.profile, &TrainProfile::other);
  check(config);
  std::optional<OutputLock> lock;
  if (options.memory) {
    expect(options.output.empty() && !options.resume,
           "TrainOptions: a model in memory has no output, and no checkpoint to resume from");
  } else {
    require_place_for(options.output);
    lock.emplace(options.output);
  }
  const std::shared_ptr<const ModelFile> base = open_base(config, options);
  if (train.empty()) throw DataError("training data: error: there are no documents");
  for (std::vector<Document>* documents : {&train, &dev}) settle(*documents);
  const bool given = !dev.empty();  // who gives texts means them to be others; in a corpus some occur twice
  if (!given) {
    dev = split_dev(train, config);
    if (!dev.empty() && options.note)
      options.note(std::to_string(dev.size()) + " of the documents are set aside to choose the best epoch by, " +
                   std::to_string(train.size()) + " are learned from");
  }
  if (const auto& tell = given ? options.warn : options.note) tell_of_shared(dev, train, tell);
  if (dev.empty() && config.patience > 0 && options.warn)
    options.warn("patience does nothing: no text is set aside to choose the best epoch by");
  const std::string hash = hash_of(train) + hash_of(dev);
  const std::unique_ptr<Learner> learner = [&] {
    const Phase phase(options.profile, &TrainProfile::encode);
    return config.task == Task::ner ? make_ner_learner(ctx, config, std::move(train), std::move(dev), options, base)
                                    : make_tc_learner(ctx, config, std::move(train), std::move(dev), options, base);
  }();
  if (learner->lengths().empty()) throw DataError("training data: error: every document is empty");
  if (config.epochs > std::numeric_limits<int>::max() / batches_of(*learner, config))
    throw DataError("configuration: error: epochs is " + std::to_string(config.epochs) + "; with " +
                    std::to_string(batches_of(*learner, config)) + " steps each that is more than can be counted");
  return Trainer(ctx, config, *learner, options, hash, base.get()).run();
}

}  // namespace bib
