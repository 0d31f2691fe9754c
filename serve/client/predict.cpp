// bib client predict NAME: texts in, the lines of `bib predict` out.
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <thread>

#include "model.grpc.pb.h"
#include "predict.grpc.pb.h"
#include "serve/client/client.h"
#include "train/prediction_json.h"

namespace bib::client {
namespace {

using Json = nlohmann::ordered_json;
constexpr int lines_at_once = 512;

struct PredictFlags {
  std::string model, input = "-", version, offsets = "codepoint", task = "ner", scores = "entity";
  unsigned nbest = 0, top_k = 1;
  bool timing = false;
};

/// The server is asked for bytes, so that the client's own conversion is that of `bib predict`; those of what was sent
/// become those of the text, which differ where it is not UTF-8.
std::vector<Entity> entities_of(const google::protobuf::RepeatedPtrField<v1::NamedEntity>& entities,
                                const std::string& sent, const std::string& text) {
  std::vector<Entity> out;
  const OffsetMap from(sent, OffsetUnit::codepoint), to_text(text, OffsetUnit::codepoint);
  for (const v1::NamedEntity& e : entities) {
    Entity& to = out.emplace_back();
    to.begin = to_text.to_byte(from.from_byte(e.start()));
    to.end = to_text.to_byte(from.from_byte(e.end()));
    to.label = e.label();
    if (e.has_score()) to.score = e.score();
  }
  return out;
}

void print_timing(const PredictFlags& flags, const v1::Timing& t) {
  if (!flags.timing) return;
  std::cerr << "queue " << 1e3 * t.queue() << " ms, compute " << 1e3 * t.compute() << " ms, load " << 1e3 * t.load()
            << " ms\n";
}

/// Asks, and while the server is too busy asks again when it says: a file of texts is no reason to give up halfway.
/// Ends with --timeout.
template <class Call>
void ask(const Connection& connection, Call&& call) {
  const auto begin = std::chrono::steady_clock::now();
  for (;;) {
    const auto context = connection.context();
    const grpc::Status status = call(context.get());
    const auto& trailers = context->GetServerTrailingMetadata();
    const auto hint = trailers.find("grpc-retry-pushback-ms");
    if (status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED || hint == trailers.end())
      return require_ok(status);
    const auto wait =
        std::chrono::milliseconds(std::atoi(std::string(hint->second.data(), hint->second.size()).c_str()));
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() + wait - begin;
    if (connection.timeout > 0 && waited.count() > connection.timeout) return require_ok(status);
    std::this_thread::sleep_for(wait);
  }
}

void predict_ner(v1::PredictProvider::Stub& stub, const Connection& connection, const PredictFlags& flags,
                 const std::vector<std::string>& texts) {
  v1::PredictNamedEntityRecognitionRequest request;
  request.set_model_name(flags.model);
  request.set_version(flags.version);
  for (const std::string& text : texts) request.add_text(valid_utf8(text));
  request.set_offsets(v1::BYTE);
  request.set_no_scores(flags.scores == "none");
  request.set_nbest(flags.nbest);
  v1::PredictNamedEntityRecognitionReply reply;
  ask(connection, [&](auto* context) { return stub.PredictNamedEntityRecognition(context, request, &reply); });
  for (int i = 0; i < reply.results_size(); ++i) {
    const std::string& text = texts[static_cast<std::size_t>(i)];
    const std::string& sent = request.text(i);
    NerPrediction p{.entities = entities_of(reply.results(i).entities(), sent, text)};
    for (const v1::Reading& r : reply.results(i).alternatives()) {
      p.alternatives.push_back({.entities = entities_of(r.entities(), sent, text), .probability = r.probability()});
    }
    std::cout << json_line(to_json(Json{{"text", sent}}, text, p, flags.offsets, flags.nbest > 0));
  }
  print_timing(flags, reply.timing());
}

void predict_tc(v1::PredictProvider::Stub& stub, const Connection& connection, const PredictFlags& flags,
                const std::vector<std::string>& texts) {
  v1::PredictTextClassificationRequest request;
  request.set_model_name(flags.model);
  request.set_version(flags.version);
  for (const std::string& text : texts) request.add_text(valid_utf8(text));
  request.set_top_k(flags.top_k);
  request.set_all_classes(flags.scores == "all");
  v1::PredictTextClassificationReply reply;
  ask(connection, [&](auto* context) { return stub.PredictTextClassification(context, request, &reply); });
  for (int i = 0; i < reply.results_size(); ++i) {
    TcPrediction p{.labels = {reply.results(i).labels().begin(), reply.results(i).labels().end()}};
    for (const v1::ClassScore& c : reply.results(i).classes()) p.classes.push_back({c.label(), c.score()});
    std::cout << json_line(to_json(Json{{"text", request.text(i)}}, p, flags.scores != "none"));
  }
  print_timing(flags, reply.timing());
}

int predict(const Connection& connection, const PredictFlags& flags) {
  std::ifstream file;
  if (flags.input != "-") file = open_input(flags.input);
  std::istream& in = flags.input == "-" ? std::cin : file;
  const auto stub = v1::PredictProvider::NewStub(connection.channel());
  std::vector<std::string> texts;
  const auto send = [&] {
    if (texts.empty()) return;
    flags.task == "ner" ? predict_ner(*stub, connection, flags, texts) : predict_tc(*stub, connection, flags, texts);
    texts.clear();
  };
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    texts.push_back(std::move(line));
    if (texts.size() == lines_at_once) send();
  }
  if (in.bad()) throw std::runtime_error(flags.input + ": cannot be read");
  send();
  return 0;
}

}  // namespace

void add_predict(CLI::App& app, const Connection& connection, Action& action) {
  CLI::App* verb = app.add_subcommand("predict", "Find entities or classes in texts, one a line");
  auto flags = std::make_shared<PredictFlags>();
  verb->add_option("task", flags->task, "ner or tc")->required()->check(CLI::IsMember({"ner", "tc"}));
  verb->add_option("model", flags->model, "Model name")->required();
  verb->add_option("input", flags->input, "Texts; - is standard input")->capture_default_str();
  verb->add_option("--model-version", flags->version, "A number or an alias");
  verb->add_option("--offsets", flags->offsets, "codepoint, utf16 or byte")
      ->check(CLI::IsMember({"codepoint", "utf16", "byte"}))
      ->capture_default_str();
  verb->add_option("--scores", flags->scores, "none, entity or all")->check(CLI::IsMember({"none", "entity", "all"}));
  verb->add_option("--nbest", flags->nbest, "NER: the K best readings");
  verb->add_option("--top-k", flags->top_k, "TC: how many classes to list");
  verb->add_flag("--timing", flags->timing, "Print where the server's time went, to standard error");
  verb->callback(
      [&action, &connection, flags] { action = [&connection, flags] { return predict(connection, *flags); }; });
}

}  // namespace bib::client
