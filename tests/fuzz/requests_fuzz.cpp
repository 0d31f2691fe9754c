// Requests as they come from the network: the first byte chooses the handler, the rest is its message. Whatever it is,
// the answer is a status or a reply that serialises; names and paths stay in their folders.
#include <open_inference.pb.h>  // generated

#include <cstdint>
#include <filesystem>
#include <future>

#include "serve/http_body.h"
#include "serve/inference_texts.h"
#include "serve/jobs.h"
#include "tests/fuzz/served_models.h"
#include "train/prediction_json.h"

namespace {

namespace fs = std::filesystem;
using namespace bib;
using namespace bib::serve;

/// Asks the engine and waits; `fill` sees what was answered without error.
template <class F>
void answer(App& app, const Question& question, const std::shared_ptr<Work>& work, F&& fill) {
  std::promise<void> finished;
  work->done = [&](Work&) { finished.set_value(); };
  ask(app, question, work);
  finished.get_future().wait();
  if (work->error) std::rethrow_exception(work->error);
  fill(*work);
}

template <class Request, class Reply>
void predict(App& app, const std::string& bytes) {
  Request request;
  if (!request.ParseFromString(bytes)) return;
  if (request.model_name().empty())
    request.set_model_name(std::is_same_v<Reply, v1::PredictTextClassificationReply> ? "t" : "n");
  answer(app, question_of(request), make_work(app.settings.limits, request), [&](const Work& work) {
    Reply reply;
    fill(reply, request, work);
    require(reply.results_size() == request.text_size() && reply.IsInitialized());
    reply.SerializeAsString();
  });
}

void http(App& app, const std::string& bytes) {
  HttpBody body = read_body(bytes);
  if (body.question.model_name.empty()) body.question.model_name = "n";
  check_texts(app.settings.limits, body.texts.size(),
              [&](std::size_t i) -> const std::string& { return body.texts[i]; });
  auto work = std::make_shared<Work>();
  for (const std::string& text : body.texts) work->documents.push_back({.text = text});
  work->ner_options = body.ner;
  work->tc_options = body.tc;
  answer(app, body.question, work, [&](const Work& done) { json_line(answer_json(done, body)); });
}

void train_request(App& app, Task task, const std::string& bytes) {
  TrainRequest request{.task = task};
  if (!(task == Task::ner ? request.ner.ParseFromString(bytes) : request.tc.ParseFromString(bytes))) return;
  const std::string base = request.options().base_model().empty() ? "" : app.repository.path("n", 1);
  check_request(app.settings, request, base);
  config_of(app.settings, request, base);
  for (const Document& d : documents_of(app.settings, (app.settings.models + "/.state"), request)) {
    require(d.text != "x");  // the file outside the data folder
    for (const Span& s : d.spans) require(s.begin < s.end && s.end <= d.text.size());
  }
}

void inference_request(const std::string& bytes) {
  inference::ModelInferRequest request;
  if (request.ParseFromString(bytes)) texts_of(request);
}

void name(App& app, const std::string& bytes) {
  check_name(bytes, "name");
  const fs::path path = fs::path(app.repository.path(bytes, 1)).lexically_normal();
  const fs::path inside = path.lexically_relative(app.repository.root());
  require(std::distance(inside.begin(), inside.end()) == 3 && *inside.begin() == fs::path(bytes));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ServedModels fixture;
  if (size == 0) return 0;
  App& app = *fixture.app;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0] % 7) {
      case 0: http(app, bytes); break;
      case 1:
        predict<v1::PredictNamedEntityRecognitionRequest, v1::PredictNamedEntityRecognitionReply>(app, bytes);
        break;
      case 2: predict<v1::PredictTextClassificationRequest, v1::PredictTextClassificationReply>(app, bytes); break;
      case 3: train_request(app, Task::ner, bytes); break;
      case 4: train_request(app, Task::tc, bytes); break;
      case 5: inference_request(bytes); break;
      default: name(app, bytes);
    }
  } catch (const std::exception&) {
    const grpc::Status status = status_of_current_exception(nullptr);
    require(!status.ok() && status.error_code() != grpc::StatusCode::INTERNAL);
  }
  return 0;
}
