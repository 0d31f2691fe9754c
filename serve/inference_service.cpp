// The Open Inference Protocol over the same engine. Input `text` BYTES[n]. Outputs, text classification: label
// BYTES[n], score FP32[n], probabilities FP32[n,C]; named entities are ragged: entities BYTES[n], each a JSON array,
// and entity_count INT32[n].
#include <nlohmann/json.hpp>

#include "open_inference.grpc.pb.h"
#include "serve/inference_texts.h"
#include "serve/services.h"
#include "serve/unary_call.h"
#include "train/prediction_json.h"

namespace bib::serve {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;

ModelInferResponse::InferOutputTensor& output(ModelInferResponse& to, const char* name, const char* type,
                                              std::vector<std::int64_t> shape) {
  auto& tensor = *to.add_outputs();
  tensor.set_name(name);
  tensor.set_datatype(type);
  for (const std::int64_t extent : shape) tensor.add_shape(extent);
  return tensor;
}

void fill_classes(ModelInferResponse& reply, const Work& work) {
  const auto n = static_cast<std::int64_t>(work.tc.size());
  const std::vector<std::string>& labels = work.model->labels();
  auto& label = output(reply, "label", "BYTES", {n});
  auto& score = output(reply, "score", "FP32", {n});
  auto& all = output(reply, "probabilities", "FP32", {n, static_cast<std::int64_t>(labels.size())});
  for (const TcPrediction& p : work.tc) {
    label.mutable_contents()->add_bytes_contents(p.classes.front().label);
    score.mutable_contents()->add_fp32_contents(static_cast<float>(p.classes.front().score));
    std::map<std::string, float> by_label;
    for (const ClassScore& c : p.classes) by_label[c.label] = static_cast<float>(c.score);
    for (const std::string& l : labels) all.mutable_contents()->add_fp32_contents(by_label[l]);
  }
}

void fill_entities(ModelInferResponse& reply, const Work& work) {
  const auto n = static_cast<std::int64_t>(work.ner.size());
  auto& entities = output(reply, "entities", "BYTES", {n});
  auto& count = output(reply, "entity_count", "INT32", {n});
  for (std::size_t i = 0; i < work.ner.size(); ++i) {
    const auto json =
        to_json(nlohmann::ordered_json::object(), work.documents[i].text, work.ner[i], "codepoint", false);
    entities.mutable_contents()->add_bytes_contents(
        json["entities"].dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
    count.mutable_contents()->add_int_contents(static_cast<int>(work.ner[i].entities.size()));
  }
}

/// Of the outputs those that the request names, in its order; all where it names none.
void keep_requested(const ModelInferRequest& request, ModelInferResponse& reply) {
  if (request.outputs().empty()) return;
  ModelInferResponse kept;
  for (int i = 0; i < request.outputs_size(); ++i) {
    const std::string& name = request.outputs(i).name();
    const auto named = [&](const auto& o) { return o.name() == name; };
    const auto found = std::find_if(reply.outputs().begin(), reply.outputs().end(), named);
    if (found == reply.outputs().end()) {
      invalid("outputs[" + std::to_string(i) + "].name", "is no output of this model; ModelMetadata lists them");
    }
    if (std::any_of(kept.outputs().begin(), kept.outputs().end(), named)) {
      invalid("outputs[" + std::to_string(i) + "].name", "is asked for twice");
    }
    *kept.add_outputs() = *found;
  }
  reply.mutable_outputs()->Swap(kept.mutable_outputs());
}

class InferenceService final : public inference::GRPCInferenceService::CallbackService {
 public:
  explicit InferenceService(App& app) : app_(app) {}

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* c, const inference::ServerLiveRequest*,
                                       inference::ServerLiveResponse* reply) override {
    reply->set_live(true);
    return done(c, grpc::Status::OK);
  }
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* c, const inference::ServerReadyRequest*,
                                        inference::ServerReadyResponse* reply) override {
    reply->set_ready(app_.ready());
    return done(c, grpc::Status::OK);
  }
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* c, const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* reply) override {
    reply->set_ready(!app_.draining && app_.store->at_hand(request->name(), request->version()) != nullptr);
    return done(c, grpc::Status::OK);
  }
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* c, const inference::ServerMetadataRequest*,
                                           inference::ServerMetadataResponse* reply) override {
    reply->set_name("bib");
    reply->set_version(BIB_VERSION);
    return done(c, grpc::Status::OK);
  }
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* c,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* reply) override {
    grpc::ServerUnaryReactor* reactor = c->DefaultReactor();
    const auto end = [this, reactor, id = request_id(*c)](const grpc::Status& status) {
      app_.count("ModelMetadata", status, id);
      reactor->Finish(with_request_id(status, id));
    };
    try {
      const auto pass = std::make_shared<Pass>(app_, *c, Role::predict);
      const auto tell = [this, c, request, reply, pass, end](ModelHandle model, const std::exception_ptr& error,
                                                             double) {
        end(guarded(c, [&] {
          if (error) std::rethrow_exception(error);
          describe(*request, *model, *reply);
        }));
      };
      if (ModelHandle model = app_.store->at_hand(request->name(), request->version())) {
        tell(std::move(model), nullptr, 0);
      } else {
        app_.store->get(request->name(), request->version(), true, tell);  // as a prediction would
      }
    } catch (...) {
      end(status_of_current_exception(c));
    }
    return reactor;
  }
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* c, const ModelInferRequest* request,
                                       ModelInferResponse* reply) override {
    return new UnaryCall(app_, c, "ModelInfer", [this, request, reply] {
      check_size(app_.settings.limits, request->ByteSizeLong());
      auto work = std::make_shared<Work>();
      for (std::string& text : texts_of(*request)) work->documents.push_back({.text = std::move(text)});
      check_texts(app_.settings.limits, work->documents.size(),
                  [&](std::size_t i) -> const std::string& { return work->documents[i].text; });
      work->tc_options.top_k = 0;
      return UnaryCall::Plan{
          {request->model_name(), request->model_version(), true, {}}, work, [request, reply](const Work& answered) {
            reply->set_model_name(request->model_name());
            reply->set_model_version(std::to_string(answered.model->version));
            reply->set_id(request->id());
            answered.model->task() == Task::ner ? fill_entities(*reply, answered) : fill_classes(*reply, answered);
            keep_requested(*request, *reply);
          }};
    });
  }

 private:
  static grpc::ServerUnaryReactor* done(grpc::CallbackServerContext* context, const grpc::Status& status) {
    request_id(*context);  // gives it back
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(status);
    return reactor;
  }

  void describe(const inference::ModelMetadataRequest& request, const LoadedModel& model,
                inference::ModelMetadataResponse& reply) {
    reply.set_name(request.name());
    reply.set_platform("bib");
    for (const int version : app_.repository.versions(request.name())) reply.add_versions(std::to_string(version));
    const auto add = [](auto& tensor, const char* name, const char* type, std::vector<std::int64_t> shape) {
      tensor.set_name(name);
      tensor.set_datatype(type);
      for (const std::int64_t extent : shape) tensor.add_shape(extent);
    };
    add(*reply.add_inputs(), "text", "BYTES", {-1});
    if (model.task() == Task::ner) {
      add(*reply.add_outputs(), "entities", "BYTES", {-1});
      add(*reply.add_outputs(), "entity_count", "INT32", {-1});
    } else {
      add(*reply.add_outputs(), "label", "BYTES", {-1});
      add(*reply.add_outputs(), "score", "FP32", {-1});
      add(*reply.add_outputs(), "probabilities", "FP32", {-1, static_cast<std::int64_t>(model.labels().size())});
    }
  }

  App& app_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_inference_service(App& app) { return std::make_unique<InferenceService>(app); }

}  // namespace bib::serve
