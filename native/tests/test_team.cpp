// The team of threads: reuse, failures, barriers under stress, fork, and the denormal mode.
#include <sys/resource.h>
#include <sys/wait.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <limits>
#include <stdexcept>
#include <thread>

#include "check.hpp"
#include "team/team.hpp"

namespace schuss::test {
namespace {

// Every thread of the team adds its number; true when each took part once.
bool works(Team& team) {
  std::atomic<int> sum{0}, calls{0};
  team.run([&](int thread) {
    sum += thread;
    ++calls;
  });
  return calls == team.size() && sum == team.size() * (team.size() - 1) / 2;
}

void reuse() {
  for (int size : {1, 2, 3, allowed_cores(), 4 * allowed_cores() + 1}) {
    about = std::to_string(size) + " threads";
    Team team(size);
    for (index i = 0; i < rounds(2000); ++i)
      if (!CHECK(works(team))) return;
  }
}

// Calls for fewer threads than the team has, in any order: those beyond sleep through them and miss none of their own.
void parts_of_a_team() {
  Team team(5);
  for (index i = 0; i < rounds(20000); ++i) {
    const int threads = 1 + static_cast<int>((i * i + i / 3) % 5);
    std::atomic<int> sum{0};
    team.run(threads, [&](int thread) { sum += 1 + 10 * thread; });
    if (!CHECK(sum == threads + 5 * threads * (threads - 1))) return;
  }
}

void no_threads_refused() { CHECK_THROWS(std::invalid_argument, "at least one thread", Team(0)); }

void caller_is_thread_0_and_the_others_stay_the_same() {
  Team team(3);
  std::vector<std::thread::id> first(3), again(3);
  team.run([&](int t) { first[static_cast<std::size_t>(t)] = std::this_thread::get_id(); });
  team.run([&](int t) { again[static_cast<std::size_t>(t)] = std::this_thread::get_id(); });
  CHECK(first == again && first[0] == std::this_thread::get_id());
}

// What each thread wrote before a barrier is seen by all after it; plain memory, so that a missing barrier is a
// race. Two slots in turn: a thread writes round r + 2 only when all have read round r.
void barrier_order() {
  for (int size : {2, 3, 4}) {
    about = std::to_string(size) + " threads";
    Team team(size);
    Barrier& barrier = team.make_barrier(size);
    std::vector<std::array<index, 2>> slots(static_cast<std::size_t>(size));
    std::atomic<index> wrong{0};
    team.run([&](int thread) {
      for (index round = 0; round < rounds(100000); ++round) {
        slots[static_cast<std::size_t>(thread)][round % 2] = round;
        barrier.wait();
        for (const auto& slot : slots) wrong += slot[round % 2] != round;
      }
    });
    CHECK(wrong == 0);
  }
}

// Groups of two meet often, all of them seldom, as in a step with M = 2.
void barriers_of_groups() {
  Team team(4);
  Barrier& all = team.make_barrier(4);
  Barrier* groups[2] = {&team.make_barrier(2), &team.make_barrier(2)};
  std::array<index, 4> count{};
  std::atomic<index> wrong{0};
  team.run([&](int thread) {
    const std::size_t me = static_cast<std::size_t>(thread), partner = me ^ 1;
    for (index round = 0; round < rounds(5000); ++round) {
      for (index i = 1; i <= 3; ++i) {
        ++count[me];
        groups[me / 2]->wait();
        wrong += count[partner] != round * 3 + i;
        groups[me / 2]->wait();
      }
      all.wait();
      for (index c : count) wrong += c != 3 * (round + 1);
      all.wait();
    }
  });
  CHECK(wrong == 0);
}

// One thread fails while the others wait for it: the failure comes out, and the team goes on.
void failure_breaks_the_barriers() {
  for (int size : {2, 3, 5}) {
    Team team(size);
    Barrier& all = team.make_barrier(size);
    for (index i = 0; i < rounds(400); ++i) {
      const int fails = static_cast<int>(i % size);
      about = std::to_string(size) + " threads, thread " + std::to_string(fails) + " fails";
      CHECK_THROWS(std::runtime_error, "on purpose", team.run([&](int thread) {
        all.wait();
        if (thread == fails) throw std::runtime_error("on purpose");
        all.wait();
      }));
      CHECK(works(team));
      int met = 0;
      team.run([&](int thread) {
        all.wait();
        if (thread == 0) ++met;
        all.wait();
        if (thread == size - 1) ++met;
      });
      CHECK(met == 2);
    }
  }
}

void several_failures_give_one() {
  Team team(4);
  team.make_barrier(4);
  for (index i = 0; i < rounds(400); ++i)
    CHECK_THROWS(std::runtime_error, "each fails", team.run([](int) { throw std::runtime_error("each fails"); }));
  CHECK(works(team));
}

void teams_side_by_side() {
  std::atomic<int> good{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller)
    callers.emplace_back([&good, caller] {
      Team team(2 + caller);
      for (index i = 0; i < rounds(2000); ++i) good += works(team);
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(good == 3 * rounds(2000));
}

// A subnormal number, made where the compiler cannot see it.
bool keeps_denormals() {
  volatile float smallest = std::numeric_limits<float>::min();
  volatile float half = smallest * 0.5f;
  return half * 2.0f == smallest;
}

void denormal_mode() {
  CHECK(keeps_denormals());
  Team team(3);
  std::atomic<int> flushing{0};
  team.run([&](int) { flushing += !keeps_denormals(); });
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__)
  CHECK(flushing == 3);
#endif
  CHECK(keeps_denormals());
  CHECK_THROWS(std::runtime_error, "stop", team.run([](int t) {
    if (t == 0) throw std::runtime_error("stop");
  }));
  CHECK(keeps_denormals());
}

// The sanitizer's own threads and locks do not survive a fork.
bool fork_works() {
  if (thread_sanitizer) not_run("ThreadSanitizer allows no threads after a fork of threads");
  return !thread_sanitizer;
}

// Runs the child's part in a forked process, and returns whether it ended well, within 30 seconds.
bool in_child(const std::function<bool()>& child) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(30);
    _exit(child() ? 0 : 1);
  }
  int status = -1;
  return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool child_works(Team& inherited) {
  Team own(3);
  return works(inherited) && works(own) && works(inherited);
}

void fork_between_runs() {
  if (!fork_works()) return;
  Team team(3);
  CHECK(in_child([&] { return child_works(team); }));  // before its threads were started
  CHECK(works(team));
  for (int i = 0; i < 5; ++i) {
    CHECK(in_child([&] { return child_works(team); }));
    CHECK(works(team));
  }
  CHECK(in_child([&] {
    Team inner(2);
    return works(inner) && in_child([&] { return child_works(inner); }) && works(inner);
  }));
}

void fork_destroys_an_inherited_team() {
  if (!fork_works()) return;
  auto team = std::make_unique<Team>(3);
  CHECK(works(*team));
  CHECK(in_child([&] {
    team.reset();  // must not wait for threads that are not there
    return true;
  }));
  CHECK(works(*team));
}

void fork_while_a_team_runs() {
  if (!fork_works()) return;
  Team team(3);
  Barrier& all = team.make_barrier(3);
  std::atomic<bool> stop{false};
  std::atomic<index> meetings{0};
  const std::function<void(int)> meet = [&](int thread) {
    for (int i = 0; i < 50; ++i) {
      all.wait();
      if (thread == 0) ++meetings;
    }
  };
  std::thread trainer([&] {
    while (!stop) team.run(meet);
  });
  for (int i = 0; i < 20; ++i) {
    const index before = meetings;
    while (meetings < before + 10) std::this_thread::yield();
    CHECK(in_child([&] { return child_works(team); }));
  }
  stop = true;
  trainer.join();
  CHECK(works(team));
}

// Where the system refuses a thread, the failure comes out; once it allows them again the team works.
void threads_refused() {
  if (sanitizer) return not_run("sanitizers need the address space themselves");
  CHECK(in_child([] {
    rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0) return false;
    const rlim_t allowed = limit.rlim_cur;
    limit.rlim_cur = rlim_t{256} << 20;
    Team team(300);
    if (setrlimit(RLIMIT_AS, &limit) != 0) return false;
    bool refused = false;
    try {
      works(team);
    } catch (const std::system_error&) {
      refused = true;
    }
    limit.rlim_cur = allowed;
    return setrlimit(RLIMIT_AS, &limit) == 0 && refused && works(team);
  }));
}

// Threads on processors of their own while a pinned team runs; the caller keeps its own before and after.
void pinned() {
#if defined(__linux__)
  const std::vector<int> before = processors();
  if (before.size() < 2) return;
  Team team(3, true);
  std::vector<std::vector<int>> seen(3);
  team.run([&](int t) { seen[static_cast<std::size_t>(t)] = processors(); });
  CHECK(seen[0] == std::vector<int>{before[0]});
  CHECK(seen[1] == std::vector<int>{before[1]});
  CHECK(seen[2] == std::vector<int>{before[2 % before.size()]});
  CHECK(processors() == before);
  Team free(2);
  free.run([&](int t) { seen[static_cast<std::size_t>(t)] = processors(); });
  CHECK(seen[0] == before && seen[1] == before);
#endif
}

void cores() {
  CHECK(allowed_cores() >= 1);
  CHECK(physical_cores() >= 1 && physical_cores() <= allowed_cores());
}

// Length of the calling thread's turn in nanoseconds; 0 where the system does not tell.
std::uint64_t turn() {
#if defined(__linux__)
  struct {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
  } now{};
  if (syscall(SYS_sched_getattr, 0, &now, sizeof now, 0) == 0) return now.runtime;
#endif
  return 0;
}

void short_turns() {
  const std::uint64_t before = turn();
  std::vector<std::uint64_t> seen(2);
  Team team(2);
  team.run([&](int t) { seen[static_cast<std::size_t>(t)] = turn(); });
  CHECK(turn() == before);
  if (before == 0) return;  // the system has no turns to shorten
  CHECK(seen[0] == seen[1] && seen[0] <= before && seen[0] <= 100'000);
}

}  // namespace
}  // namespace schuss::test

int main() {
  using namespace schuss::test;
  return run_cases({{"a team is used again and again", reuse},
                    {"parts of a team", parts_of_a_team},
                    {"no threads are refused", no_threads_refused},
                    {"the caller is thread 0", caller_is_thread_0_and_the_others_stay_the_same},
                    {"barrier order", barrier_order},
                    {"barriers of groups", barriers_of_groups},
                    {"a failure breaks the barriers", failure_breaks_the_barriers},
                    {"several failures give one", several_failures_give_one},
                    {"teams side by side", teams_side_by_side},
                    {"denormal mode", denormal_mode},
                    {"pinned threads", pinned},
                    {"cores", cores},
                    {"short turns", short_turns},
                    {"fork between runs", fork_between_runs},
                    {"fork destroys an inherited team", fork_destroys_an_inherited_team},
                    {"fork while a team runs", fork_while_a_team_runs},
                    {"threads refused by the system", threads_refused}});
}
