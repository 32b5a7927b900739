// Runs the blocks of a grid: which thread runs when, and what happens where threads meet.
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "fibre.hpp"
#include "flushing.hpp"
#include "host_gpu.hpp"
#include "meetings.hpp"
#include "memory.hpp"

host_gpu::Index threadIdx, blockIdx, blockDim, gridDim;

namespace host_gpu {
namespace {

constexpr std::size_t kStack = 64 * 1024, kGuard = 16 * 1024;

enum class State { ready, meeting, ended };

struct Copy {
  void* to;
  const void* from;
  bool valid, last;  // last of its group
  const void* caller;
};

struct Thread {
  Context context;
  State state;
  Part part;
  std::vector<Copy> copies;  // oldest first; a group without copies is one with to = nullptr
};

// Who of several goes first. Seeds 0 and 1 are the two plain orders, so that together they show every missing barrier
// between two warps or two lanes; the others draw.
class Order {
 public:
  void begin(unsigned long long seed) {
    seed_ = seed;
    random_.seed(seed);
    hops_ = seed > 1 && seed % 2 == 1;
  }
  // The numbers 0 .. n - 1.
  void fill(unsigned* out, unsigned n) {
    std::iota(out, out + n, 0u);
    if (seed_ == 1) std::reverse(out, out + n);
    if (seed_ > 1) std::shuffle(out, out + n, random_);
  }
  bool hop() { return hops_ && random_() % 2; }  // leave a warp although it could go on?
  unsigned pick(unsigned n) { return random_() % n; }

 private:
  unsigned long long seed_ = 0;
  std::mt19937 random_;
  bool hops_ = false;
};

struct Machine {
  const Launch* launch = nullptr;
  Context main;
  Thread threads[kMaxThreads];
  unsigned prepared = 0;  // threads that have a stack and a context
  char* stacks = nullptr;
  Order order;
  unsigned warps[kMaxThreads / kWarp], lanes[kWarp];
  unsigned warp = 0, width = 0, position = 0;  // whose lanes run, how many it has, and how many of them had their turn
  unsigned left = 0;                           // threads that have not ended
  Thread* running = nullptr;
  char error[1024] = "";
};

Machine machine;

void go_on();

void thread_main() {
  for (;;) {
    machine.launch->body(machine.launch->arguments);
    machine.running->state = State::ended;
    --machine.left;
    go_on();
  }
}

bool together(const Thread& one, const Thread& other) {
  return one.state == other.state &&
         (one.state != State::meeting || (one.part.meeting == other.part.meeting && one.part.line == other.part.line &&
                                          one.part.bytes == other.part.bytes));
}

void describe(const Thread& thread, char* out, std::size_t size) {
  if (thread.state == State::ended) std::snprintf(out, size, "has ended");
  else std::snprintf(out, size, "waits at the %s of line %d", name_of(thread.part.meeting), thread.part.line);
}

[[noreturn]] void fail_apart(const Thread& one, const Thread& other) {
  char first[96], second[96];
  describe(one, first, sizeof first);
  describe(other, second, sizeof second);
  fail("threads do not meet: thread %d %s, thread %d %s", static_cast<int>(&one - machine.threads), first,
       static_cast<int>(&other - machine.threads), second);
}

bool waits_for_block(const Thread& lane) {
  return lane.state == State::meeting && lane.part.meeting == Meeting::barrier;
}

// All lanes of the present warp have stopped: at one place, or it is an error. Can they go on by themselves?
bool meet_in_warp() {
  Thread* lane = &machine.threads[machine.warp * kWarp];
  for (unsigned l = 1; l < machine.width; ++l)
    if (!together(lane[0], lane[l])) fail_apart(lane[0], lane[l]);
  if (lane[0].state == State::ended || waits_for_block(lane[0])) return false;
  if (machine.width < kWarp)
    fail("%s (line %d) in a warp of %u lanes: all 32 take part", name_of(lane[0].part.meeting), lane[0].part.line,
         machine.width);
  if (lane[0].part.meeting == Meeting::warp_barrier) present.warp_barrier[machine.warp] = ++present.now;
  const Part* parts[kWarp];
  for (unsigned l = 0; l < kWarp; ++l) parts[l] = &lane[l].part;
  carry_out(parts);
  for (unsigned l = 0; l < kWarp; ++l) lane[l].state = State::ready;
  return true;
}

unsigned warps() { return (machine.launch->threads + kWarp - 1) / kWarp; }

// All warps have stopped at the block's barrier.
void release_block() {
  const unsigned threads = machine.launch->threads;
  for (unsigned i = 1; i < threads; ++i)
    if (!together(machine.threads[0], machine.threads[i])) fail_apart(machine.threads[0], machine.threads[i]);
  for (unsigned i = 0; i < threads; ++i) machine.threads[i].state = State::ready;
  present.barrier = ++present.now;
  machine.order.fill(machine.warps, warps());
}

// A warp that can go on, in the order drawn at the last barrier (or any, with the orders that hop).
bool next_warp(bool any) {
  unsigned able[kMaxThreads / kWarp], n = 0;
  for (unsigned i = 0; i < warps(); ++i)
    if (machine.threads[machine.warps[i] * kWarp].state == State::ready) able[n++] = machine.warps[i];
  if (n) machine.warp = able[any ? machine.order.pick(n) : 0];
  return n > 0;
}

void begin_warp() {
  machine.width = std::min(kWarp, machine.launch->threads - machine.warp * kWarp);
  machine.order.fill(machine.lanes, machine.width);
  machine.position = 0;
}

// The thread whose turn it is; nullptr when the block is through.
Thread* next_thread() {
  for (;;) {
    if (machine.position < machine.width)
      return &machine.threads[machine.warp * kWarp + machine.lanes[machine.position++]];
    const bool goes_on = meet_in_warp(), hop = machine.order.hop();
    if (!goes_on || hop)
      while (!next_warp(hop)) {
        if (machine.left == 0) return nullptr;
        release_block();
      }
    begin_warp();
  }
}

Context& here() { return machine.running ? machine.running->context : machine.main; }

void resume(Thread* thread) {
  Context& from = here();
  machine.running = thread;
  if (thread) present.thread = threadIdx.x = static_cast<unsigned>(thread - machine.threads);
  Context& to = here();
  if (&from != &to) switch_to(from, to);
}

void go_on() { resume(next_thread()); }

// One lane's row of a matrix to load: 16 bytes.
void check_row(const void* row, const char* name, const void* caller) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 || !in_shared_memory(row))
    fail("thread %u: %s of an address that is no multiple of 16, or not in shared memory", threadIdx.x, name);
  check_read(row, 16, caller);
}

void complete(const Copy& copy) {
  if (!copy.to) return;
  check_write(copy.to, 16, copy.caller);
  if (copy.valid) {
    check_read(copy.from, 16, copy.caller);
    std::memcpy(copy.to, copy.from, 16);
  } else {
    std::memset(copy.to, 0, 16);
  }
}

bool prepare_threads(unsigned threads) {
  if (!machine.stacks) {
    void* got = mmap(nullptr, kMaxThreads * kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) return false;
    machine.stacks = static_cast<char*>(got);
    for (unsigned i = 0; i < kMaxThreads; ++i) mprotect(machine.stacks + i * kStack, kGuard, PROT_NONE);
    own_stacks(machine.stacks, kMaxThreads * kStack);
  }
  for (; machine.prepared < threads; ++machine.prepared)
    prepare(machine.threads[machine.prepared].context, machine.stacks + machine.prepared * kStack, kStack, thread_main);
  return true;
}

void run_block(unsigned x, unsigned y) {
  const Launch& launch = *machine.launch;
  blockIdx = {x, y, 0};
  begin_block(launch.shared);
  for (unsigned i = 0; i < launch.threads; ++i) {
    machine.threads[i].state = State::ready;
    machine.threads[i].copies.clear();
  }
  machine.left = launch.threads;
  machine.order.fill(machine.warps, warps());
  next_warp(false);
  begin_warp();
  go_on();
  if (machine.error[0]) return;
  end_block(launch.shared);
}

const char* why_not(const Launch& launch) {
  if (launch.threads == 0 || launch.threads > kMaxThreads) return "threads in a block";
  if (launch.shared > 227 * 1024) return "bytes of shared memory";
  if (launch.grid_x == 0 || launch.grid_y == 0 || launch.grid_x > 0x7fffffffu || launch.grid_y > 65535)
    return "blocks in the grid";
  if (present.now > 0x70000000u) return "events so far: ticks have 31 bits";
  if (!prepare_threads(launch.threads)) return "bytes of memory left for stacks";
  return nullptr;
}

// CPU seconds that a launch may take; then it counts as hung.
double deadline = 60;

// While a launch runs: what takes too long, or leaves all memory behind, is its error and not the process's end.
class Signals {
 public:
  Signals() {
    owner_ = pthread_self();
    struct sigaction action = {};
    action.sa_handler = caught;
    action.sa_flags = SA_NODEFER | SA_ONSTACK;  // the handler leaves for another stack; its own may be used up
    for (int i = 0; i < kSignals; ++i) sigaction(kCaught[i], &action, &saved_[i]);
    const stack_t mine = {stack_, 0, sizeof stack_};
    sigaltstack(&mine, &saved_stack_);
    set_timer(deadline);
  }
  ~Signals() {
    set_timer(0);
    sigaltstack(&saved_stack_, nullptr);
    for (int i = 0; i < kSignals; ++i) sigaction(kCaught[i], &saved_[i], nullptr);
  }

 private:
  static void caught(int signal) {
    const bool late = signal == SIGVTALRM;
    if (late && !pthread_equal(owner_, pthread_self())) {  // the timer's signal may reach any thread
      pthread_kill(owner_, signal);
    } else if (machine.running) {
      if (late) fail("still running after %g seconds: hung", deadline);
      fail("thread %u: an access that no memory answers, or a stack that is used up", present.thread);
    } else if (!late) {
      ::signal(signal, SIG_DFL);
      raise(signal);
    }
  }
  static void set_timer(double seconds) {
    const auto whole = static_cast<time_t>(seconds);
    const itimerval timer = {{0, 0}, {whole, static_cast<suseconds_t>((seconds - static_cast<double>(whole)) * 1e6)}};
    setitimer(ITIMER_VIRTUAL, &timer, nullptr);
  }

  static constexpr int kSignals = 3, kCaught[kSignals] = {SIGVTALRM, SIGSEGV, SIGBUS};
  static inline pthread_t owner_;
  static inline char stack_[64 * 1024];
  struct sigaction saved_[kSignals];
  stack_t saved_stack_;
};

}  // namespace

void note(const char* format, ...) {
  const int begun = std::snprintf(machine.error, sizeof machine.error, "%s, block (%u, %u): ", machine.launch->name,
                                  blockIdx.x, blockIdx.y);
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(machine.error + begun, sizeof machine.error - begun, format, arguments);
  va_end(arguments);
}

bool running() { return machine.running != nullptr; }

void leave() {
  machine.prepared = 0;  // every stack holds a thread that never ends
  machine.running = nullptr;
  Context nowhere;
  switch_to(nowhere, machine.main);
  __builtin_unreachable();
}

int run(const Launch& launch) {
  machine.error[0] = 0;
  machine.launch = &launch;
  if (const char* what = why_not(launch)) {
    std::snprintf(machine.error, sizeof machine.error, "%s: too few or too many %s", launch.name, what);
    return 1;
  }
  blockDim = {launch.threads, 1, 1};
  gridDim = {launch.grid_x, launch.grid_y, 1};
  machine.order.begin(launch.seed);
  begin_launch(launch.arguments, launch.bytes, reinterpret_cast<const void*>(launch.body));
  std::vector<unsigned> blocks(std::size_t{launch.grid_x} * launch.grid_y);
  machine.order.fill(blocks.data(), static_cast<unsigned>(blocks.size()));
  const Flushing flushing;
  const Signals caught;
  for (unsigned block : blocks) {
    run_block(block % launch.grid_x, block / launch.grid_x);
    if (machine.error[0]) return 1;
  }
  return 0;
}

void meet(const Part& part) {
  if (part.meeting == Meeting::load_matrices || part.meeting == Meeting::load_matrices_transposed)
    check_row(part.a, name_of(part.meeting), __builtin_return_address(0));
  machine.running->part = part;
  machine.running->state = State::meeting;
  go_on();
}

void copy_async(void* shared, const void* global, bool valid) {
  const void* caller = __builtin_return_address(0);
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 || reinterpret_cast<std::uintptr_t>(global) % 16)
    fail("thread %u: copy_async_16 with an address that is no multiple of 16", threadIdx.x);
  if (!in_shared_memory(shared) || (valid && in_shared_memory(global)))
    fail("thread %u: copy_async_16 copies from global to shared memory only", threadIdx.x);
  check_write(shared, 16, caller);
  if (valid) check_read(global, 16, caller);
  std::memset(shared, 0xff, 16);  // under way: neither the old bytes nor yet the new ones
  machine.running->copies.push_back({shared, global, valid, false, caller});
}

void commit_copies() { machine.running->copies.push_back({nullptr, nullptr, false, true, nullptr}); }

void wait_for_copies(int pending) {
  auto& copies = machine.running->copies;
  long groups = std::count_if(copies.begin(), copies.end(), [](const Copy& copy) { return copy.last; });
  auto done = copies.begin();
  while (groups > pending) {
    complete(*done);
    groups -= done->last;
    ++done;
  }
  copies.erase(copies.begin(), done);
}

void memory_fence() { released(); }

unsigned add_atomically(unsigned* at, unsigned value) {
  check_atomic(at, __builtin_return_address(0));
  const unsigned before = *at;
  *at = before + value;
  return before;
}

}  // namespace host_gpu

extern "C" {
const char* host_gpu_error() { return host_gpu::machine.error; }
void host_gpu_deadline(double seconds) { host_gpu::deadline = seconds; }
}
