// What the fuzz targets of the server have in common.
#pragma once
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "serve/jobs.h"

namespace bib::serve {

inline void require(bool holds) {
  if (!holds) std::abort();
}

/// A prediction server's insides with a small model of each task, and a folder of data sets.
struct ServedModels {
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("bib_fuzz_" + std::to_string(::getpid()));
  std::unique_ptr<App> app;

  ServedModels() {
    std::filesystem::create_directories(folder / "data");
    std::ofstream(folder / "data" / "tc.csv") << "text,label\n좋다,a\n나쁘다,b\n";
    std::ofstream(folder / "secret") << "x";
    make_model(Task::ner, {{.text = "서울 김", .spans = {{{0, 6}, "LC"}}, .annotated = true},
                           {.text = "가나", .annotated = true}});
    make_model(Task::tc, {{.text = "좋다", .labels = {"a"}, .annotated = true},
                          {.text = "나쁘다", .labels = {"b"}, .annotated = true}});
    Settings settings;
    settings.role = "predict";
    settings.models = (folder / "models").string();
    settings.datasets = (folder / "data").string();
    settings.workers = 1;
    settings.http_port = 0;  // any free one, where the target has one
    settings.limits.text_bytes = 2000;
    settings.limits.texts = 20;
    app = std::make_unique<App>(settings);
    app->store->start();
    require(app->store->served_names().size() == 2);
  }
  ~ServedModels() {
    app.reset();
    std::filesystem::remove_all(folder);
  }

  void make_model(Task task, std::vector<Document> documents) {
    const std::filesystem::path target = folder / "models" / (task == Task::ner ? "n" : "t") / "1";
    std::filesystem::create_directories(target);
    Config config = default_config(task);
    config.epochs = 1;
    config.train_rate = 1;
    for (const char* small : {"syllable=4", "bigram=4", "jamo=4"}) set_field(config, small);
    set_field(config, task == Task::ner ? "hidden=4" : "filters=4");
    Context ctx;
    train(ctx, config, std::move(documents), {}, {.output = (target / "model.bib").string()});
  }
};

}  // namespace bib::serve
