// ModelProvider: the repository and what of it is in memory.
#include <filesystem>
#include <fstream>

#include "model.grpc.pb.h"
#include "models/model_file.h"
#include "models/model_parts.h"
#include "serve/ids.h"
#include "serve/log.h"
#include "serve/services.h"
#include "serve/upload.h"

namespace bib::serve {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

[[noreturn]] void not_found(const std::string& name, const std::string& version) {
  throw Refusal(grpc::StatusCode::NOT_FOUND, "model '" + name + "'" +
                                                 (version.empty() ? "" : " version '" + version + "'") +
                                                 " does not exist; ListModels lists what does");
}

class ModelService final : public v1::ModelProvider::Service {
 public:
  explicit ModelService(App& app) : app_(app) {}

  grpc::Status ListModels(grpc::ServerContext* context, const v1::ListModelsRequest*,
                          v1::ListModelsReply* reply) override {
    return answer(app_, context, Role::predict, "ListModels", [&] {
      for (const std::string& name : app_.repository.names()) describe(name, *reply->add_models());
    });
  }

  grpc::Status GetModel(grpc::ServerContext* context, const v1::ModelRequest* request, v1::Model* reply) override {
    return answer(app_, context, Role::predict, "GetModel", [&] {
      version_of(request->model_name(), request->version());
      describe(request->model_name(), *reply);
    });
  }

  grpc::Status LoadModel(grpc::ServerContext* context, const v1::ModelRequest* request, v1::Model* reply) override {
    return answer(app_, context, Role::admin, "LoadModel", [&] {
      store().load(request->model_name(), request->version());
      describe(request->model_name(), *reply);
    });
  }

  grpc::Status UnloadModel(grpc::ServerContext* context, const v1::ModelRequest* request, v1::Model* reply) override {
    return answer(app_, context, Role::admin, "UnloadModel", [&] {
      check_name(request->model_name(), "model_name");
      store().unload(request->model_name(), request->version());
      describe(request->model_name(), *reply);
    });
  }

  grpc::Status DeleteModel(grpc::ServerContext* context, const v1::DeleteModelRequest* request,
                           v1::DeleteModelReply*) override {
    return answer(app_, context, Role::admin, "DeleteModel", [&] {
      const std::string& name = request->model_name();
      const int version = version_of(name, request->version().empty() ? "latest" : request->version());
      request->version().empty() ? app_.repository.remove_all(name) : app_.repository.remove(name, version);
      log("model " + name + (request->version().empty() ? "" : " version " + std::to_string(version)) + " deleted");
      if (app_.store) app_.store->refresh();
    });
  }

  grpc::Status SetAlias(grpc::ServerContext* context, const v1::SetAliasRequest* request, v1::Model* reply) override {
    return answer(app_, context, Role::admin, "SetAlias", [&] {
      const std::string &name = request->model_name(), &alias = request->alias();
      check_name(name, "model_name");
      check_name(alias, "alias");
      if (alias == "latest") invalid("alias", "'latest' is always the newest version; choose another alias");
      if (alias.find_first_not_of("0123456789") == std::string::npos) invalid("alias", "is a number, as versions are");
      if (request->version().empty()) {
        app_.repository.remove_alias(name, alias);
      } else {
        app_.repository.set_alias(name, alias, version_of(name, request->version()));
      }
      if (app_.store) app_.store->refresh();
      describe(name, *reply);
    });
  }

  grpc::Status ExportModel(grpc::ServerContext* context, const v1::ModelRequest* request,
                           grpc::ServerWriter<v1::ModelChunk>* writer) override {
    return answer(app_, context, Role::admin, "ExportModel", [&] {
      const StreamPass stream(app_);
      const int version = version_of(request->model_name(), request->version());
      std::ifstream in(app_.repository.path(request->model_name(), version), std::ios::binary);
      if (!in) not_found(request->model_name(), request->version());
      v1::ModelChunk chunk;
      chunk.set_model_name(request->model_name());
      std::string buffer(chunk_bytes, '\0');
      while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), in.gcount() > 0) {
        chunk.set_data(buffer.data(), static_cast<std::size_t>(in.gcount()));
        if (!writer->Write(chunk)) throw Refusal(grpc::StatusCode::CANCELLED, "the client has gone");
        chunk.clear_model_name();
      }
      if (in.bad()) {  // what was sent looks like a whole file otherwise
        throw Refusal(grpc::StatusCode::DATA_LOSS, "model '" + request->model_name() + "' version " +
                                                       std::to_string(version) + " cannot be read to its end");
      }
    });
  }

  grpc::Status ImportModel(grpc::ServerContext* context, grpc::ServerReader<v1::ModelChunk>* reader,
                           v1::Model* reply) override {
    return answer(app_, context, Role::admin, "ImportModel", [&] {
      const StreamPass stream(app_);
      take_in(*reader, *reply);
    });
  }

 private:
  ModelStore& store() {
    if (!app_.store) throw Refusal(grpc::StatusCode::FAILED_PRECONDITION, "this server only trains (--role train)");
    return *app_.store;
  }

  int version_of(const std::string& name, const std::string& selector) {
    check_name(name, "model_name");
    const std::optional<int> version = app_.repository.resolve(name, selector);
    if (!version) not_found(name, selector);
    return *version;
  }

  void describe(const std::string& name, v1::Model& to) {
    to.set_model_name(name);
    std::map<std::string, ModelHandle> serving;
    if (app_.store) serving = app_.store->serving(name);
    std::vector<int> versions;
    std::map<std::string, int> aliases;
    try {
      versions = app_.repository.versions(name);
      aliases = app_.repository.aliases(name);
    } catch (const Refusal& e) {  // the others are listed all the same
      to.set_error(e.what());
    }
    for (const int number : versions) {
      v1::ModelVersion& v = *to.add_versions();
      v.set_version(std::to_string(number));
      std::error_code ignored;
      v.set_bytes(fs::file_size(app_.repository.path(name, number), ignored));
      v.set_job_id(app_.repository.job_of(name, number));
      if (app_.store) v.set_error(app_.store->error_of(name, number));
      for (const auto& [selector, model] : serving) {
        if (model->version != number) continue;
        v.set_loaded(true);
        v.set_load_seconds(model->load_seconds);
      }
    }
    for (const auto& [alias, version] : aliases) (*to.mutable_aliases())[alias] = std::to_string(version);
    for (const auto& [selector, model] : serving) {
      (*to.mutable_serving())[selector] = std::to_string(model->version);
      to.set_classification(model->task() == Task::ner ? "ner" : "tc");
      if (to.labels().empty()) to.mutable_labels()->Assign(model->labels().begin(), model->labels().end());
    }
  }

  /// Into a hidden file beside the models, verified, then published.
  void take_in(grpc::ServerReader<v1::ModelChunk>& reader, v1::Model& reply) {
    v1::ModelChunk chunk;
    std::string name;
    std::optional<Upload> upload;
    while (reader.Read(&chunk)) {
      if (!upload) {
        name = chunk.model_name();
        check_name(name, "model_name");
        make_folder(app_.repository.root());
        upload.emplace(app_.repository.root() + "/.import-" + new_id(), app_.settings.limits.upload_bytes);
      }
      upload->add(chunk.data());
    }
    if (!upload) invalid("data", "is empty; send the file's bytes");
    upload->finish();
    task_of(read_model(upload->path()));  // throws ModelError
    const int version = app_.repository.publish(name, upload->path(), "");
    log("model " + name + " version " + std::to_string(version) + " imported");
    if (app_.store) app_.store->refresh();
    describe(name, reply);
  }

  App& app_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_model_service(App& app) { return std::make_unique<ModelService>(app); }

}  // namespace bib::serve
