// One model, many threads: the model is constant and shared, each thread has a Context.   threads MODEL N < texts
// Prints the entities in the order of the texts; the answer is the same for every N.
#include <bib/ner.h>

#include <atomic>
#include <iostream>
#include <thread>

int main(int, char** argv) {
  bib::Context loader({.threads = 1});
  const bib::NerModel model = bib::NerModel::load(argv[1], loader);
  std::vector<std::string> texts;
  for (std::string line; std::getline(std::cin, line);) texts.push_back(line);

  std::vector<bib::NerPrediction> found(texts.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    bib::Context ctx({.threads = 1});
    for (std::size_t i; (i = next++) < texts.size();) found[i] = model.predict(ctx, texts[i]);
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < std::stoi(argv[2]); ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();

  for (std::size_t i = 0; i < texts.size(); ++i) {
    for (const bib::Entity& e : found[i].entities) {
      std::cout << texts[i].substr(e.begin, e.end - e.begin) << '\t' << e.label << '\t' << *e.score << '\n';
    }
  }
}
