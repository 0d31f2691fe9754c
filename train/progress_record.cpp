#include "train/progress_record.h"

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

namespace bib {

std::string iso_time(std::chrono::system_clock::time_point t) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count();
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char date[32], text[64];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text, sizeof text, "%s.%03d+00:00", date, static_cast<int>(ms % 1000));
  return text;
}

std::string to_json(const ProgressRecord& r, const TrainProgress* more) {
  nlohmann::ordered_json out{{"classification", r.task == Task::ner ? "ner" : "tc"},
                             {"detail", r.detail},
                             {"model_name", r.model_name},
                             {"pipeline_item_id", r.pipeline_item_id},
                             {"start", iso_time(r.start)},
                             {"estimate", r.estimate},
                             {"progress", r.progress},
                             {"step", r.step},
                             {"status", r.done ? "Done" : "Pending"}};
  if (r.runs > 1) out["run"] = r.run, out["runs"] = r.runs;
  if (more) {
    out["epoch"] = more->epoch;
    out["loss"] = more->loss;
    out["lr"] = more->lr;
    out["units_per_second"] = more->seconds > 0 ? static_cast<double>(more->units) / more->seconds : 0.0;
    if (more->dev_score) out["dev_score"] = *more->dev_score;
    if (more->best_score) out["best_score"] = *more->best_score;
  }
  return out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace bib
