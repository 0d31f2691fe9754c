// From a request to the engine and back: what gRPC, streams, HTTP and the Open Inference Protocol have in common.
#pragma once
#include <optional>
#include <string>

#include "predict.pb.h"
#include "serve/app.h"

namespace bib::serve {

struct Question {
  std::string model_name, version;
  bool load = true;          // a model that is not in memory
  std::optional<Task> task;  // which the model must be for
};

/// Finds or loads the model and hands the work to the engine. work->done is called exactly once, perhaps before this
/// returns, with work.error set when something went wrong.
void ask(App& app, const Question& question, std::shared_ptr<Work> work);

/// Refuses a request of more bytes than are read. gRPC itself ends longer messages, with a status that names no field.
void check_size(const Limits& limits, std::size_t bytes);
/// Refuses what is over the limits, naming field and index.
void check_texts(const Limits& limits, std::size_t count, const std::function<const std::string&(std::size_t)>& text);

std::shared_ptr<Work> make_work(const Limits& limits, const v1::PredictTextClassificationRequest& request);
std::shared_ptr<Work> make_work(const Limits& limits, const v1::PredictNamedEntityRecognitionRequest& request);
Question question_of(const v1::PredictTextClassificationRequest& request);
Question question_of(const v1::PredictNamedEntityRecognitionRequest& request);
void fill(v1::PredictTextClassificationReply& reply, const v1::PredictTextClassificationRequest& request,
          const Work& work);
void fill(v1::PredictNamedEntityRecognitionReply& reply, const v1::PredictNamedEntityRecognitionRequest& request,
          const Work& work);

/// "queue=0.12, compute=1.30, total=1.45", milliseconds; with load where there was one.
std::string timing_text(const Work& work);

}  // namespace bib::serve
