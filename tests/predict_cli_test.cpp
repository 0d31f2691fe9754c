// `bib predict` from outside: every kind of answer, and inputs whose layout the user has to name.
#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "tests/command.h"
#include "tests/json_lines.h"

namespace {

using Json = nlohmann::json;
using bib_test::Result, bib_test::first_lines, bib_test::json_lines, bib_test::small_ner, bib_test::small_tc;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Predict : public bib_test::Command {
 protected:
  void train_ner() {
    std::string text;
    for (int i = 0; i < 8; ++i)
      text += "<서울:LC>에 간다\n<부산:LC>에 산다\n<김민수:PS>가 왔다\n<이영희:PS>가 간다\n오늘은 춥다\n내일은 덥다\n";
    file("ner.txt", text);
    const Result r = run("train ner --train ner.txt -o ner --epochs 30 --train-rate 1 --lr 0.01" + small_ner);
    ASSERT_EQ(r.code, 0) << r.err;
  }

  void train_tc(const std::string& more = "") {
    std::string text;
    for (int i = 0; i < 8; ++i) text += "__label__배송 배송이 늦다\n__label__값 값이 싸다\n__label__맛 정말 맛있다\n";
    if (!more.empty()) text += "__label__배송 __label__값 배송이 늦고 값이 비싸다\n";
    file("tc.txt", text);
    const Result r = run("train tc --train tc.txt -o tc --epochs 20 --train-rate 1 --lr 0.01" + small_tc + more);
    ASSERT_EQ(r.code, 0) << r.err;
  }
};

TEST_F(Predict, EntitiesInEveryFormat) {
  train_ner();
  const std::string texts = "서울에 간다\n\n김민수가 왔다\n";
  EXPECT_EQ(run("predict ner --format inline", texts).out, "<서울:LC>에 간다\n\n<김민수:PS>가 왔다\n");
  EXPECT_EQ(run("predict ner --format inline", "{\"text\":\"서울에\\r\\n간다\"}\n").out, "<서울:LC>에  간다\n");
  const std::vector<Json> plain = json_lines(run("predict ner", texts).out);
  ASSERT_EQ(plain.size(), 3u);
  EXPECT_EQ(plain[0]["text"], "서울에 간다");
  ASSERT_EQ(plain[0]["entities"].size(), 1u);
  const Json& e = plain[0]["entities"][0];
  EXPECT_EQ(e["label"], "LC");
  EXPECT_EQ(e["start"], 0);
  EXPECT_EQ(e["end"], 2);
  EXPECT_GT(e["score"], 0.5);
  EXPECT_LE(e["score"], 1.0001);
  const std::vector<Json> bare = json_lines(run("predict ner --scores none", texts).out);
  EXPECT_FALSE(bare[0]["entities"][0].contains("score"));
  EXPECT_EQ(bare[0]["entities"][0]["text"], "서울");
}

TEST_F(Predict, InlineAnswersReadBackWhateverTheTextHolds) {
  train_ner();
  const std::string texts = "서울에 <b>간다</b>\n<서울:LC>에 간다\n\\서울에 간다 :LC>\n김민수가 3 < 5 왔다\n<a:B>\n";
  file("inline.txt", run("predict ner --format inline", texts).out);
  const Result back = run("convert inline.txt --from inline --to jsonl");
  ASSERT_EQ(back.code, 0) << back.err;
  const std::vector<Json> read = json_lines(back.out),
                          answers = json_lines(run("predict ner --scores none", texts).out);
  ASSERT_EQ(read.size(), answers.size());
  for (std::size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i]["text"], answers[i]["text"]);
    Json entities = answers[i]["entities"];
    for (Json& e : entities) e.erase("text");
    EXPECT_EQ(read[i]["spans"], entities) << answers[i]["text"];
  }
  EXPECT_THAT(bytes("inline.txt"), HasSubstr("\\<서울:LC"));
}

TEST_F(Predict, ALineThatIsNoObjectSaysWhy) {
  train_ner();
  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  const Result r =
      run("predict ner --from jsonl", "{\"text\":\"서울에 간다\",\"x\":" + deep +
                                          "}\n{\"text\":\"\\ud83d\"}\n{\"text\":\"a\",\"n\":1e999}\n[1]\n" +
                                          "{\"text\":\"서울에 간다\",\"x\":[[1]]}\n");
  ASSERT_EQ(r.code, 0) << r.err;
  const std::vector<Json> answers = json_lines(r.out);
  ASSERT_EQ(answers.size(), 5u);
  const auto message = [&](std::size_t i) { return answers[i]["error"]["message"].get<std::string>(); };
  EXPECT_THAT(message(0), HasSubstr("nests more than 200 deep"));
  EXPECT_THAT(message(1), AllOf(HasSubstr("not a JSON object: at byte"), HasSubstr("surrogate")));
  EXPECT_THAT(message(2), HasSubstr("not a JSON object: number overflow"));
  EXPECT_EQ(message(3), "not a JSON object");
  EXPECT_EQ(answers[4]["entities"].size(), 1u) << "one bad line does not take the others with it";
}

TEST_F(Predict, EntitiesMarkedWithABlankTooManyAreLearnedAllTheSame) {
  std::string text;
  for (int i = 0; i < 8; ++i) text += "<서울 :LC>간다\n<부산 :LC>산다\n오늘은< 김민수:PS> 온다\n내일은 춥다\n";
  file("ner.txt", text);
  for (const std::string unit : {"syllable", "word"}) {
    const Result r =
        run("train ner --train ner.txt -o ner --epochs 30 --train-rate 1 --lr 0.01 --unit " + unit + small_ner);
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_THAT(r.err, AllOf(HasSubstr("24 annotated spans begin or end with white space; they are learned without"),
                             Not(HasSubstr("do not meet"))));
    EXPECT_EQ(run("predict ner --format inline", "서울 간다\n오늘은 김민수 온다\n").out,
              "<서울:LC> 간다\n오늘은 <김민수:PS> 온다\n");
  }
}

TEST_F(Predict, WordModelsReadEmptyTextsToo) {
  std::string text;
  for (int i = 0; i < 8; ++i) text += "<서울:LC> 에 간다\n\n<부산:LC> 에 산다\n";
  file("ner.txt", text);
  Result r = run("train ner --unit word --train ner.txt -o ner --epochs 30 --train-rate 1 --lr 0.01" + small_ner);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(run("predict ner --format inline", "\n").out, "\n");
  EXPECT_EQ(run("predict ner --format inline", " \n서울 에 간다\n\n").out, " \n<서울:LC> 에 간다\n\n");
  text = "__label__a 하나 둘\n__label__a 셋\n";
  for (int i = 0; i < 100; ++i) text += "__label__b \n";  // texts of one length share batches
  file("tc.txt", text);
  r = run("train tc --unit word --train tc.txt --set characters=4 -o tc --epochs 2 --train-rate 1" + small_tc);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(run("predict tc", "\n").out, HasSubstr("\"labels\":["));
}

TEST_F(Predict, AFileThatIsNoTextIsRefused) {
  train_ner();
  const Result utf16 = run("predict ner", std::string("\xFF\xFE\x5C\xD5\x0A\x00", 6));
  EXPECT_EQ(utf16.code, 3);
  EXPECT_THAT(utf16.err, HasSubstr("standard input: begins with a UTF-16 byte order mark; name its encoding"));
  const Result named = run("predict ner --format inline --encoding utf-16", std::string("\xFF\xFE\x5C\xD5\x0A\x00", 6));
  EXPECT_EQ(named.out, "한\n") << named.err;
  EXPECT_THAT(run("predict ner", "\x1F\x8B\x08x\n").err, HasSubstr("is compressed"));
}

TEST_F(Predict, EarlierAnswersStayWhereTheInputCannotBeRead) {
  train_ner();
  file("wide.txt", "\xFF\xFE");
  file("broken.conll", "서울");
  for (const char* input : {"none.txt", ".", "wide.txt", "none.conll --from conll", "broken.conll --from conll"}) {
    file("answers", "before\n");
    EXPECT_EQ(run(std::string("predict ner -o answers ") + input).code, 3) << input;
    EXPECT_EQ(bytes("answers"), "before\n") << input;
  }
}

TEST_F(Predict, FieldsArePassedThroughAsWritten) {
  train_ner();
  const std::string line =
      R"({"id":123456789012345678901234567890,"x":-9223372036854775809,"y":0.10000000000000000555,"d":{"a": 1E3},)"
      R"("k\u0065y":"\ud55c","text":"\uc11c\uc6b8\uc5d0 \uac04\ub2e4","entities":[7],"unit":null,"x":2.50})";
  const Result r = run("predict ner --scores none", line + "\n{\"id\":18446744073709551616}\n");
  EXPECT_EQ(r.out,
            "{\"id\":123456789012345678901234567890,\"x\":2.50,\"y\":0.10000000000000000555,\"d\":{\"a\": 1E3},"
            "\"key\":\"\\ud55c\",\"text\":\"서울에 간다\",\"entities\":[{\"start\":0,\"end\":2,\"label\":\"LC\","
            "\"text\":\"서울\"}],\"unit\":\"codepoint\"}\n"
            "{\"id\":18446744073709551616,\"error\":{\"code\":\"bad_input\",\"message\":\"has no string field "
            "\\\"text\\\"\"}}\n");
}

TEST_F(Predict, TheBestReadingsComeWithTheirProbabilities) {
  train_ner();
  const Json answer = json_lines(run("predict ner --nbest 4", "서울에 사는 김민수\n").out).at(0);
  const Json& readings = answer["alternatives"];
  ASSERT_EQ(readings.size(), 4u);
  double sum = 0, before = 1.0001;
  for (const Json& reading : readings) {
    const double p = reading["probability"];
    EXPECT_LE(p, before) << "best first";
    sum += before = p;
  }
  EXPECT_LE(sum, 1.0001) << "probabilities among all readings";
  EXPECT_EQ(readings[0]["entities"].size(), answer["entities"].size()) << "the first is the answer";
  EXPECT_NE(readings[0]["entities"], readings[1]["entities"]);
}

/// A program on the other side of the pipe gets its answer before it sends the next text.
TEST_F(Predict, AnAnswerDoesNotWaitForTheNextText) {
  train_ner();
  file("first", "서울에 산다");
  int to[2], from[2];
  ASSERT_EQ(pipe(to) + pipe(from), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(to[0], STDIN_FILENO), dup2(from[1], STDOUT_FILENO);
    for (const int end : {to[0], to[1], from[0], from[1]}) close(end);
    execl(BIB_COMMAND, "bib", "predict", (folder_ / "ner").c_str(), (folder_ / "first").c_str(), "-", "--format",
          "inline", nullptr);
    _exit(127);
  }
  close(to[0]), close(from[1]);
  FILE* answers = fdopen(from[0], "r");
  char line[256];
  ASSERT_NE(fgets(line, sizeof line, answers), nullptr) << "nor does that of a file before";
  EXPECT_STREQ(line, "<서울:LC>에 산다\n");
  for (const std::string text : {"서울에 간다", "", "김민수가 왔다"}) {
    ASSERT_EQ(write(to[1], (text + "\n").data(), text.size() + 1), static_cast<ssize_t>(text.size() + 1));
    ASSERT_NE(fgets(line, sizeof line, answers), nullptr);
    EXPECT_EQ(text.empty(), std::string(line) == "\n") << line;
  }
  close(to[1]);
  EXPECT_EQ(fgets(line, sizeof line, answers), nullptr) << "nothing else follows";
  fclose(answers);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(Predict, TheTextsThatTheModelIsLeastSureOfComeFirst) {
  train_ner();
  train_tc();
  std::string pool;  // more than are read at a time, and the last is the strangest
  for (int i = 0; i < 700; ++i) pool += i % 2 ? "서울에 간다\n" : "김민수가 왔다\n";
  pool += "부산에 이영희\n\n \n낯선 박철수 도쿄로 ?!\n서울은 춥다\n";
  for (const std::string model : {"ner", "tc"}) {
    const auto confidence = [&](const Json& answer) -> double {
      if (model == "tc") return answer["classes"][0]["score"];
      double units = 0;
      for (const char c : answer["text"].get<std::string>()) units += (c & 0xC0) != 0x80 && c != ' ';
      return std::pow(answer["alternatives"][0]["probability"].get<double>(), 1 / units);
    };
    std::map<double, std::string> all;  // of each text once
    for (const Json& answer : json_lines(run("predict " + model + (model == "ner" ? " --nbest 1" : ""), pool).out))
      if (answer["text"] != "" && answer["text"] != " ") all.emplace(confidence(answer), answer["text"]);
    ASSERT_EQ(all.size(), 5u);
    const std::vector<Json> least = json_lines(run("predict " + model + " --least-sure 3", pool).out);
    ASSERT_EQ(least.size(), 3u) << model;
    auto expected = all.begin();
    for (const Json& answer : least) EXPECT_EQ(answer["text"], (expected++)->second) << model;
    EXPECT_EQ(json_lines(run("predict " + model + " --least-sure 100", pool).out).size(), 5u) << "all there are, once";
  }
  const Result r = run("predict ner --least-sure 9", "{\"id\":7,\"text\":\"서울에 간다\"}\n[]\n{\"no\":1}\n");
  const std::vector<Json> usual = json_lines(run("predict ner", "{\"id\":7,\"text\":\"서울에 간다\"}\n").out);
  EXPECT_EQ(json_lines(r.out), usual);
  EXPECT_THAT(r.err, HasSubstr("2 of 3 lines are left out; the first: standard input:2: not a JSON object"));
  EXPECT_EQ(run("predict ner --least-sure 0", pool).code, 2);
  // What is annotated next, with the model's answers to begin from.
  file("pool.txt", pool);
  run("predict ner pool.txt --least-sure 3 -o least.jsonl");
  for (const std::string format : {"jsonl", "doccano"}) {
    const Result next = run("convert least.jsonl --to " + format + " -o next.jsonl");
    ASSERT_EQ(next.code, 0) << next.err;
    EXPECT_EQ(json_lines(bytes("next.jsonl"))[0]["text"], json_lines(bytes("least.jsonl"))[0]["text"]);
  }
}

TEST_F(Predict, ClassesInEveryFormat) {
  train_tc();
  EXPECT_EQ(run("predict tc --format text", "배송이 늦다\n\n").out.substr(0, 24), "배송\t배송이 늦다\n");
  const Json best = json_lines(run("predict tc", "값이 싸다\n").out).at(0);
  EXPECT_EQ(best["labels"], Json({"값"}));
  EXPECT_EQ(best["classes"].size(), 1u);
  EXPECT_EQ(json_lines(run("predict tc --top-k 2", "값이 싸다\n").out).at(0)["classes"].size(), 2u);
  const Json bare = json_lines(run("predict tc --scores none", "값이 싸다\n").out).at(0);
  EXPECT_EQ(bare["labels"], Json({"값"}));
  EXPECT_EQ(bare["classes"], Json::array({{{"label", "값"}}}));
  const Json all = json_lines(run("predict tc --scores all", "값이 싸다\n").out).at(0);
  ASSERT_EQ(all["classes"].size(), 3u);
  double sum = 0, before = 1;
  for (const Json& c : all["classes"]) {
    EXPECT_LE(c["score"].get<double>(), before);
    sum += before = c["score"];
  }
  EXPECT_NEAR(sum, 1, 1e-5);
}

TEST_F(Predict, ADictionaryFindsWhatTheModelDoesNotKnow) {
  train_ner();
  file("terms.tsv", "# 새 이름\n오늘은\tLC\thard\n");
  EXPECT_EQ(run("predict ner --format inline", "오늘은 춥다\n").out, "오늘은 춥다\n");
  EXPECT_EQ(run("predict ner --format inline --dict terms.tsv", "오늘은 춥다\n").out, "<오늘은:LC> 춥다\n");
  const std::vector<Json> answer = json_lines(run("predict ner --nbest 3 --dict terms.tsv", "오늘은 춥다\n").out);
  EXPECT_GT(answer.at(0)["entities"][0]["score"], 0.999);

  file("gold.txt", "<오늘은:LC> 춥다\n");
  EXPECT_EQ(run("evaluate ner gold.txt --fail-under f1=1").code, 6);
  EXPECT_EQ(run("evaluate ner gold.txt --dict terms.tsv --fail-under f1=1").code, 0);
  const Result files = run("evaluate --gold gold.txt --pred gold.txt --dict terms.tsv");
  EXPECT_EQ(files.code, 2);
  EXPECT_THAT(files.err, HasSubstr("--dict is for a model's answers"));

  file("wrong.tsv", "서울\tLOC\n");
  const Result wrong = run("predict ner --dict wrong.tsv", "서울\n");
  EXPECT_EQ(wrong.code, 3);
  EXPECT_THAT(wrong.err, HasSubstr("wrong.tsv:1:4: error: the model has no label 'LOC'; did you mean LC?"));
  EXPECT_EQ(run("predict ner --dict terms.tsv -o terms.tsv", "서울\n").code, 2);
}

TEST_F(Predict, FlagsOfTheOtherTaskAreNotPassedOverInSilence) {
  train_ner();
  train_tc();
  EXPECT_THAT(run("predict tc --dict terms.tsv", "글\n").err, HasSubstr("--dict does nothing: tc classifies texts"));
  EXPECT_THAT(run("predict tc --nbest 2", "글\n").err, HasSubstr("warning: --nbest does nothing: tc classifies texts"));
  EXPECT_THAT(run("predict ner --top-k 2", "글\n").err, HasSubstr("--threshold do nothing: ner finds entities"));
  EXPECT_THAT(run("predict ner --nbest 2 --format inline", "글\n").err,
              HasSubstr("warning: --nbest does nothing: --format inline has no place for it; --format jsonl has"));
  EXPECT_THAT(run("predict tc --scores all --format text", "글\n").err,
              HasSubstr("--scores all does nothing: --format"));
  EXPECT_EQ(run("predict ner --nbest 2", "글\n").err + run("predict tc --top-k 2 --threshold 0.1", "글\n").err, "");
}

/// Answers to annotated JSON lines hold the truth too, which would flatter them.
TEST_F(Predict, AnswersScoreAsTheModelDoes) {
  train_ner();
  file("ner.jsonl",
       "{\"text\":\"😀 서울에 간다\",\"spans\":[{\"start\":2,\"end\":4,\"label\":\"OG\"}]}\n"
       "{\"text\":\"김민수가 왔다\",\"spans\":[{\"start\":0,\"end\":3,\"label\":\"PS\"}]}\n");
  const std::string model = run("evaluate ner ner.jsonl").out;
  EXPECT_THAT(model, HasSubstr("FB1:"));
  for (const std::string unit : {"codepoint", "utf16", "byte"}) {
    EXPECT_EQ(run("predict ner ner.jsonl -o answers.jsonl --offsets " + unit).code, 0);
    const Result r = run("evaluate --gold ner.jsonl --pred answers.jsonl");
    EXPECT_EQ(r.out, model) << unit << r.err;
  }
  train_tc();
  file("tc.jsonl", "{\"text\":\"배송이 늦다\",\"label\":\"값\"}\n{\"text\":\"값이 싸다\",\"label\":\"값\"}\n");
  EXPECT_EQ(run("predict tc tc.jsonl -o answers.jsonl").code, 0);
  const std::string scores = run("evaluate tc tc.jsonl").out;
  EXPECT_THAT(scores, HasSubstr("accuracy: 50.00 (1 of 2)"));
  EXPECT_EQ(run("evaluate --gold tc.jsonl --pred answers.jsonl").out, scores);

  const Result other = run("evaluate tc ner.jsonl");
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.err, HasSubstr("ner.jsonl: holds entities and no classes: nothing to score classes by"));
  EXPECT_EQ(run("evaluate ner tc.jsonl").code, 3);
  EXPECT_EQ(run("evaluate --gold tc.jsonl --pred ner.jsonl").code, 3);
}

TEST_F(Predict, ACorpusIsNotTakenForTextsInSilence) {
  train_tc();
  file("t.tsv", "id\tdocument\tlabel\n1\t배송이 늦다\t배송\n");
  const Result r = run("predict tc t.tsv --format text");
  EXPECT_EQ(r.code, 0);
  EXPECT_THAT(r.err, HasSubstr("warning: t.tsv looks like tsv, and is read as texts, one a line; --from tsv reads"));
  file("t.json", "[{\"text\":\"배송이 늦다\"}]\n");
  EXPECT_THAT(run("predict tc t.json").err, HasSubstr("looks like jsonl"));
  const Result named = run("predict tc t.tsv --from tsv --format text");
  EXPECT_EQ(named.out + named.err, "배송\t배송이 늦다\n");
  file("t.jsonl", "\xEF\xBB\xBF{\"text\":\"배송이 늦다\"}\n");
  file("t.txt", "배송이 늦다\n값이 싸다, 정말\n1 2\n");
  file("none.txt", "");
  EXPECT_EQ(run("predict tc t.jsonl").err + run("predict tc t.txt").err + run("predict tc none.txt").err, "");
}

TEST_F(Predict, AnyNumberOfClassesAboveTheThreshold) {
  train_tc(" --set multilabel=true");
  const Json all = json_lines(run("predict tc --threshold 0", "배송이 늦고 값이 비싸다\n").out).at(0);
  ASSERT_EQ(all["classes"].size(), 3u) << "every answer has its probability";
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(all["classes"][i]["label"], all["labels"][i]);
  EXPECT_EQ(json_lines(run("predict tc --threshold 1 --top-k 2", "글\n").out).at(0)["classes"].size(), 2u);
  const auto labels = [&](const std::string& threshold) {
    return json_lines(run("predict tc --threshold " + threshold, "배송이 늦고 값이 비싸다\n").out)
        .at(0)["labels"]
        .size();
  };
  EXPECT_EQ(labels("0"), 3u);
  EXPECT_EQ(labels("1"), 0u);
  const Result r = run("evaluate tc tc.txt --json --resamples 0");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_TRUE(Json::parse(r.out)["multi_label"].get<bool>()) << r.out;
  const auto found = [&](const std::string& threshold) {
    return Json::parse(run("evaluate tc tc.txt --json --resamples 0 --threshold " + threshold).out)["micro"]["found"];
  };
  EXPECT_EQ(found("0"), 3 * 25) << "evaluate takes the threshold that predict takes";
  EXPECT_EQ(found("1"), 0);
  EXPECT_EQ(run("evaluate --gold tc.txt --pred tc.txt --threshold 0.3").code, 2);
}

/// Names that no program can guess, quotes that are text, another encoding: said once to train, evaluate and predict.
TEST_F(Predict, ColumnsQuotesAndEncodingsAreForTheUserToName) {
  std::string table = "번호;글귀;뜻\n";
  for (int i = 0; i < 20; ++i)
    table += "a" + std::to_string(i) + (i % 2 ? ";\"값이 싸다;값\n" : ";배송이 \"늦다;배송\n");
  file("table.csv", table);
  const std::string layout =
      " --format csv --delimiter ';' --quoting none --text-column 글귀 --label-column 뜻 --id-column 번호";
  Result r = run("train tc --train table.csv -o m --epochs 20 --train-rate 1 --lr 0.01" + layout + small_tc);
  ASSERT_EQ(r.code, 0) << r.err;
  r = run("evaluate m table.csv --fail-under accuracy=0.9" + layout);
  EXPECT_EQ(r.code, 0) << r.err;
  std::string from = layout;
  from.replace(from.find("--format"), 8, "--from");
  r = run("predict m table.csv -o answers.jsonl" + from);
  ASSERT_EQ(r.code, 0) << r.err;
  const std::vector<Json> answers = json_lines(bytes("answers.jsonl"));
  ASSERT_EQ(answers.size(), 20u);
  EXPECT_EQ(answers[1]["id"], "a1");
  EXPECT_EQ(answers[1]["text"], "\"값이 싸다");
  r =
      run("evaluate --gold table.csv --pred answers.jsonl --json --resamples 0 --delimiter ';' --quoting none "
          "--text-column 글귀 --label-column 뜻");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(Json::parse(r.out)["accuracy"], 1.0) << "how the gold file is read does not hold for the answers";

  file("korean.txt", "\xB9\xE8\xBC\xDB\xC0\xCC \xB4\xCA\xB4\xD9\n");  // 배송이 늦다 in cp949
  EXPECT_EQ(run("predict m korean.txt --encoding cp949 --format text").out, "배송\t배송이 늦다\n");
  r = run("predict m korean.txt --encoding klingon");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, HasSubstr("unknown encoding 'klingon'"));
  r = run("predict m table.csv --from csv --text-column text");
  EXPECT_EQ(r.code, 3);
  EXPECT_THAT(r.err, AllOf(HasSubstr("no column 'text'"), HasSubstr("'글귀'"), Not(HasSubstr("warning"))));
}

}  // namespace
