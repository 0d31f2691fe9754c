// Trains a text classifier on documents made in the program, and asks it.   train MODEL
#include <bib/tc.h>
#include <bib/train.h>

#include <iostream>

int main(int, char** argv) {
  std::vector<bib::Document> documents;
  for (const char* good : {"정말 좋아요", "아주 훌륭해요", "배송이 빨라요", "다시 살게요"}) {
    documents.push_back({.text = good, .labels = {"긍정"}});
  }
  for (const char* bad : {"정말 싫어요", "아주 나빠요", "배송이 느려요", "다시는 안 사요"}) {
    documents.push_back({.text = bad, .labels = {"부정"}});
  }
  bib::Config config = bib::default_config(bib::Task::tc);
  config.epochs = 30, config.batch = 2, config.warmup = 0, config.ema = 0;  // so few documents
  config.train_rate = 1;                                                    // and none of them set aside
  bib::Context ctx;
  bib::train(ctx, config, documents, {}, {.output = argv[1]});
  const auto answer = bib::TcModel::load(argv[1], ctx).predict(ctx, "배송이 빨라요");
  std::cout << answer.labels.front() << '\t' << answer.classes.front().score << '\n';
}
