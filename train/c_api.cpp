// The C API over the C++ one: every exception becomes a status and a message of its thread.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <new>
#include <variant>
#include <vector>

#include "bib/bib.h"
#include "bib/corpus.h"
#include "bib/error.h"
#include "bib/ner.h"
#include "bib/tc.h"
#include "bib/train.h"
#include "models/model_file.h"
#include "models/model_parts.h"
#include "models/text.h"
#include "train/base.h"

struct bib_context {
  bib::Context context;
};

struct bib_model {
  std::variant<bib::NerModel, bib::TcModel> model;
  std::string config;
};

struct bib_dictionary {
  bib::NerDictionary dictionary;
};

struct bib_predictions {
  std::vector<bib::NerPrediction> ner;  // offsets already in the unit asked for
  std::vector<bib::TcPrediction> tc;
};

namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();

thread_local std::string last_error;

bib_status failed(bib_status status, const char* what) noexcept {
  try {
    last_error = what;
  } catch (...) {
    last_error.clear();
  }
  return status;
}

template <class F>
bib_status guarded(F&& body) noexcept {
  try {
    return body();
  } catch (const bib::DataError& e) {
    return failed(BIB_BAD_DATA, e.what());
  } catch (const bib::ModelError& e) {
    return failed(BIB_BAD_MODEL, e.what());
  } catch (const bib::DeviceError& e) {
    return failed(BIB_NO_DEVICE, e.what());
  } catch (const std::invalid_argument& e) {
    return failed(BIB_USAGE, e.what());
  } catch (const std::length_error&) {  // whose own message is for the one who wrote the library
    return failed(BIB_USAGE, "a size or count is larger than memory can be");
  } catch (const std::bad_alloc&) {
    return failed(BIB_FAILED, "out of memory");
  } catch (const std::exception& e) {
    return failed(BIB_FAILED, e.what());
  } catch (...) {
    return failed(BIB_FAILED, "an exception of unknown type");
  }
}

void require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

/// The caller's structure as far as both sides know it; fields that an older caller lacks stay zero.
template <class T>
T read_options(const T* given, const char* name) {
  T options{};
  if (!given) return options;
  require(given->struct_size >= sizeof(std::size_t), (std::string(name) + ": struct_size is not set").c_str());
  std::memcpy(&options, given, std::min(given->struct_size, sizeof(T)));
  options.struct_size = sizeof(T);
  return options;
}

/// Fills the caller's structure as far as both sides know it.
template <class T>
void write_result(T value, T* to, const char* name) {
  require(to, (std::string(name) + " is NULL").c_str());
  require(to->struct_size >= sizeof(std::size_t), (std::string(name) + ": struct_size is not set").c_str());
  const std::size_t size = std::min(to->struct_size, sizeof(T));
  value.struct_size = to->struct_size;
  std::memcpy(to, &value, size);
}

bib_text text_of(const std::string& s) { return {s.data(), s.size()}; }

std::string_view view_of(bib_text text) {
  require(text.data || text.size == 0, "text: data is NULL, but size is not 0");
  return text.data ? std::string_view(text.data, text.size) : std::string_view();
}

void convert_offsets(std::vector<bib::Entity>& entities, const bib::OffsetMap& offsets) {
  for (bib::Entity& e : entities) {
    e.begin = offsets.from_byte(e.begin);
    e.end = offsets.from_byte(e.end);
  }
}

void convert_offsets(bib::NerPrediction& prediction, const std::string& text, bib_offsets unit) {
  if (unit == BIB_BYTES) return;
  const bib::OffsetMap offsets(text, unit == BIB_UTF16 ? bib::OffsetUnit::utf16 : bib::OffsetUnit::codepoint);
  convert_offsets(prediction.entities, offsets);
  for (bib::NerAlternative& a : prediction.alternatives) convert_offsets(a.entities, offsets);
}

const bib::NerPrediction* ner_of(const bib_predictions* p, std::size_t text) {
  return p && text < p->ner.size() ? &p->ner[text] : nullptr;
}
const bib::TcPrediction* tc_of(const bib_predictions* p, std::size_t text) {
  return p && text < p->tc.size() ? &p->tc[text] : nullptr;
}
const std::vector<bib::Entity>* entities_of(const bib_predictions* p, std::size_t text, std::size_t reading) {
  const bib::NerPrediction* found = ner_of(p, text);
  if (!found || reading > found->alternatives.size()) return nullptr;
  return reading == 0 ? &found->entities : &found->alternatives[reading - 1].entities;
}

const std::vector<std::string>& labels_of(const bib_model& model) {
  return std::visit([](const auto& m) -> const std::vector<std::string>& { return m.labels(); }, model.model);
}

bib::TrainOptions train_options(const bib_train_options& o) {
  bib::TrainOptions options{.output = o.output, .base = o.base ? o.base : "", .resume = o.resume != 0};
  if (o.progress) {
    options.progress = [o](const bib::TrainProgress& p) {
      const bib_progress progress{sizeof progress,
                                  p.epoch,
                                  p.epochs,
                                  p.step,
                                  p.steps,
                                  p.loss,
                                  p.seconds,
                                  p.remaining,
                                  p.dev_score.value_or(none),
                                  p.best_score.value_or(none)};
      return o.progress(&progress, o.user) == 0;
    };
  }
  if (o.warn) options.warn = [o](const std::string& message) { o.warn(text_of(message), o.user); };
  return options;
}

}  // namespace

uint32_t bib_abi_version(void) { return BIB_ABI_VERSION; }
const char* bib_version(void) { return BIB_VERSION; }
const char* bib_last_error(void) { return last_error.c_str(); }

bib_status bib_context_create(const bib_context_options* given, bib_context** context) {
  return guarded([&] {
    require(context, "bib_context_create: context is NULL");
    const bib_context_options o = read_options(given, "bib_context_options");
    require(o.device == BIB_DEVICE_CPU || o.device == BIB_DEVICE_CUDA, "bib_context_options: no such device");
    require(o.threads >= 0, "bib_context_options: threads is negative");
    require(o.math == BIB_MATH_STRICT || o.math == BIB_MATH_FAST || o.math == BIB_MATH_INT8,
            "bib_context_options: no such math");
    *context =
        new bib_context{bib::Context({.device = o.device == BIB_DEVICE_CUDA ? bib::Device::cuda : bib::Device::cpu,
                                      .device_index = o.device_index,
                                      .threads = o.threads,
                                      .math = o.math == BIB_MATH_STRICT ? bib::Math::strict
                                              : o.math == BIB_MATH_FAST ? bib::Math::fast
                                                                        : bib::Math::int8})};
    return BIB_OK;
  });
}

void bib_context_free(bib_context* context) { delete context; }

bib_status bib_model_load(bib_context* context, const char* path, bib_model** model) {
  return guarded([&] {
    require(context && path && model, "bib_model_load: an argument is NULL");
    const auto loaded = [&]() -> std::unique_ptr<bib_model> {
      if (bib::task_of(bib::read_model(path)) == bib::Task::ner) {
        bib::NerModel ner = bib::NerModel::load(path, context->context);
        return std::make_unique<bib_model>(bib_model{ner, bib::to_toml(ner.config())});
      }
      bib::TcModel tc = bib::TcModel::load(path, context->context);
      return std::make_unique<bib_model>(bib_model{tc, bib::to_toml(tc.config())});
    };
    *model = loaded().release();
    return BIB_OK;
  });
}

void bib_model_free(bib_model* model) { delete model; }

bib_task bib_model_task(const bib_model* model) {
  if (!model) return bib_task{};
  return std::holds_alternative<bib::TcModel>(model->model) ? BIB_TC : BIB_NER;
}

bib_text bib_model_config(const bib_model* model) { return model ? text_of(model->config) : bib_text{nullptr, 0}; }

size_t bib_model_label_count(const bib_model* model) { return model ? labels_of(*model).size() : 0; }

bib_text bib_model_label(const bib_model* model, size_t index) {
  if (index >= bib_model_label_count(model)) return {nullptr, 0};
  return text_of(labels_of(*model)[index]);
}

bib_status bib_dictionary_load(const bib_model* model, const char* path, bib_dictionary** dictionary) {
  return guarded([&] {
    require(model && path && dictionary, "bib_dictionary_load: an argument is NULL");
    const auto* ner = std::get_if<bib::NerModel>(&model->model);
    require(ner, "bib_dictionary_load: the model classifies texts; a dictionary is for one that finds entities");
    *dictionary = new bib_dictionary{bib::NerDictionary::load(path, *ner)};
    return BIB_OK;
  });
}

void bib_dictionary_free(bib_dictionary* dictionary) { delete dictionary; }

bib_status bib_predict(const bib_model* model, bib_context* context, const bib_text* texts, size_t count,
                       const bib_predict_options* given, bib_predictions** predictions) {
  return guarded([&] {
    require(model && context && predictions, "bib_predict: an argument is NULL");
    require(texts || count == 0, "bib_predict: texts is NULL, but count is not 0");
    const bib_predict_options o = read_options(given, "bib_predict_options");
    require(o.offsets >= BIB_BYTES && o.offsets <= BIB_UTF16, "bib_predict_options: no such offsets");
    require(o.nbest >= 0 && o.top_k >= 0, "bib_predict_options: nbest or top_k is negative");
    require(o.threshold >= 0 && o.threshold <= 1, "bib_predict_options: threshold is not between 0 and 1");
    std::vector<bib::Document> documents(count);
    for (size_t i = 0; i < count; ++i) documents[i].text = view_of(texts[i]);

    auto found = std::make_unique<bib_predictions>();
    if (const auto* ner = std::get_if<bib::NerModel>(&model->model)) {
      found->ner = ner->predict(context->context, documents,
                                {.scores = o.no_scores == 0,
                                 .nbest = o.nbest,
                                 .dictionary = o.dictionary ? &o.dictionary->dictionary : nullptr});
      for (size_t i = 0; i < count; ++i) convert_offsets(found->ner[i], documents[i].text, o.offsets);
    } else {
      found->tc = std::get<bib::TcModel>(model->model)
                      .predict(context->context, documents,
                               {.top_k = o.top_k, .threshold = o.threshold > 0 ? o.threshold : 0.5});
    }
    *predictions = found.release();
    return BIB_OK;
  });
}

void bib_predictions_free(bib_predictions* predictions) { delete predictions; }

size_t bib_predictions_count(const bib_predictions* p) { return p ? p->ner.size() + p->tc.size() : 0; }

size_t bib_reading_count(const bib_predictions* p, size_t text) {
  const bib::NerPrediction* found = ner_of(p, text);
  return found ? 1 + found->alternatives.size() : 0;
}

double bib_reading_probability(const bib_predictions* p, size_t text, size_t reading) {
  const bib::NerPrediction* found = ner_of(p, text);
  if (!found || reading == 0 || reading > found->alternatives.size()) return none;
  return found->alternatives[reading - 1].probability;
}

size_t bib_entity_count(const bib_predictions* p, size_t text, size_t reading) {
  const auto* entities = entities_of(p, text, reading);
  return entities ? entities->size() : 0;
}

bib_status bib_entity_get(const bib_predictions* p, size_t text, size_t reading, size_t index, bib_entity* entity) {
  return guarded([&] {
    require(index < bib_entity_count(p, text, reading), "bib_entity_get: no such entity");
    const bib::Entity& e = (*entities_of(p, text, reading))[index];
    write_result(bib_entity{0, e.begin, e.end, text_of(e.label), e.score.value_or(none)}, entity, "bib_entity");
    return BIB_OK;
  });
}

size_t bib_class_count(const bib_predictions* p, size_t text) {
  const bib::TcPrediction* found = tc_of(p, text);
  return found ? found->classes.size() : 0;
}

bib_status bib_class_get(const bib_predictions* p, size_t text, size_t index, bib_class* to) {
  return guarded([&] {
    require(index < bib_class_count(p, text), "bib_class_get: no such class");
    const bib::TcPrediction& found = *tc_of(p, text);
    const bib::ClassScore& c = found.classes[index];
    const bool answer = std::find(found.labels.begin(), found.labels.end(), c.label) != found.labels.end();
    write_result(bib_class{0, text_of(c.label), c.score, answer}, to, "bib_class");
    return BIB_OK;
  });
}

bib_status bib_train(bib_context* context, const bib_train_options* given) {
  return guarded([&] {
    require(context && given, "bib_train: an argument is NULL");
    const bib_train_options o = read_options(given, "bib_train_options");
    require(o.task == BIB_NER || o.task == BIB_TC, "bib_train_options: task is neither BIB_NER nor BIB_TC");
    require(o.train_path && o.output, "bib_train_options: train_path or output is NULL");
    for (const char* const input : {o.train_path, o.dev_path, o.base}) {
      std::error_code ignored;  // where either is not there, they are not the same
      require(!input || !std::filesystem::equivalent(input, o.output, ignored),
              "bib_train_options: output is also train_path, dev_path or base, and would take its place");
    }
    const bib::Task task = o.task == BIB_NER ? bib::Task::ner : bib::Task::tc;
    bib::Config config =
        o.base ? bib::continued(bib::config_of(*bib::read_base(task, o.base))) : bib::default_config(task);
    if (o.config) config = bib::from_toml(o.config, "bib_train_options.config", config);
    require(config.task == task, "bib_train_options: config is of the other task");
    const std::string format = o.format ? o.format : "auto";
    std::vector<bib::Document> dev;
    if (o.dev_path) dev = bib::read_documents(o.dev_path, task, format);
    const bib::TrainResult result = bib::train(
        context->context, config, bib::read_documents(o.train_path, task, format), std::move(dev), train_options(o));
    return result.interrupted ? failed(BIB_INTERRUPTED, "training was stopped; its checkpoint is saved") : BIB_OK;
  });
}
