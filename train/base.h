// Going on from a model (TrainOptions::base): what it must be, what is new beside it, and what is said of that.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bib/train.h"
#include "models/features.h"
#include "models/model_file.h"

namespace bib {

/// The model to go on from; throws ModelError where it is of the other task, or a checkpoint, whose weights are not
/// those that were chosen.
std::shared_ptr<const ModelFile> read_base(Task task, const std::string& path);
/// The same, null without options.base. Throws DataError where config asks for what the model cannot change, and
/// std::invalid_argument where it would be written over.
std::shared_ptr<const ModelFile> open_base(const Config& config, const TrainOptions& options);

/// Identifies the file: in the metadata of checkpoints and of the models that came from it.
std::string hash_of_base(const ModelFile* base);

/// The base's labels in their order, then those of the data that it lacks.
std::vector<std::string> joined(std::vector<std::string> labels, const std::vector<std::string>& of_data);

/// Tells how much is new; warns of labels of the base that the data lack.
void tell_growth(const TrainOptions& options, const Features& base, const Features& now,
                 const std::vector<std::string>& base_labels, const std::vector<std::string>& of_data);

/// What the dev score of a task is called.
const char* metric_of(const Config& config);

}  // namespace bib
