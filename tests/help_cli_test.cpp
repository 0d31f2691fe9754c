// The command explains itself: help, versions, nearest names, and docs/command.md that lists every flag.
#include <gmock/gmock.h>

#include <array>
#include <regex>
#include <set>

#include "tests/command.h"

namespace {

using bib_test::Result;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class Help : public bib_test::Command {};

const std::vector<std::string> verbs{"train ner", "train tc", "predict", "evaluate", "convert", "check",
                                     "inspect",   "info",     "verify",  "help",     "bench",   "bench compare"};

/// --flag and -f in a text; `before` is what must stand before one.
std::set<std::string> flags_in(const std::string& text, const std::string& before) {
  std::set<std::string> flags;
  const std::regex flag(before + "(--[a-z][a-z-]*|-[a-z](?![a-z-]))");
  for (std::sregex_iterator it(text.begin(), text.end(), flag), end; it != end; ++it) flags.insert((*it)[1]);
  return flags;
}

/// "## bib VERB" of the command reference; both kinds of train share one.
std::string section(const std::string& verb) {
  const std::string text = bib_test::read(BIB_SOURCE "/docs/command.md");
  std::size_t begin = text.find("\n## bib " + verb + "\n");
  if (begin == std::string::npos) begin = text.find("\n## bib " + verb.substr(0, verb.find(' ')) + "\n");
  return begin == std::string::npos ? "" : text.substr(begin, text.find("\n## ", begin + 1) - begin);
}

TEST_F(Help, TheReferenceListsEveryFlagAndNoOther) {
  for (const std::string& verb : verbs) {
    const Result r = run(verb + " --help");
    ASSERT_EQ(r.code, 0) << r.err;
    std::set<std::string> printed = flags_in(r.out, "\n  (?:-[a-z],)?");
    for (const std::string& shortened : flags_in(r.out, "\n  ")) printed.insert(shortened);
    ASSERT_TRUE(printed.count("--help")) << r.out;
    printed.erase("--help"), printed.erase("-h");
    const std::set<std::string> documented = flags_in(section(verb), "`");
    for (const std::string& flag : printed) {
      if (flag == "-t") continue;  // with --threads, for all verbs at once
      EXPECT_TRUE(documented.count(flag)) << "docs/command.md lacks " << flag << " of bib " << verb;
    }
    for (const std::string& flag : documented) {
      EXPECT_TRUE(printed.count(flag)) << "docs/command.md has " << flag << ", bib " << verb << " does not";
    }
  }
}

TEST_F(Help, TheReferenceListsEveryExitCodeAndVerb) {
  const std::string text = bib_test::read(BIB_SOURCE "/docs/command.md");
  for (const char* code : {"| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 4 |", "| 5 |", "| 6 |", "| 129, 130, 143 |"})
    EXPECT_THAT(text, HasSubstr(code));
  const std::string help = run("--help").out;
  for (const std::string& verb : verbs) {
    EXPECT_THAT(section(verb), Not(IsEmpty())) << verb;
    EXPECT_THAT(help, HasSubstr("\n  " + verb.substr(0, verb.find(' ')) + " ")) << verb;
  }
}

TEST_F(Help, TheFormatsAreDescribed) {
  const std::string text = bib_test::read(BIB_SOURCE "/docs/formats.md"), list = run("convert --formats").out;
  std::istringstream lines(list);
  int formats = 0;
  for (std::string line; std::getline(lines, line); ++formats) {
    const std::string name = line.substr(0, line.find(' ')), begin = "\n| `" + name + "`";
    const bool described =
        text.find(begin) != std::string::npos || text.find(", `" + name + "` |") != std::string::npos;
    EXPECT_TRUE(described) << "docs/formats.md lacks " << name;
  }
  EXPECT_GE(formats, 14) << list;
}

/// "| `section.key` |" and the value of every setting, in the order in which they are printed.
std::vector<std::array<std::string, 3>> settings_in(const std::string& printed) {
  std::vector<std::array<std::string, 3>> settings;  // head of the row, value, meaning
  std::istringstream lines(printed);
  std::string section;
  const std::regex pair("(\\w+) = (.*?) +# (.*)");
  std::smatch found;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("[")) section = line.substr(1, line.find(']') - 1) + ".";
    if (std::regex_match(line, found, pair))
      settings.push_back({"| `" + section + found.str(1) + "`", found[2], found[3]});
  }
  return settings;
}

TEST_F(Help, TheSettingsAndTheirDefaultsAreThoseOfTheTable) {
  std::vector<std::array<std::string, 3>> rows = settings_in(run("train ner --print-config").out);
  ASSERT_GE(rows.size(), 40u);
  for (auto& row : rows) row[0] += " | " + row[1];
  for (const char* other : {"ner --unit word", "tc", "tc --unit word"}) {
    const auto column = settings_in(run(std::string("train ") + other + " --print-config").out);
    ASSERT_EQ(column.size(), rows.size()) << other;
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i][0] += " | " + column[i][1];
  }
  std::string table;
  for (const auto& row : rows) table += row[0] + " | " + row[2] + " |\n";
  const std::string text = bib_test::read(BIB_SOURCE "/docs/settings.md");
  EXPECT_EQ(text.substr(text.find("|---|---|---|---|---|---|\n") + 26), table);
}

TEST_F(Help, EveryVerbShowsAnExample) {
  for (const std::string& verb : verbs) {
    const Result flag = run(verb + " --help"), word = run("help " + verb);
    EXPECT_THAT(flag.out, AllOf(HasSubstr("Example"), HasSubstr("bib " + verb))) << verb;
    EXPECT_EQ(word.code, 0) << word.err;
    EXPECT_EQ(flag.out, word.out) << verb;
  }
  EXPECT_EQ(run("help").out, run("--help").out);
  EXPECT_THAT(run("--help").out, HasSubstr("Example"));
  EXPECT_THAT(run("--version").out, testing::MatchesRegex("bib [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(Help, MisspeltNamesGetTheNearest) {
  struct Case {
    std::string arguments, says;
  };
  for (const Case& c : {
           Case{"predcit m", "bib: error: 'predcit' is no subcommand; did you mean predict?"},
           Case{"train nre", "bib train: error: 'nre' is no subcommand; did you mean ner?"},
           Case{"inof", "bib: error: 'inof' is no subcommand; did you mean info?"},
           Case{"foo train", "bib: error: 'foo' is no subcommand; there are train,"},
           Case{"xyzzyx", "'xyzzyx' is no subcommand; there are train, predict,"},
           Case{"predict m --treshold 0.3",
                "bib predict: error: --treshold is no flag of bib predict; did you mean --threshold?"},
           Case{"predict m --ofsets=byte", "--ofsets is no flag of bib predict; did you mean --offsets?"},
           Case{"train ner --train x -o m --epoch 3",
                "bib train ner: error: --epoch is no flag of bib train ner; did you mean --epochs?"},
           Case{"train ner --train x -o m --zzzzzzzzz", "--zzzzzzzzz is no flag of bib train ner\n"},
           Case{"--verison", "--verison is no flag of bib; did you mean --version?"},
           Case{"--vers", "--vers is no flag of bib; did you mean --version?"},
           Case{"train ner --tr x -o m", "--tr is no flag of bib train ner; did you mean --train?"},
           Case{"train ner --train x -o m --progress fancy", "--progress: fancy not in {"},
           Case{"train ner --train x -o m --checkpoint-seconds nan",
                "--checkpoint-seconds: nan is no number from 0 to 1e+09"},
           Case{"predict m --threshold nan", "bib predict: error: --threshold: nan is no number from 0 to 1"},
           Case{"predict m --threshold 2", "bib predict: error: --threshold: 2 is no number from 0 to 1"},
           Case{"predict m ''", "bib predict: error: files: is empty; give it a value"},
           Case{"train ner --train '' -o m", "bib train ner: error: --train: is empty; give it a value"},
           Case{"inspect m --json --config", "bib inspect: error: --json excludes --config"},
           Case{"inspect m a", "bib inspect: error: 'a' is one argument too many"},
           Case{"help trian", "'trian' is no subcommand; did you mean train?"},
           Case{"", "a subcommand is missing: train, predict"},
           Case{"train", "bib train: error: a subcommand is missing: ner, tc"},
           Case{"bench --batches 0", "bib bench: error: --batches"},
           Case{"bench m --seconds x", "bib bench: error: "},
           Case{"bench compare a", "bib bench compare: error: "},
           Case{"predict", "bib predict: error: model is required"},
           Case{"train tc -o m", "bib train tc: error: --train is required"},
       }) {
    const Result r = run(c.arguments);
    EXPECT_EQ(r.code, 2) << c.arguments;
    EXPECT_THAT(r.err, HasSubstr(c.says)) << c.arguments;
    EXPECT_THAT(r.out, IsEmpty()) << c.arguments;
  }
  EXPECT_THAT(run("predict m --treshold 0.3").err, HasSubstr("'bib predict --help' explains its use"));
}

TEST_F(Help, AVariableThatMakesNoSenseIsNamed) {
  for (const char* verb : {"predict m", "info"}) {
    const Result r = run(verb, "", "BIB_THREADS=many");
    EXPECT_EQ(r.code, 2) << r.err;
    EXPECT_THAT(r.err, HasSubstr("many")) << verb;
    EXPECT_THAT(r.err, HasSubstr("(the environment variable BIB_THREADS)")) << verb;
  }
  const Result isa = run("info", "", "BIB_CPU_ISA=mmx");
  EXPECT_EQ(isa.code, 2) << isa.err;
#if defined(__aarch64__)
  const std::string sets = "neon";
#else
  const std::string sets = "base, avx2 or avx512";
#endif
  EXPECT_EQ(isa.err, "bib: error: BIB_CPU_ISA=mmx: unknown; use " + sets + "\n");
  const Result blas = run("info", "", "BIB_CPU_BLAS=mkl");
  EXPECT_EQ(blas.code, 2) << blas.err;
  EXPECT_EQ(blas.err, "bib: error: BIB_CPU_BLAS is 'mkl'; it may be bib or openblas\n");
  EXPECT_THAT(run("predict m --threads few", "", "BIB_THREADS=2").err, Not(HasSubstr("BIB_THREADS")));
}

}  // namespace
