// Entities of each line of standard input.   predict MODEL < texts
#include <bib/ner.h>

#include <iostream>

int main(int, char** argv) {
  bib::Context ctx;
  const bib::NerModel model = bib::NerModel::load(argv[1], ctx);
  for (std::string line; std::getline(std::cin, line);) {
    for (const bib::Entity& e : model.predict(ctx, line).entities) {
      std::cout << line.substr(e.begin, e.end - e.begin) << '\t' << e.label << '\t' << *e.score << '\n';
    }
  }
}
