// Running the built `bib` from a test: a folder of the test's own, files in it, and what a run printed and returned.
#pragma once
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace bib_test {

struct Result {
  int code = -1;  // -1: ended by a signal
  std::string out, err;
};

inline std::string read(const std::filesystem::path& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

inline std::string first_lines(const std::string& path, int count) {
  std::ifstream in(path, std::ios::binary);
  std::string out, line;
  for (int i = 0; i < count && std::getline(in, line); ++i) out += line + "\n";
  return out;
}

class Command : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("bib_") + test->test_suite_name() + "_" + test->name() + "_" + std::to_string(getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void file(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  std::string bytes(const std::string& name) const { return read(folder_ / name); }
  bool exists(const std::string& name) const { return std::filesystem::exists(folder_ / name); }

  /// Runs bib in the folder. `before` goes in front of it in the shell: variables, limits.
  Result run(const std::string& arguments, const std::string& input = "", const std::string& before = "") const {
    file(".stdin", input);
    const char* other = std::getenv("BIB_COMMAND");  // the one linked to the emulator
    const std::string command = "cd '" + folder_.string() + "' && " + before + " '" + (other ? other : BIB_COMMAND) +
                                "' " + arguments + " > .stdout 2> .stderr < .stdin";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, bytes(".stdout"), bytes(".stderr")};
  }

  /// Starts the command, sends the signal once the checkpoint is there, and returns how it ended.
  int interrupt(const std::string& arguments, const std::string& checkpoint, int signal) const {
    const pid_t child = fork();
    if (child == 0) {
      const std::string command =
          "cd '" + folder_.string() + "' && exec '" BIB_COMMAND "' " + arguments + " 2> log.txt";
      execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      _exit(127);
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    int status = 0;
    while (!std::filesystem::exists(folder_ / checkpoint) && std::chrono::steady_clock::now() < deadline) {
      if (waitpid(child, &status, WNOHANG) == child) return status;
      usleep(2000);  // between two looks at the condition
    }
    kill(child, signal);
    waitpid(child, &status, 0);
    return status;
  }

  std::filesystem::path folder_;
};

// Small enough to train in a second, with everything on: two kinds of dropout, averaging, clipping.
const std::string small_ner =
    " --set hidden=12 --set syllable=8 --set bigram=8 --set jamo=4 --set shape=4 --batch 8 --set warmup=5 -q";
const std::string small_tc = " --set syllable=8 --set bigram=8 --set jamo=4 --set filters=8 --batch 16 -q";

}  // namespace bib_test
