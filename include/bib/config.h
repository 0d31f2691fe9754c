// Everything that decides how a model is built and trained. One flat table of named fields (visit) serves the TOML
// file, --set key=value, the copy stored in the model, and `bib inspect`: a new setting is added in one place.
#pragma once
#if __cplusplus < 201709L
#error "bib's C++ headers need C++20 (-std=c++20); bib/bib.h, its C API, does not"
#endif
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bib {

enum class Task { ner, tc };
enum class Unit { syllable, word };  // what one time step is: a character (Hangul: a syllable) or a word
/// How a span becomes tags. iob1: I-X, with B-X only where an entity touches one of its own type before it
/// (CoNLL-2003); iob2: B-X I-X...; bioes: B-X I-X... E-X, and S-X for one unit; bilou: the same as B I L and U.
enum class Scheme { iob1, iob2, bioes, bilou };
enum class Optimizer { adam, sgd };
enum class Schedule { constant, linear, cosine };

struct Config {
  Task task = Task::ner;

  // Features of a unit: the size of each embedding, 0 = not used.
  Unit unit = Unit::syllable;
  int syllable = 64;   // the character itself
  int bigram = 64;     // with its right neighbour
  int trigram = 0;     // with both neighbours
  int word = 0;        // the word (for unit = syllable: the space-delimited word the syllable stands in)
  int jamo = 16;       // lead, vowel and tail of a Hangul syllable, this much each
  int shape = 8;       // kind of character or capitalisation, and whether a space stands before or after
  int affix = 0;       // unit = word: prefixes and suffixes of 1 to 3 characters, this much each
  int characters = 0;  // unit = word: character embedding of a convolution over the word's characters
  int character_filters = 50;
  int character_window = 3;
  int min_count = 1;          // rarer entries are "unknown"
  int max_entries = 2000000;  // most frequent entries kept per feature
  bool lowercase = false;     // unit = word: look words up in lower case (the shape still sees the capitals)
  bool zero_digits = false;   // every digit looks like 0
  std::string vectors{};      // pretrained vectors for the words, or for the syllables: path of a .vec or .bin file
  int vector_words = 100000;  // most words kept that the vectors have and the training data lack

  // NER: BiLSTM-CRF
  int hidden = 160;  // per direction
  int layers = 1;
  Scheme scheme = Scheme::iob2;

  // TC: TextCNN
  std::vector<int> windows{1, 2, 3, 4};
  int filters = 128;  // per window
  bool multilabel = false;

  // Regularisation
  float dropout_input = 0.3f;      // variational, on the embedded features
  float dropout_recurrent = 0.2f;  // variational, on h between steps
  float dropout_output = 0.3f;     // on what the last layer reads
  float unknown_rate = 0.1f;       // feature entries replaced by "unknown", so that it is trained
  float weight_decay = 0;
  float ema = 0.998f;  // weight averaging; 0 = off

  // Training
  Optimizer optimizer = Optimizer::adam;
  Schedule schedule = Schedule::linear;
  int epochs = 15;
  int batch = 32;    // documents per step
  int patience = 0;  // stop after this many epochs without a better dev score; 0 = never
  int warmup = 100;  // steps, but at most a tenth of all
  float lr = 2e-3f;
  float momentum = 0.9f;             // sgd
  float clip = 5;                    // gradient norm
  float train_rate = 0.9f;           // share of the data to train on when no dev file is given
  bool balanced = false;             // TC: weight classes by inverse frequency
  std::string nested = "outermost";  // NER: which of nested spans to learn: outermost or innermost
  bool calibrate = true;             // scale the scores by a temperature that the dev set gives
  std::uint64_t seed = 1;
  std::uint64_t split_seed = 0;  // draws the documents that are set aside when no dev file is given; 0 = seed
};

/// The task's own defaults.
Config default_config(Task task, Unit unit = Unit::syllable);

/// Calls f("section", "key", field, "help") for every field, in the order of the file.
template <class C, class F>
void visit(C& c, F&& f) {
  f("", "task", c.task, "ner or tc");
  f("features", "unit", c.unit, "syllable or word");
  f("features", "syllable", c.syllable, "size of the character embedding; 0 = off");
  f("features", "bigram", c.bigram, "size of the embedding of a character and its right neighbour");
  f("features", "trigram", c.trigram, "size of the embedding of a character and both neighbours");
  f("features", "word", c.word, "size of the word embedding");
  f("features", "jamo", c.jamo, "size of each of the three jamo embeddings");
  f("features", "shape", c.shape, "size of the shape and word-boundary embedding");
  f("features", "affix", c.affix, "unit = word: size of each prefix and suffix embedding");
  f("features", "characters", c.characters, "unit = word: size of the character embedding under the convolution");
  f("features", "character_filters", c.character_filters, "filters of the character convolution");
  f("features", "character_window", c.character_window, "window of the character convolution");
  f("features", "min_count", c.min_count, "rarer entries are unknown");
  f("features", "max_entries", c.max_entries, "most frequent entries kept per feature");
  f("features", "lowercase", c.lowercase, "look words up in lower case");
  f("features", "zero_digits", c.zero_digits, "every digit looks like 0");
  f("features", "vectors", c.vectors, "pretrained vectors, .vec or .bin");
  f("features", "vector_words", c.vector_words, "words kept that only the vectors have; the file's first");
  f("model", "hidden", c.hidden, "LSTM units per direction");
  f("model", "layers", c.layers, "LSTM layers");
  f("model", "scheme", c.scheme, "tag scheme: iob1, iob2, bioes or bilou");
  f("model", "windows", c.windows, "TextCNN window widths");
  f("model", "filters", c.filters, "TextCNN filters per window");
  f("model", "multilabel", c.multilabel, "any number of labels per document");
  f("train", "dropout_input", c.dropout_input, "variational dropout of the features");
  f("train", "dropout_recurrent", c.dropout_recurrent, "variational dropout of h between steps");
  f("train", "dropout_output", c.dropout_output, "dropout before the last layer");
  f("train", "unknown_rate", c.unknown_rate, "share of feature entries hidden, so that unknown is trained");
  f("train", "weight_decay", c.weight_decay, "decoupled weight decay");
  f("train", "ema", c.ema, "decay of the weight average; 0 = off");
  f("train", "optimizer", c.optimizer, "adam or sgd");
  f("train", "schedule", c.schedule, "learning rate after warm-up: constant, linear or cosine");
  f("train", "epochs", c.epochs, "passes over the data");
  f("train", "batch", c.batch, "documents per step");
  f("train", "patience", c.patience, "epochs without a better dev score before stopping; 0 = never");
  f("train", "warmup", c.warmup, "steps of rising learning rate, at most a tenth of all");
  f("train", "lr", c.lr, "highest learning rate");
  f("train", "momentum", c.momentum, "sgd momentum");
  f("train", "clip", c.clip, "largest gradient norm; 0 = no clipping");
  f("train", "train_rate", c.train_rate, "share of the data to train on when no dev file is given");
  f("train", "balanced", c.balanced, "weight classes by inverse frequency");
  f("train", "nested", c.nested, "which of nested spans to learn: outermost or innermost");
  f("train", "calibrate", c.calibrate, "scale the scores at the end so that probabilities fit the dev set");
  f("train", "seed", c.seed, "seed of all random numbers");
  f("train", "split_seed", c.split_seed, "seed of which documents are set aside when no dev file is given; 0 = seed");
}

/// What to go on from a model of this configuration with (TrainOptions::base): its features, its network and which of
/// nested spans it learned; else the defaults of its task.
Config continued(const Config& base);

/// The settings of features and network that differ and that a model cannot change, as
/// 'model.hidden = 160, not 80; ...' with the base's value first; empty when `config` may go on from it. min_count and
/// max_entries may differ: they tell which entries of the new data are added.
std::string differences(const Config& config, const Config& base);

/// Refuses values that make no sense; throws DataError naming the key, the value and what is allowed.
void check(const Config& config);

/// TOML text with a comment per key. Reading it back gives the same Config.
std::string to_toml(const Config& config);

/// Reads TOML over `base`. An unknown key, a wrong type or a bad value throws DataError "file:line: ..." with the
/// nearest known key.
Config from_toml(std::string_view text, const std::string& file, Config base);

/// One assignment "section.key=value" (the section may be left out) over the config; throws DataError likewise.
void set_field(Config& config, std::string_view assignment);

}  // namespace bib
