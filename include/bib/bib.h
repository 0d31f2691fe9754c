/* The C API of bib: load and train models of named entities and of text classes, and predict with them.
 *
 *   bib_context *context = NULL;  bib_model *model = NULL;  bib_predictions *found = NULL;
 *   bib_text text = bib_string("서울에 사는 김민수");
 *   if (bib_context_create(NULL, &context) || bib_model_load(context, "ner.bib", &model) ||
 *       bib_predict(model, context, &text, 1, NULL, &found)) puts(bib_last_error());
 *
 * Rules, all of them:
 *  - Functions that can fail return a bib_status; bib_last_error() then says what went wrong, in this thread.
 *  - Text is UTF-8 with an explicit length, and may hold zero bytes. Paths and settings end with a zero byte.
 *  - Handles are made by one function and freed by another of this library; NULL may be freed. Nothing else is ever
 *    allocated on one side and freed on the other. Text and entities that are handed out live as long as the handle
 *    they came from.
 *  - A model is immutable: any number of threads may predict with it, each with a context of its own. Contexts and
 *    predictions belong to one thread at a time.
 *  - Structures begin with struct_size; set it to sizeof of the structure. A newer library reads what an older caller
 *    knows and leaves the rest at its default. Options that are NULL, or zero after struct_size, mean the default.
 */
#ifndef BIB_BIB_H
#define BIB_BIB_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef BIB_API
#define BIB_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a function or structure changes in a way that callers of the old one would notice. */
#define BIB_ABI_VERSION 1
BIB_API uint32_t bib_abi_version(void);   /* of the library at hand: compare with BIB_ABI_VERSION */
BIB_API const char* bib_version(void);    /* "0.1.0" */
BIB_API const char* bib_last_error(void); /* of the last call in this thread that failed; "" before the first */

/* The command's exit codes. */
typedef enum bib_status {
  BIB_OK = 0,
  BIB_FAILED = 1,       /* run-time failure: a file that cannot be written, a loss that is not finite */
  BIB_USAGE = 2,        /* a wrong argument */
  BIB_BAD_DATA = 3,     /* bad data or configuration */
  BIB_BAD_MODEL = 4,    /* model unreadable, damaged, or made by a newer bib */
  BIB_NO_DEVICE = 5,    /* device missing or out of memory */
  BIB_INTERRUPTED = 130 /* training was stopped by its callback; a checkpoint is saved */
} bib_status;

typedef struct bib_text {
  const char* data;
  size_t size; /* bytes */
} bib_text;

static inline bib_text bib_string(const char* s) {
  bib_text text = {s, strlen(s)};
  return text;
}

/* ---- Context: a device and the threads to use on it ---------------------------------------------------------- */

typedef struct bib_context bib_context;
typedef enum bib_device { BIB_DEVICE_CPU = 0, BIB_DEVICE_CUDA = 1 } bib_device;
/* Faster with less precision (docs/numerics.md); on the CPU models that are loaded, not those that are trained. */
typedef enum bib_math { BIB_MATH_STRICT = 0, BIB_MATH_FAST = 1, BIB_MATH_INT8 = 2 } bib_math;

typedef struct bib_context_options {
  size_t struct_size;
  bib_device device;
  int device_index;
  int threads; /* 0: as many as this process may use */
  bib_math math;
} bib_context_options;

BIB_API bib_status bib_context_create(const bib_context_options* options, bib_context** context);
BIB_API void bib_context_free(bib_context* context);

/* ---- Model --------------------------------------------------------------------------------------------------- */

typedef struct bib_model bib_model;
typedef enum bib_task { BIB_NER = 1, BIB_TC = 2 } bib_task;

/* Maps the file and verifies it. The model stays on the context's device; it does not need the context to live. */
BIB_API bib_status bib_model_load(bib_context* context, const char* path, bib_model** model);
BIB_API void bib_model_free(bib_model* model);
BIB_API bib_task bib_model_task(const bib_model* model);   /* 0, which is no task, for NULL */
BIB_API bib_text bib_model_config(const bib_model* model); /* TOML */
BIB_API size_t bib_model_label_count(const bib_model* model);
BIB_API bib_text bib_model_label(const bib_model* model, size_t index); /* {NULL, 0} past the end */

/* Terms that are likely entities, read from a file of term<TAB>label[<TAB>weight] lines (docs/formats.md). For this
 * model, or one with the same labels and units; immutable, and freed after the last prediction with it. */
typedef struct bib_dictionary bib_dictionary;
BIB_API bib_status bib_dictionary_load(const bib_model* model, const char* path, bib_dictionary** dictionary);
BIB_API void bib_dictionary_free(bib_dictionary* dictionary);

/* ---- Prediction ---------------------------------------------------------------------------------------------- */

typedef struct bib_predictions bib_predictions;
/* What begin and end of an entity count. */
typedef enum bib_offsets { BIB_BYTES = 0, BIB_CODEPOINTS = 1, BIB_UTF16 = 2 } bib_offsets;

typedef struct bib_predict_options {
  size_t struct_size;
  bib_offsets offsets;
  int no_scores;                    /* NER: leave entity scores out (NaN), which is faster */
  int nbest;                        /* NER: this many readings of each text besides the answer, up to 10,000 */
  int top_k;                        /* TC: classes to list, and all answers; 0: all */
  double threshold;                 /* TC, multi-label: what counts as an answer, up to 1; 0: 0.5 */
  const bib_dictionary* dictionary; /* NER; NULL: none */
} bib_predict_options;

/* Predicts `count` texts, batched by length inside. `predictions` are in the order of the texts. */
BIB_API bib_status bib_predict(const bib_model* model, bib_context* context, const bib_text* texts, size_t count,
                               const bib_predict_options* options, bib_predictions** predictions);
BIB_API void bib_predictions_free(bib_predictions* predictions);
BIB_API size_t bib_predictions_count(const bib_predictions* predictions);

typedef struct bib_entity {
  size_t struct_size;
  size_t begin, end; /* [begin, end) of the text, in the unit asked for */
  bib_text label;
  double score; /* exact probability of the entity; NaN where it was not asked for */
} bib_entity;

/* Reading 0 is the answer; 1 and on are the n best readings, best first, with their probability among all readings.
 * Counts are 0 past the end and for a model of the other task. */
BIB_API size_t bib_reading_count(const bib_predictions* predictions, size_t text);
BIB_API double bib_reading_probability(const bib_predictions* predictions, size_t text, size_t reading); /* 0: NaN */
BIB_API size_t bib_entity_count(const bib_predictions* predictions, size_t text, size_t reading);
BIB_API bib_status bib_entity_get(const bib_predictions* predictions, size_t text, size_t reading, size_t index,
                                  bib_entity* entity);

typedef struct bib_class {
  size_t struct_size;
  bib_text label;
  double score;  /* probability */
  int is_answer; /* the best class; multi-label: at or above the threshold */
} bib_class;

/* The classes of a text, best first. */
BIB_API size_t bib_class_count(const bib_predictions* predictions, size_t text);
BIB_API bib_status bib_class_get(const bib_predictions* predictions, size_t text, size_t index, bib_class* found);

/* ---- Training ------------------------------------------------------------------------------------------------ */

typedef struct bib_progress {
  size_t struct_size; /* as the library fills it */
  int epoch, epochs;  /* from 1 */
  int step, steps;    /* over all epochs, from 1 */
  double loss;        /* mean per document over this epoch so far */
  double seconds, remaining;
  double dev_score, best_score; /* NaN while there is none */
} bib_progress;

/* progress and warn are called in the thread that called bib_train(). */
typedef struct bib_train_options {
  size_t struct_size;
  bib_task task;
  const char* train_path;                                    /* a corpus file in any format that bib reads */
  const char* dev_path;                                      /* NULL: part of the training data is set aside */
  const char* format;                                        /* NULL: found out from the file */
  const char* output;                                        /* the model file */
  const char* config;                                        /* TOML, over the task's defaults; may be NULL */
  int resume;                                                /* not 0: go on from <output>.checkpoint if it is there */
  int (*progress)(const bib_progress* progress, void* user); /* after every step; not 0: save a checkpoint and stop */
  void (*warn)(bib_text message, void* user);
  void* user;
  const char* base; /* a model to go on from; NULL: none. config may then change [train] alone */
} bib_train_options;

BIB_API bib_status bib_train(bib_context* context, const bib_train_options* options);

#ifdef __cplusplus
}
#endif

#endif /* BIB_BIB_H */
