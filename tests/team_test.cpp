// The threads of a context: every task once, exceptions, tasks within tasks, jobs in quick succession.
#include "cpu/team.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

#include "cpu/parallel.h"

namespace bib {
namespace {

class TeamOf : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, TeamOf, ::testing::Values(1, 2, 3, 16));

TEST_P(TeamOf, runs_every_task_once) {
  Context ctx({.threads = GetParam()});
  for (int n : {0, 1, 2, 3, 100, 1000}) {
    std::vector<int> count(static_cast<std::size_t>(n));  // an element belongs to its task: plain int
    parallel_for(ctx, n, [&](int i) { ++count[static_cast<std::size_t>(i)]; });
    EXPECT_EQ(count, std::vector<int>(count.size(), 1)) << n << " tasks";
  }
}

// Later jobs read what earlier ones wrote, whoever ran them: nothing may leak from one job into the next.
TEST_P(TeamOf, jobs_follow_each_other) {
  Context ctx({.threads = GetParam()});
  std::vector<int> values(64);
  for (int round = 0; round < 5000; ++round)
    parallel_for(ctx, 64, [&](int i) {
      int& v = values[static_cast<std::size_t>(i)];
      if (v == round) ++v;
    });
  EXPECT_EQ(values, std::vector<int>(64, 5000));
}

TEST_P(TeamOf, the_first_exception_comes_out_after_the_last_task) {
  Context ctx({.threads = GetParam()});
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> running{0}, begun{0};
    try {
      parallel_for(ctx, 20, [&](int i) {
        ++running;
        ++begun;
        if (i % 7 == 3) {
          --running;
          throw std::runtime_error("task " + std::to_string(i));
        }
        --running;
      });
      FAIL() << "no exception";
    } catch (const std::runtime_error& e) {
      EXPECT_TRUE(std::string(e.what()).starts_with("task ")) << e.what();
    }
    EXPECT_EQ(running, 0);
    int after = 0;
    parallel_for(ctx, 1, [&](int) { ++after; });  // the next job is not told of it
    EXPECT_EQ(after, 1);
  }
}

TEST_P(TeamOf, a_task_may_hold_tasks) {
  Context ctx({.threads = GetParam()});
  std::vector<int> count(30 * 40);
  parallel_for(ctx, 30,
               [&](int i) { parallel_for(ctx, 40, [&](int j) { ++count[static_cast<std::size_t>(i * 40 + j)]; }); });
  EXPECT_EQ(count, std::vector<int>(count.size(), 1));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they reserve more than any limit
/// Ends with 0 when the tasks ran though there was address space for `stacks` more threads at most.
[[noreturn]] void run_with_room_for(int stacks) {
  rlimit stack{}, space{};
  getrlimit(RLIMIT_STACK, &stack);
  const std::size_t stack_size = stack.rlim_cur == RLIM_INFINITY ? 8u << 20 : stack.rlim_cur;
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  space.rlim_cur = space.rlim_max =
      pages * static_cast<std::size_t>(getpagesize()) + static_cast<std::size_t>(stacks) * stack_size;
  setrlimit(RLIMIT_AS, &space);
  Context ctx({.threads = 200});
  int done = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<int> count(1000);
    parallel_for(ctx, 1000, [&](int i) { ++count[static_cast<std::size_t>(i)]; });
    done += count == std::vector<int>(1000, 1);
  }
  _exit(done == 3 ? 0 : 1);
}

TEST(Team, does_with_the_threads_that_the_system_gives) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  for (int stacks : {0, 1, 20, 300}) EXPECT_EXIT(run_with_room_for(stacks), testing::ExitedWithCode(0), "^$") << stacks;
}
#endif

TEST(Team, a_negative_number_of_threads_is_refused) { EXPECT_THROW(Context({.threads = -1}), std::invalid_argument); }

TEST_P(TeamOf, contexts_come_and_go) {
  for (int round = 0; round < 50; ++round) {
    const auto ctx = std::make_unique<Context>(ContextOptions{.threads = GetParam()});
    std::atomic<int> sum{0};
    parallel_for(*ctx, 10, [&](int i) { sum += i; });
    EXPECT_EQ(sum, 45);
  }
}

// Both ways in which a thread waits for work: looking for it, and asleep.
TEST(Team, waits_with_and_without_spinning) {
  for (bool spin : {false, true}) {
    Team team(3, spin);
    for (int round = 0; round < 500; ++round) {
      std::vector<int> count(8);
      team.run(
          8, [](void* f, int i) { ++(*static_cast<std::vector<int>*>(f))[static_cast<std::size_t>(i)]; }, &count);
      ASSERT_EQ(count, std::vector<int>(8, 1));
    }
  }
}

}  // namespace
}  // namespace bib
