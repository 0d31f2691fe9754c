#include "serve/ask.h"

#include <cstdio>

#include "models/text.h"
#include "serve/log.h"

namespace bib::serve {
namespace {

void fail(Work& work, std::exception_ptr error) {
  work.error = std::move(error);
  work.done(work);
}

OffsetUnit unit_of(v1::OffsetUnit unit) {
  return unit == v1::UTF16 ? OffsetUnit::utf16 : unit == v1::BYTE ? OffsetUnit::byte : OffsetUnit::codepoint;
}

double total(const Work& work) { return work.load_seconds + work.queue_seconds + work.compute_seconds; }

void fill(v1::Timing& timing, const Work& work) {
  timing.set_queue(work.queue_seconds);
  timing.set_compute(work.compute_seconds);
  timing.set_load(work.load_seconds);
  timing.set_total(total(work));
}

template <class Message>
void add_entities(Message& to, const std::vector<Entity>& entities, const std::string& text, const OffsetMap& offsets) {
  for (const Entity& e : entities) {
    v1::NamedEntity& out = *to.add_entities();
    out.set_start(static_cast<std::uint32_t>(offsets.from_byte(e.begin)));
    out.set_end(static_cast<std::uint32_t>(offsets.from_byte(e.end)));
    out.set_label(e.label);
    out.set_text(text.substr(e.begin, e.end - e.begin));
    if (e.score) out.set_score(*e.score);
  }
}

template <class Request>
std::shared_ptr<Work> work_of(const Limits& limits, const Request& request) {
  check_size(limits, request.ByteSizeLong());
  check_texts(limits, static_cast<std::size_t>(request.text_size()),
              [&](std::size_t i) -> const std::string& { return request.text(static_cast<int>(i)); });
  auto work = std::make_shared<Work>();
  for (const std::string& text : request.text()) work->documents.push_back({.text = text});
  return work;
}

/// Only with --log-texts.
void log_texts(const Work& work, const std::string& name) {
  for (const Document& d : work.documents) {
    log("predict " + name + " version " + std::to_string(work.model->version) + ": " + d.text);
  }
}

}  // namespace

void check_size(const Limits& limits, std::size_t bytes) {
  if (bytes > limits.message_bytes) {
    invalid("request", "has " + std::to_string(bytes) + " bytes, at most " + std::to_string(limits.message_bytes) +
                           " are read (--max-message-bytes); send it in parts");
  }
}

void check_texts(const Limits& limits, std::size_t count, const std::function<const std::string&(std::size_t)>& text) {
  if (count == 0) invalid("text", "is empty; give at least one text");
  if (count > limits.texts) {
    invalid("text", "holds " + std::to_string(count) + " texts, at most " + std::to_string(limits.texts) +
                        " go into one request");
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (text(i).size() > limits.text_bytes) {
      invalid("text[" + std::to_string(i) + "]", "has " + std::to_string(text(i).size()) + " bytes, at most " +
                                                     std::to_string(limits.text_bytes) + " are read");
    }
  }
}

void ask(App& app, const Question& question, std::shared_ptr<Work> work) {
  app.store->get(question.model_name, question.version, question.load,
                 [&app, work, task = question.task, name = question.model_name](ModelHandle model,
                                                                                std::exception_ptr error, double load) {
                   if (error) return fail(*work, error);
                   const LogOfRequest about(work->request_id);
                   try {
                     if (task && model->task() != *task) {
                       throw Refusal(
                           grpc::StatusCode::FAILED_PRECONDITION,
                           "model '" + name + "' is for " +
                               (model->task() == Task::ner ? "named-entity recognition" : "text classification"));
                     }
                     work->model = std::move(model);
                     work->load_seconds = load;
                     work->arrived = Clock::now();
                     if (app.settings.log_texts) log_texts(*work, name);
                     app.engine->submit(work);
                   } catch (...) {
                     fail(*work, std::current_exception());
                   }
                 });
}

std::shared_ptr<Work> make_work(const Limits& limits, const v1::PredictTextClassificationRequest& request) {
  if (request.threshold() < 0 || request.threshold() > 1) invalid("threshold", "is not between 0 and 1");
  auto work = work_of(limits, request);
  const auto top = static_cast<int>(std::min<std::uint32_t>(request.top_k(), 1'000'000));
  work->tc_options.top_k = request.all_classes() ? 0 : std::max(1, top);
  if (request.threshold() > 0) work->tc_options.threshold = request.threshold();
  return work;
}

std::shared_ptr<Work> make_work(const Limits& limits, const v1::PredictNamedEntityRecognitionRequest& request) {
  if (request.nbest() > 100) invalid("nbest", "is more than 100");
  auto work = work_of(limits, request);
  work->ner_options = {.scores = !request.no_scores(), .nbest = static_cast<int>(request.nbest())};
  return work;
}

Question question_of(const v1::PredictTextClassificationRequest& r) {
  return {r.model_name(), r.version(), r.load() == v1::IF_NEEDED, Task::tc};
}
Question question_of(const v1::PredictNamedEntityRecognitionRequest& r) {
  return {r.model_name(), r.version(), r.load() == v1::IF_NEEDED, Task::ner};
}

void fill(v1::PredictTextClassificationReply& reply, const v1::PredictTextClassificationRequest&, const Work& work) {
  for (const TcPrediction& p : work.tc) {
    v1::TextClassification& result = *reply.add_results();
    for (const std::string& label : p.labels) result.add_labels(label);
    for (const ClassScore& c : p.classes) {
      v1::ClassScore& out = *result.add_classes();
      out.set_label(c.label);
      out.set_score(c.score);
    }
  }
  reply.set_model_version(std::to_string(work.model->version));
  fill(*reply.mutable_timing(), work);
}

void fill(v1::PredictNamedEntityRecognitionReply& reply, const v1::PredictNamedEntityRecognitionRequest& request,
          const Work& work) {
  for (std::size_t i = 0; i < work.ner.size(); ++i) {
    const std::string& text = work.documents[i].text;
    const OffsetMap offsets(text, unit_of(request.offsets()));
    v1::NamedEntities& result = *reply.add_results();
    add_entities(result, work.ner[i].entities, text, offsets);
    for (const NerAlternative& a : work.ner[i].alternatives) {
      v1::Reading& reading = *result.add_alternatives();
      reading.set_probability(a.probability);
      add_entities(reading, a.entities, text, offsets);
    }
  }
  reply.set_model_version(std::to_string(work.model->version));
  fill(*reply.mutable_timing(), work);
}

std::string timing_text(const Work& work) {
  char text[128];
  std::snprintf(text, sizeof text, "queue=%.3f, compute=%.3f, load=%.3f, total=%.3f", 1e3 * work.queue_seconds,
                1e3 * work.compute_seconds, 1e3 * work.load_seconds, 1e3 * total(work));
  return text;
}

}  // namespace bib::serve
