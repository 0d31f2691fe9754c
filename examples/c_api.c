/* The C API from end to end.   c_api CORPUS MODEL TEXT
 * Trains an NER model on CORPUS, writes it to MODEL, and prints the entities of TEXT. */
#include <bib/bib.h>
#include <stdio.h>

static int report(const bib_progress* p, void* user) {
  (void)user;
  if (p->step == p->steps) fprintf(stderr, "trained: %d steps, loss %.3f\n", p->steps, p->loss);
  return 0;
}

static int failed(void) {
  fprintf(stderr, "%s\n", bib_last_error());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  bib_context* context = NULL;
  bib_model* model = NULL;
  bib_predictions* found = NULL;
  if (bib_context_create(NULL, &context)) return failed();

  bib_train_options train = {.struct_size = sizeof train, .task = BIB_NER, .train_path = argv[1], .output = argv[2]};
  train.config = /* a corpus of a few lines: small steps, no averaging, nothing set aside */
      "[model]\nhidden = 32\n"
      "[train]\nepochs = 60\nbatch = 2\nwarmup = 0\nema = 0.0\ntrain_rate = 1.0\n";
  train.progress = report;
  if (bib_train(context, &train) || bib_model_load(context, argv[2], &model)) return failed();

  bib_text text = bib_string(argv[3]);
  if (bib_predict(model, context, &text, 1, NULL, &found)) return failed();
  for (size_t i = 0; i < bib_entity_count(found, 0, 0); ++i) {
    bib_entity e = {.struct_size = sizeof e};
    if (bib_entity_get(found, 0, 0, i, &e)) return failed();
    printf("%.*s\t%.*s\t%.3f\n", (int)(e.end - e.begin), text.data + e.begin, (int)e.label.size, e.label.data, e.score);
  }
  bib_predictions_free(found);
  bib_model_free(model);
  bib_context_free(context);
  return 0;
}
