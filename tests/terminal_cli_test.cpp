// What the command shows on a terminal: a bar that is drawn over, marked text in colour, none of it where it is
// unwanted.
#include <gmock/gmock.h>
#include <pty.h>

#include "tests/command.h"

namespace {

using bib_test::Result, bib_test::first_lines;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Terminal : public bib_test::Command {
 protected:
  /// Runs bib in the folder with a terminal for everything; gives what the terminal was sent.
  Result on_terminal(const std::string& arguments, const std::string& before = "", unsigned short columns = 0) const {
    int terminal = -1;
    const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    const pid_t child = forkpty(&terminal, nullptr, nullptr, columns ? &size : nullptr);
    if (child == 0) {
      const std::string command =
          "cd '" + folder_.string() + "' && TERM=xterm " + before + " exec '" BIB_COMMAND "' " + arguments;
      execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      _exit(127);
    }
    Result result;
    char buffer[4096];
    for (ssize_t n; (n = ::read(terminal, buffer, sizeof buffer)) > 0;)  // an error once the child has gone
      result.out.append(buffer, static_cast<std::size_t>(n));
    int status = 0;
    waitpid(child, &status, 0);
    close(terminal);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return result;
  }
};

TEST_F(Terminal, TrainingDrawsABarWithTheTimeLeft) {
  file("ner.txt", first_lines(BIB_SOURCE "/data/ner/train.txt", 200));
  const std::string train = "train ner --train ner.txt -o m --epochs 2 --batch 2 --set hidden=12";
  Result r = on_terminal(train);
  ASSERT_EQ(r.code, 0) << r.out;
  EXPECT_THAT(r.out, AllOf(HasSubstr("epoch 1/2 ▕"), HasSubstr("▏"), HasSubstr(" units/s  ETA "), HasSubstr("\r\033[K"),
                           HasSubstr("epoch 2/2  loss "), HasSubstr("dev F1 ")));
  r = on_terminal(train, "TERM=dumb");
  ASSERT_EQ(r.code, 0) << r.out;
  EXPECT_THAT(r.out, AllOf(Not(HasSubstr("\033")), HasSubstr("epoch 2/2  loss "), HasSubstr("ETA ")));
  r = on_terminal(train + " --progress json");
  EXPECT_THAT(r.out, AllOf(Not(HasSubstr("▕")), HasSubstr("\"status\":\"Done\"")));
}

/// A bar that wraps leaves a piece of itself behind with every step: only its last row is cleared.
TEST_F(Terminal, TheBarFitsTheTerminal) {
  file("ner.txt", first_lines(BIB_SOURCE "/data/ner/train.txt", 200));
  const std::string train = "train ner --train ner.txt -o m --epochs 10 --batch 2 --set hidden=12";
  for (const unsigned short columns : {20, 40, 80}) {
    const Result r = on_terminal(train, "", columns);
    ASSERT_EQ(r.code, 0) << r.out;
    EXPECT_THAT(r.out, HasSubstr("epoch 10/10 ")) << columns;
    EXPECT_THAT(r.out, HasSubstr(" %  ")) << columns;
    std::istringstream pieces(r.out);
    for (std::string bar; std::getline(pieces, bar, '\r');) {
      if (bar.find(" %  ") == std::string::npos) continue;
      const auto points = std::count_if(bar.begin(), bar.end(), [](char c) { return (c & 0xC0) != 0x80; });
      EXPECT_LE(points - 3, columns) << bar << ": all but the three that clear the line";
    }
  }
}

TEST_F(Terminal, EntitiesAreMarkedInTheTextAndColouredUnlessUnwanted) {
  std::string text;
  for (int i = 0; i < 8; ++i) text += "<서울:LC>에 간다\n<부산:LC>에 산다\n오늘은 춥다\n";
  file("ner.txt", text);
  ASSERT_EQ(run("train ner --train ner.txt -o m --epochs 30 --train-rate 1 --lr 0.01" + bib_test::small_ner).code, 0);
  file("texts", "서울에 간다\n");
  Result r = on_terminal("predict m texts");
  EXPECT_EQ(r.code, 0);
  EXPECT_THAT(r.out, AllOf(HasSubstr("[\033[1;4m서울\033[0m \033[36mLC "), HasSubstr("에 간다")));
  EXPECT_EQ(on_terminal("predict m texts", "NO_COLOR=1").out, "<서울:LC>에 간다\r\n");
  EXPECT_EQ(on_terminal("predict m texts", "TERM=dumb").out, "<서울:LC>에 간다\r\n");
  for (const char* flags : {"--format jsonl", "--nbest 2"})  // text has no place for other readings
    EXPECT_THAT(on_terminal(std::string("predict m texts ") + flags).out,
                HasSubstr("\"entities\":[{\"start\":0,\"end\":2,"));
}

}  // namespace
