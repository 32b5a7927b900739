#include "team.hpp"

#include <unistd.h>

#include <mutex>
#include <stdexcept>
#include <utility>

#include "denormals.hpp"
#include "turns.hpp"

namespace schuss {
namespace {

// Polls before a waiting thread sleeps: some tens of microseconds, the length of a step's shorter phases.
constexpr int kSpin = 2000;

}  // namespace

// The threads and the two words they meet at. A child of fork inherits the words but not the threads. `call` holds the
// number of the call and, in its lower half, how many threads it is for (none: to leave): those beyond may sleep
// through several.
struct Team::Crew {
  static constexpr std::uint32_t kThreads = 0xffff;
  const pid_t owner = getpid();
  std::vector<std::thread> threads;
  const std::function<void(int)>* work = nullptr;
  alignas(64) std::atomic<std::uint32_t> call{0};
  alignas(64) std::atomic<std::uint32_t> busy{0};

  ~Crew() {
    announce(0);
    for (std::thread& thread : threads) thread.join();
  }
  void announce(std::uint32_t members) {
    const std::uint32_t number = call.load(std::memory_order_relaxed) & ~kThreads;
    call.store((number + kThreads + 1) | members, std::memory_order_release);
    call.notify_all();
  }
};

Team::Team(int size, bool pinned)
    : size_(size), spin_(size > allowed_cores() ? 0 : kSpin), pins_(pinned ? processors() : std::vector<int>()) {
  if (size < 1 || size > static_cast<int>(Crew::kThreads))
    throw std::invalid_argument("a team needs at least one thread, and at most 65535");
}

Team::~Team() { abandon_inherited(); }

// The threads stayed in the parent process; joining them would never end.
void Team::abandon_inherited() {
  if (crew_ && crew_->owner != getpid()) crew_.release();
}

void Team::start_crew() {
  abandon_inherited();
  if (crew_) return;
  auto started = std::make_unique<Crew>();  // ends its threads where the system refuses a further one
  started->threads.reserve(static_cast<std::size_t>(size_));
  for (int i = 1; i < size_; ++i) {
    started->threads.emplace_back([this, crew = started.get(), i] {
      FlushDenormals flush;
      ShortTurns turns;
      std::optional<Pinned> pinned;
      pin(pinned, i);
      std::uint32_t seen = 0;
      while (true) {
        wait_while_equal(crew->call, seen, spin_);
        seen = crew->call.load(std::memory_order_acquire);
        const std::uint32_t members = seen & Crew::kThreads;
        if (members == 0) return;  // the team is at its end
        if (static_cast<std::uint32_t>(i) >= members) continue;
        guarded(*crew->work, i);
        if (crew->busy.fetch_sub(1, std::memory_order_acq_rel) == 1) crew->busy.notify_one();
      }
    });
  }
  crew_ = std::move(started);
}

void Team::pin(std::optional<Pinned>& pinned, int thread) const {
  if (!pins_.empty()) pinned.emplace(pins_[static_cast<std::size_t>(thread) % pins_.size()]);
}

void Team::guarded(const std::function<void(int)>& work, int thread) {
  try {
    work(thread);
  } catch (...) {
    if (!failed_.exchange(true)) failure_ = std::current_exception();
    for (Barrier& barrier : barriers_) barrier.abort();
  }
}

void Team::run(int threads, const std::function<void(int)>& work) {
  FlushDenormals flush;
  std::optional<ShortTurns> turns;
  std::optional<Pinned> pinned;
  failed_ = false;
  failure_ = nullptr;
  for (Barrier& barrier : barriers_) barrier.reset();
  if (threads > 1) {
    start_crew();
    turns.emplace();
    pin(pinned, 0);
    crew_->work = &work;
    crew_->busy.store(static_cast<std::uint32_t>(threads - 1), std::memory_order_relaxed);
    crew_->announce(static_cast<std::uint32_t>(threads));
  }
  guarded(work, 0);
  if (threads > 1)
    for (std::uint32_t left; (left = crew_->busy.load(std::memory_order_acquire)) != 0;)
      wait_while_equal(crew_->busy, left, spin_);
  if (failed_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Team::alone(const std::function<void()>& work) {
  FlushDenormals flush;
  work();
}

Barrier& Team::make_barrier(int members) { return barriers_.emplace_back(members, spin_); }

}  // namespace schuss
