// Running the built `bib` from a test: a folder of the test's own, files in it, and what a run printed and returned.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
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

  /// Starts a training, sends the signal once the checkpoint is there, and returns how it ended.
  int interrupt(const std::string& arguments, const std::string& checkpoint, int signal,
                const std::string& before = "") const {
    return interrupt(
        arguments, [&](const std::string&) { return exists(checkpoint); }, signal, before);
  }

  /// The same once `ready` says so of what was printed. The training cannot be over by then, however slow this process
  /// is: it waits until its progress is read, of which a pipe holds a page.
  int interrupt(const std::string& arguments, const std::function<bool(const std::string& log)>& ready, int signal,
                const std::string& before = "") const {
    int progress[2];
    if (pipe(progress) != 0 || fcntl(progress[1], F_SETPIPE_SZ, 4096) < 0) return -1;
    const pid_t child = fork();
    if (child == 0) {
      dup2(progress[1], STDERR_FILENO);
      close(progress[0]), close(progress[1]);
      const std::string command =
          "cd '" + folder_.string() + "' && " + before + " exec '" BIB_COMMAND "' " + arguments + " --progress json";
      execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      _exit(127);
    }
    close(progress[1]);
    std::string log;
    bool sent = false;
    for (char part[256];;) {
      if (!sent && ready(log)) sent = kill(child, signal) == 0;
      const ssize_t count = ::read(progress[0], part, sizeof part);
      if (count <= 0) break;
      log.append(part, static_cast<std::size_t>(count));
    }
    close(progress[0]);
    file("log.txt", log);
    int status = 0;
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
