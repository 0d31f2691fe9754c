// What a model of each task consists of, shared by training (which fills and saves it) and prediction (which loads it).
#pragma once
#include "bib/ner.h"
#include "bib/tc.h"
#include "models/bilstm_crf.h"
#include "models/text_cnn.h"

namespace bib {

struct NerModel::Impl {
  Config config;
  Features features;
  TagSet tags;
  Parameters parameters;
  BiLstmCrf network;
};

struct TcModel::Impl {
  Config config;
  Features features;
  Labels labels;
  Parameters parameters;
  TextCnn network;
};

/// The parts from the texts alone: vocabularies counted, parameters declared but without memory.
NerModel::Impl make_ner(const Config& config, Features features, TagSet tags);
TcModel::Impl make_tc(const Config& config, Features features, Labels labels);

/// The parts of a file with their values, as they are in it: not packed.
std::shared_ptr<NerModel::Impl> open_ner(Context& ctx, std::shared_ptr<const ModelFile> file);
std::shared_ptr<TcModel::Impl> open_tc(Context& ctx, std::shared_ptr<const ModelFile> file);

/// As NerModel::load and TcModel::load, of a file that is read already.
NerModel load_ner(Context& ctx, std::shared_ptr<const ModelFile> file);
TcModel load_tc(Context& ctx, std::shared_ptr<const ModelFile> file);

/// Everything a reader needs, as tensors and metadata; borrows from the parts.
void save(Context& ctx, const NerModel::Impl& model, ModelFile& file);
void save(Context& ctx, const TcModel::Impl& model, ModelFile& file);

/// Which task a model file is for. Throws ModelError when it is not bib's.
Task task_of(const ModelFile& file);
Config config_of(const ModelFile& file);
/// The file of a model of this task; throws ModelError where it is of the other.
std::shared_ptr<const ModelFile> read_model_of(Task task, const std::string& path);

}  // namespace bib
