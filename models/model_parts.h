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

/// Everything a reader needs, as tensors and metadata; borrows from the parts.
void save(Context& ctx, const NerModel::Impl& model, ModelFile& file);
void save(Context& ctx, const TcModel::Impl& model, ModelFile& file);

/// Which task a model file is for. Throws ModelError when it is not bib's.
Task task_of(const ModelFile& file);
Config config_of(const ModelFile& file);

}  // namespace bib
