// bib client train, jobs and models.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "job.grpc.pb.h"
#include "model.grpc.pb.h"
#include "serve/client/client.h"
#include "train.grpc.pb.h"

namespace bib::client {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

/// One line of JSON a record: the original's nine keys, and how training goes.
void print(const v1::TrainProgress& r) {
  if (r.heartbeat()) return;
  nlohmann::ordered_json out{{"classification", r.classification()},
                             {"detail", r.detail()},
                             {"model_name", r.model_name()},
                             {"pipeline_item_id", r.pipeline_item_id()},
                             {"start", r.start()},
                             {"estimate", r.estimate()},
                             {"progress", r.progress()},
                             {"step", r.step()},
                             {"status", r.status()},
                             {"job_id", r.job_id()},
                             {"sequence", r.sequence()},
                             {"epoch", r.epoch()}};
  for (const char* key : {"loss", "dev_score", "best_score", "base_score"}) {
    if (const auto found = r.metrics().find(key); found != r.metrics().end()) out[key] = found->second;
  }
  if (!r.model_version().empty()) out["model_version"] = r.model_version();
  std::cout << out.dump() << std::endl;  // flushed: someone watches
}

/// Prints the records of a job until it ends. A server that goes down leaves its jobs to the next one: there they are
/// watched on, as soon as it answers.
template <class Reader>
int follow(const Connection& connection, grpc::ClientContext& first, Reader& reader, std::string job = "",
           std::uint32_t after = 0) {
  constexpr auto between_tries = std::chrono::milliseconds(200);
  bool reached = false;  // one that never answered has no next one
  const auto read_all = [&](auto& from) {
    for (v1::TrainProgress record; from.Read(&record);) {
      reached = true;
      print(record);
      after = record.sequence();
    }
    return from.Finish();
  };
  grpc::Status status = read_all(reader);
  const auto given = first.GetServerInitialMetadata().find("bib-job-id");
  if (given != first.GetServerInitialMetadata().end()) {
    reached = true;
    job.assign(given->second.data(), given->second.size());
  }
  const auto stub = v1::JobProvider::NewStub(connection.channel());
  // CANCELLED is what gRPC itself answers a call with that comes while its server shuts down.
  const auto went_down = [&] {
    return status.error_code() == grpc::StatusCode::UNAVAILABLE || status.error_code() == grpc::StatusCode::CANCELLED;
  };
  for (bool said = false; reached && went_down(); said = true) {
    if (!said) std::cerr << "bib client: the server went down; job " << job << " is waited for at the next one\n";
    std::this_thread::sleep_for(between_tries);
    const auto context = connection.context();
    context->set_wait_for_ready(true);
    v1::WatchJobRequest request;
    request.set_job_id(job);
    request.set_after_sequence(after);
    status = read_all(*stub->WatchJob(context.get(), request));
  }
  require_ok(status);
  return 0;
}

/// The name of an upload only helps to tell it from others; the server takes 64 bytes, and whole characters.
std::string upload_name(const std::string& model) {
  std::size_t end = std::min<std::size_t>(model.size(), 64);
  while (end < model.size() && end > 0 && (model[end] & 0xC0) == 0x80) --end;
  return model.substr(0, end);
}

/// Sends a file in chunks; the first carries the name.
template <class Chunk, class Writer, class Name>
void send(const std::string& path, Writer& writer, Name&& name) {
  std::ifstream in = open_input(path);
  std::string buffer(chunk_bytes, '\0');
  Chunk chunk;
  name(chunk);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), in.gcount() > 0) {
    chunk.set_data(buffer.data(), static_cast<std::size_t>(in.gcount()));
    if (!writer.Write(chunk)) break;
    chunk.Clear();
  }
  if (in.bad()) throw std::runtime_error(path + ": cannot be read to its end");  // the call goes with its context
  writer.WritesDone();
  require_ok(writer.Finish());
}

/// A file appears whole, or the one that was there stays; what is no file, such as /dev/stdout, is written at once.
void receive(grpc::ClientContext& context, grpc::ClientReader<v1::ModelChunk>& reader, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const bool direct = fs::exists(path, ignored) && !fs::is_regular_file(path, ignored);
  const std::string file =
      fs::is_regular_file(path, ignored) ? fs::canonical(path).string() : path;  // not a link to it
  const std::string target = direct ? path : file + ".part";
  v1::ModelChunk chunk;
  if (!reader.Read(&chunk)) return require_ok(reader.Finish());
  std::ofstream out(target, std::ios::binary);
  while (out && out.write(chunk.data().data(), static_cast<std::streamsize>(chunk.data().size())) &&
         reader.Read(&chunk)) {
  }
  out.close();
  const std::string why = out ? "" : std::strerror(errno);
  if (!out) context.TryCancel();
  const grpc::Status status = reader.Finish();
  if (!direct && (!out || !status.ok())) fs::remove(target, ignored);
  if (!out) throw std::runtime_error(path + ": cannot be written: " + why);
  require_ok(status);
  if (!direct) fs::rename(target, file);
}

struct TrainFlags {
  std::string task, name, data, format, request_id, item_id, base, base_version;
  int epochs = 15;
  double train_rate = 0.9;
  std::uint64_t seed = 1;
  std::vector<std::string> set;
};

int train(const Connection& connection, const TrainFlags& flags) {
  const auto stub = v1::TrainProvider::NewStub(connection.channel());
  v1::DataSetInfo info;
  {
    const auto context = connection.context();
    const auto writer = stub->UploadDataSet(context.get(), &info);
    send<v1::DataSetChunk>(flags.data, *writer, [&](v1::DataSetChunk& c) { c.set_name(upload_name(flags.name)); });
  }
  v1::TrainOptions options;
  options.set_dataset_id(info.dataset_id());
  options.set_dataset_format(flags.format);
  options.set_seed(flags.seed);
  options.set_request_id(flags.request_id);
  options.set_pipeline_item_id(flags.item_id);
  options.set_base_model(flags.base);
  options.set_base_version(flags.base_version);
  for (const std::string& s : flags.set) {
    const std::size_t equals = s.find('=');
    if (equals == std::string::npos) throw std::runtime_error("--set " + s + ": write key=value");
    (*options.mutable_settings())[s.substr(0, equals)] = s.substr(equals + 1);
  }
  const auto fill = [&](auto request) {
    request.set_model_name(flags.name);
    request.set_epochs(flags.epochs);
    request.set_train_rate(flags.train_rate);
    *request.mutable_options() = options;
    return request;
  };
  const auto context = connection.context();
  const auto reader =
      flags.task == "ner"
          ? stub->TrainNamedEntityRecognitionModel(context.get(), fill(v1::TrainNamedEntityRecognitionModelRequest()))
          : stub->TrainTextClassificationModel(context.get(), fill(v1::TrainTextClassificationModelRequest()));
  return follow(connection, *context, *reader);
}

void print(const v1::Job& j) {
  std::cout << j.job_id() << '\t' << v1::JobState_Name(j.state()) << '\t' << j.classification() << '\t'
            << j.model_name() << '\t' << static_cast<int>(100 * j.last().progress()) << " %"
            << (j.model_version().empty() ? "" : "\tversion " + j.model_version())
            << (j.error().empty() ? "" : "\t" + j.error()) << '\n';
}

void print(const v1::Model& m) {
  if (!m.error().empty()) std::cout << m.model_name() << "\t-\tunseen\t" << m.error() << '\n';
  for (const v1::ModelVersion& v : m.versions()) {
    std::cout << m.model_name() << '\t' << v.version() << '\t' << (v.loaded() ? "loaded" : "on disk") << '\t'
              << v.bytes() << " bytes";
    for (const auto& [alias, version] : m.aliases()) {
      if (version == v.version()) std::cout << '\t' << alias;
    }
    if (!v.error().empty()) std::cout << '\t' << v.error();
    std::cout << '\n';
  }
}

int jobs(const Connection& connection, const std::string& what, const std::string& id, std::uint32_t after) {
  const auto stub = v1::JobProvider::NewStub(connection.channel());
  const auto context = connection.context();
  v1::JobRequest one;
  one.set_job_id(id);
  v1::Job job;
  if (what == "list") {
    v1::ListJobsReply reply;
    require_ok(stub->ListJobs(context.get(), {}, &reply));
    for (const v1::Job& j : reply.jobs()) print(j);
  } else if (what == "get") {
    require_ok(stub->GetJob(context.get(), one, &job));
    print(job);
  } else if (what == "watch") {
    v1::WatchJobRequest request;
    request.set_job_id(id);
    request.set_after_sequence(after);
    return follow(connection, *context, *stub->WatchJob(context.get(), request), id, after);
  } else if (what == "cancel") {
    v1::CancelJobRequest request;
    request.set_job_id(id);
    require_ok(stub->CancelJob(context.get(), request, &job));
    print(job);
  } else if (what == "resume") {
    return follow(connection, *context, *stub->ResumeJob(context.get(), one), id);
  } else {
    v1::DeleteJobReply reply;
    require_ok(stub->DeleteJob(context.get(), one, &reply));
  }
  return 0;
}

struct ModelFlags {
  std::string what, name, version, alias, file;
  bool all = false;  // delete, alias: without a version, which must not be left out by mistake
};

void check(const ModelFlags& f) {
  if (f.what == "delete" && f.version.empty() != f.all) {
    throw CLI::ValidationError("delete", "name a version, or give --all to delete every version");
  }
  if (f.what == "alias" && f.version.empty() != f.all) {
    throw CLI::ValidationError("alias", "name a version, or give --remove to take the alias away");
  }
}

int models(const Connection& connection, const ModelFlags& f) {
  const auto stub = v1::ModelProvider::NewStub(connection.channel());
  const auto context = connection.context();
  v1::ModelRequest one;
  one.set_model_name(f.name);
  one.set_version(f.version);
  v1::Model model;
  if (f.what == "list") {
    v1::ListModelsReply reply;
    require_ok(stub->ListModels(context.get(), {}, &reply));
    for (const v1::Model& m : reply.models()) print(m);
    return 0;
  }
  if (f.what == "load") {
    require_ok(stub->LoadModel(context.get(), one, &model));
  } else if (f.what == "unload") {
    require_ok(stub->UnloadModel(context.get(), one, &model));
  } else if (f.what == "alias") {
    v1::SetAliasRequest request;
    request.set_model_name(f.name);
    request.set_alias(f.alias);
    request.set_version(f.version);
    require_ok(stub->SetAlias(context.get(), request, &model));
  } else if (f.what == "delete") {
    v1::DeleteModelRequest request;
    request.set_model_name(f.name);
    request.set_version(f.version);
    v1::DeleteModelReply reply;
    require_ok(stub->DeleteModel(context.get(), request, &reply));
  } else if (f.what == "import") {
    const auto writer = stub->ImportModel(context.get(), &model);
    send<v1::ModelChunk>(f.file, *writer, [&](v1::ModelChunk& c) { c.set_model_name(f.name); });
  } else {
    receive(*context, *stub->ExportModel(context.get(), one), f.file);
  }
  print(model);
  return 0;
}

}  // namespace

void add_train(CLI::App& app, const Connection& connection, Action& action) {
  CLI::App* verb = app.add_subcommand("train", "Upload a corpus, train on it, show the progress");
  auto f = std::make_shared<TrainFlags>();
  verb->add_option("task", f->task, "ner or tc")->required()->check(CLI::IsMember({"ner", "tc"}));
  verb->add_option("name", f->name, "Model name")->required();
  verb->add_option("data", f->data, "Corpus, any format of 'bib convert'")->required();
  verb->add_option("--format", f->format, "Its format; default: found out");
  verb->add_option("--epochs", f->epochs, "Passes over the data")->capture_default_str();
  verb->add_option("--train-rate", f->train_rate, "Share to train on")->capture_default_str();
  verb->add_option("--seed", f->seed, "Seed of all random numbers")->capture_default_str();
  verb->add_option("--set", f->set, "One setting, section.key=value");
  verb->add_option("--base", f->base,
                   "Model of the server to go on from; the data's new words and labels are added to it");
  verb->add_option("--base-version", f->base_version, "A number or an alias; default: what the model's name means");
  verb->add_option("--request-id", f->request_id, "The same id again is the same job");
  verb->add_option("--item-id", f->item_id, "pipeline_item_id of the records");
  verb->callback([&action, &connection, f] { action = [&connection, f] { return train(connection, *f); }; });
}

void add_jobs(CLI::App& app, const Connection& connection, Action& action) {
  CLI::App* verb = app.add_subcommand("jobs", "List, get, watch, cancel, resume or delete training jobs");
  verb->require_subcommand(1);
  for (const auto& [what, help] : std::initializer_list<std::pair<const char*, const char*>>{
           {"list", "The jobs, one a line"},
           {"get", "What is known of a job"},
           {"watch", "Its records, those that were and those that come, to its end"},
           {"cancel", "Stop it; a checkpoint stays"},
           {"resume", "Go on from its checkpoint"},
           {"delete", "Forget a job that has ended; its model stays"}}) {
    CLI::App* sub = verb->add_subcommand(what, help);
    auto id = std::make_shared<std::string>();
    auto after = std::make_shared<std::uint32_t>(0);
    if (std::string(what) != "list") sub->add_option("job", *id, "Job id")->required();
    if (std::string(what) == "watch") sub->add_option("--after", *after, "Sequence number to go on from");
    sub->callback([&action, &connection, what = what, id, after] {
      action = [&connection, what, id, after] { return jobs(connection, what, *id, *after); };
    });
  }
}

void add_models(CLI::App& app, const Connection& connection, Action& action) {
  CLI::App* verb = app.add_subcommand("models", "List, load, unload, alias, export, import or delete models");
  verb->require_subcommand(1);
  for (const auto& [what, help] :
       std::initializer_list<std::pair<const char*, const char*>>{{"list", "The models, their versions and aliases"},
                                                                  {"load", "Load a version and warm it"},
                                                                  {"unload", "Take it out of memory; its file stays"},
                                                                  {"alias", "Let a name such as stable mean a version"},
                                                                  {"delete", "Delete a version, or all of them"},
                                                                  {"import", "Make a file the next version"},
                                                                  {"export", "Write a version to a file"}}) {
    CLI::App* sub = verb->add_subcommand(what, help);
    const std::string w = what;
    auto f = std::make_shared<ModelFlags>();
    f->what = what;
    if (w != "list") sub->add_option("name", f->name, "Model name")->required();
    if (w == "alias") sub->add_option("alias", f->alias, "Alias, such as stable")->required();
    if (w == "import" || w == "export") sub->add_option("file", f->file, "Model file")->required();
    if (w != "list" && w != "import") sub->add_option("model_version", f->version, "A number or an alias");
    if (w == "delete") sub->add_flag("--all", f->all, "Every version");
    if (w == "alias") sub->add_flag("--remove", f->all, "Take the alias away");
    sub->callback([&action, &connection, f] {
      check(*f);
      action = [&connection, f] { return models(connection, *f); };
    });
  }
}

}  // namespace bib::client
