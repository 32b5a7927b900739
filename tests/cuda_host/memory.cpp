// Buffers with guards around them, and a shadow that knows of every byte who wrote and who read it last. The compiler
// reports each access of a kernel (-fsanitize=thread); an access that no barrier orders after another is an error, and
// so is one outside of all buffers or of bytes that nobody wrote.
#include "memory.hpp"

#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>

#include "host_gpu.hpp"

namespace host_gpu {

namespace {

using Address = std::uintptr_t;

// `written` of what is in no buffer, of what is in one and nobody wrote, and of words whose bytes have cells of their
// own.
constexpr Tick kOutside = 0, kUnwritten = 1, kSplit = 2;
// With who did it: by atomic or volatile accesses, which do not disturb each other.
constexpr std::uint16_t kLoose = 0x8000;

struct Cell {
  Tick written, read;
  Tick elsewhere : 31, elsewhere_loose : 1;  // a read by another block or node of the same graph
  std::uint16_t writer, reader;
};

constexpr unsigned kShared = 256 * 1024, kZone = 512;  // room for shared memory; bytes of a guard
// A guard's bytes: no number in any format, as the poison, and yet another pattern.
unsigned char guard_byte(Address at) { return at % 2 ? 0xff : 0xfe; }

struct Arena {
  Address begin = 0;
  std::size_t bytes = 0;
  Cell* words = nullptr;     // a cell for four bytes,
  Cell* bytes_of = nullptr;  // and for each byte, where a word is split
  std::map<Address, std::size_t> buffers;
};

Arena arena;
const void* arguments;
std::size_t arguments_bytes;
Address image;          // where the kernel's shared object begins
Address constant_page;  // of it, the last one read
Address stacks_begin;
std::size_t stacks_bytes;
unsigned shared_bytes;

void* reserve(std::size_t bytes) {
  void* got = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return got == MAP_FAILED ? nullptr : got;
}

bool within(Address at, unsigned bytes, Address begin, std::size_t size) {
  return at - begin < size && at - begin + bytes <= size;
}

Address shared_at() { return arena.begin + kZone; }

// --- Messages --------------------------------------------------------------------------------------

void place(Address at, char* out, std::size_t size) {
  if (at - arena.begin < kShared) {
    std::snprintf(out, size, "byte %td of %u of shared memory", static_cast<std::ptrdiff_t>(at - shared_at()),
                  shared_bytes);
    return;
  }
  auto after = arena.buffers.upper_bound(at);
  if (at - arena.begin > arena.bytes || after == arena.buffers.begin()) {
    std::snprintf(out, size, "%#zx", static_cast<std::size_t>(at));
    return;
  }
  const auto& [begin, bytes] = *--after;
  std::snprintf(out, size, "byte %zu of buffer %#zx of %zu bytes", static_cast<std::size_t>(at - begin),
                static_cast<std::size_t>(begin), bytes);
}

void who_name(Tick at, std::uint16_t who, char* out, std::size_t size) {
  if (at < present.launch_begin) std::snprintf(out, size, "a node of the graph that need not be finished");
  else if (at < present.block_begin) std::snprintf(out, size, "another block");
  else if (who == kSeveral) std::snprintf(out, size, "several warps");
  else if (who & kLanesOf) std::snprintf(out, size, "several lanes of warp %d", who - kLanesOf);
  else std::snprintf(out, size, "thread %d", who);
}

enum Access { kRead, kWrite, kVolatileRead, kVolatileWrite, kAdd };
const char* const kNames[] = {"read", "write", "volatile read", "volatile write", "atomic_add"};

[[noreturn]] void fail_at(Access access, Address at, unsigned bytes, const void* caller, const char* what) {
  char where[128];
  place(at, where, sizeof where);
  fail("thread %u: %s of %u bytes at %s: %s [+%#zx]", present.thread, kNames[access], bytes, where, what,
       static_cast<std::size_t>(reinterpret_cast<Address>(caller) - image));
}

[[noreturn]] void fail_race(Access access, Address at, unsigned bytes, const void* caller, const char* verb, Tick when,
                            std::uint16_t who) {
  char name[64], what[128];
  who_name(when, who, name, sizeof name);
  std::snprintf(what, sizeof what, "%s by %s, and nothing orders the two", verb, name);
  fail_at(access, at, bytes, caller, what);
}

// --- Accesses --------------------------------------------------------------------------------------

void mark_read(Cell& cell, bool loose) {
  auto me = static_cast<std::uint16_t>(present.thread);
  if (cell.read == present.now && !loose && (cell.reader == me || cell.reader == kSeveral)) return;  // nothing new
  const std::uint16_t reader = cell.reader & ~kLoose;
  const bool was_loose = cell.reader & kLoose;
  if (cell.read < present.block_begin) {
    if (cell.read >= present.graph_begin) {
      cell.elsewhere_loose = was_loose && (cell.elsewhere < present.graph_begin || cell.elsewhere_loose);
      cell.elsewhere = cell.read;
    }
  } else if (!ordered(cell.read, reader, false)) {
    const unsigned warp = reader & kLanesOf ? reader - kLanesOf : reader / kWarp;
    me = warp == me / kWarp ? kLanesOf | warp : kSeveral;
    loose = loose && was_loose;
  } else if (reader == me) {
    loose = loose && was_loose;
  }
  cell.read = present.now;
  cell.reader = me | (loose ? kLoose : 0);
}

Cell& word_of(Address at) { return arena.words[(at - arena.begin) / 4]; }
Cell& byte_of(Address at) { return arena.bytes_of[at - arena.begin]; }

void split(Address at) {
  Cell& word = word_of(at);
  if (word.written != kSplit) std::fill_n(&byte_of(at & ~Address{3}), 4, word);
  word = {kSplit, present.now, 0, 0, 0, 0};
}

void set_cells(Address begin, std::size_t bytes, Cell value) {
  const Address end = begin + bytes, inner = std::min((begin + 3) & ~Address{3}, end);
  const Address last = std::max(inner, end & ~Address{3});
  for (Address at = begin; at < inner; ++at) split(at), byte_of(at) = value;
  std::fill_n(&word_of(inner), (last - inner) / 4, value);
  for (Address at = last; at < end; ++at) split(at), byte_of(at) = value;
}

// One access to what a cell stands for; `at` and `bytes` are those of the whole access.
template <Access kAccess>
inline void check(Cell& cell, Address at, unsigned bytes, const void* caller) {
  constexpr bool reads = kAccess != kWrite && kAccess != kVolatileWrite;
  constexpr bool writes = kAccess != kRead && kAccess != kVolatileRead, loose = kAccess >= kVolatileRead;
  if (cell.written == kOutside) fail_at(kAccess, at, bytes, caller, "outside of all buffers");
  if (reads && cell.written == kUnwritten) fail_at(kAccess, at, bytes, caller, "never written");
  const bool before_barrier = cell.written >= present.block_begin && cell.written < present.barrier;
  if (cell.written >= present.graph_begin && !before_barrier) {
    const bool was_loose = cell.writer & kLoose;
    const std::uint16_t writer = cell.writer & ~kLoose;
    if (!(loose && was_loose) && !ordered(cell.written, writer, was_loose))
      fail_race(kAccess, at, bytes, caller, "written", cell.written, writer);
  }
  if (!writes) return mark_read(cell, loose);
  const std::uint16_t reader = cell.reader & ~kLoose;
  if (cell.read >= present.graph_begin && !(loose && cell.reader & kLoose) && !ordered(cell.read, reader, false))
    fail_race(kAccess, at, bytes, caller, "read", cell.read, reader);
  if (cell.elsewhere >= present.graph_begin && !(loose && cell.elsewhere_loose) &&
      !ordered_elsewhere(cell.elsewhere, kSeveral, false))
    fail_race(kAccess, at, bytes, caller, "read", cell.elsewhere, 0);
  cell = {present.now, 0, 0, 0, static_cast<std::uint16_t>(present.thread | (loose ? kLoose : 0)), 0};
}

// Shared memory is not cleared between blocks: what is older than the block does not count.
void forget_other_blocks(Cell& word) {
  const Tick when = word.written == kSplit ? word.read : word.written;
  if (when < present.block_begin) word = {kUnwritten, 0, 0, 0, 0, 0};
}

template <Access kAccess>
inline void touch(Address at, unsigned bytes, const void* caller) {
  const bool shared = at < arena.begin + kShared;
  if (shared && !within(at, bytes, shared_at(), shared_bytes))
    fail_at(kAccess, at, bytes, caller, "outside of all buffers");
  for (Address now = at; now < at + bytes;) {
    Cell& word = word_of(now);
    if (shared) forget_other_blocks(word);
    if (now % 4 == 0 && now + 4 <= at + bytes && word.written != kSplit) [[likely]] {
      check<kAccess>(word, at, bytes, caller);
      now += 4;
    } else {
      split(now);
      check<kAccess>(byte_of(now), at, bytes, caller);
      ++now;
    }
  }
}

bool constant(Address at) {
  constexpr Address page = 4096;
  if (at / page == constant_page) return true;
  Dl_info info = {};
  if (!dladdr(reinterpret_cast<void*>(at), &info) || reinterpret_cast<Address>(info.dli_fbase) != image) return false;
  constant_page = at / page;
  return true;
}

// Not in the arena: the thread's own variables, the kernel's argument, constants; or an error.
template <Access kAccess>
void touch_other(Address at, unsigned bytes, const void* caller) {
  if (within(at, bytes, stacks_begin, stacks_bytes)) return;
  if (kAccess == kRead && within(at, bytes, reinterpret_cast<Address>(arguments), arguments_bytes)) return;
  for (const Index* each : {&threadIdx, &blockIdx, &blockDim, &gridDim})
    if (kAccess == kRead && within(at, bytes, reinterpret_cast<Address>(each), sizeof(Index))) return;
  if (kAccess == kRead && constant(at)) return;
  fail_at(kAccess, at, bytes, caller, "outside of all buffers");
}

template <Access kAccess>
void access(const void* at, unsigned bytes, const void* caller) {
  const auto address = reinterpret_cast<Address>(at);
  if (within(address, bytes, arena.begin, arena.bytes)) [[likely]]
    touch<kAccess>(address, bytes, caller);
  else touch_other<kAccess>(address, bytes, caller);
}

void* copy(void* to, const void* from, std::size_t bytes, const void* caller) {
  if (running()) {
    access<kRead>(from, static_cast<unsigned>(bytes), caller);
    access<kWrite>(to, static_cast<unsigned>(bytes), caller);
  }
  return std::memmove(to, from, bytes);
}

void* set(void* to, int byte, std::size_t bytes, const void* caller) {
  if (running()) access<kWrite>(to, static_cast<unsigned>(bytes), caller);
  return std::memset(to, byte, bytes);
}

// --- Guards ----------------------------------------------------------------------------------------

// Compared and copied whole: what a guard holds from an even address on.
const struct Pattern {
  unsigned char bytes[kZone + 1];
  Pattern() {
    for (Address at = 0; at < sizeof bytes; ++at) bytes[at] = guard_byte(at);
  }
} pattern;

void set_guard(Address begin) { std::memcpy(reinterpret_cast<void*>(begin), pattern.bytes + begin % 2, kZone); }

bool broken(Address begin) {
  return std::memcmp(reinterpret_cast<void*>(begin), pattern.bytes + begin % 2, kZone) != 0;
}

void set_guards(Address begin, std::size_t bytes) {
  set_guard(begin - kZone);
  set_guard(begin + bytes);
}

bool broken(Address begin, std::size_t bytes) { return broken(begin - kZone) || broken(begin + bytes); }

}  // namespace

void check_read(const void* at, unsigned bytes, const void* caller) { access<kRead>(at, bytes, caller); }
void check_write(void* at, unsigned bytes, const void* caller) { access<kWrite>(at, bytes, caller); }

void check_atomic(void* at, const void* caller) {
  access<kAdd>(at, 4, caller);
  publish(at);
}

void begin_launch(const void* given, std::size_t bytes, const void* body) {
  arguments = given;
  arguments_bytes = bytes;
  Dl_info info = {};
  dladdr(body, &info);
  image = reinterpret_cast<Address>(info.dli_fbase);
  constant_page = ~Address{0};
  order_launch();
}

void begin_block(unsigned shared) {
  order_block();
  shared_bytes = shared;
  set_guards(shared_at(), shared);
  std::memset(reinterpret_cast<void*>(shared_at()), 0xff, shared);
}

void end_block(unsigned shared) {
  if (broken(shared_at(), shared)) note("wrote outside of its %u bytes of shared memory", shared);
}

bool in_shared_memory(const void* at) { return within(reinterpret_cast<Address>(at), 1, arena.begin, kShared); }

void* shared_begin() { return reinterpret_cast<void*>(shared_at()); }

void own_stacks(const char* begin, std::size_t bytes) {
  stacks_begin = reinterpret_cast<Address>(begin);
  stacks_bytes = bytes;
}

}  // namespace host_gpu

// --- What the compiler calls -----------------------------------------------------------------------

#define CALLER __builtin_return_address(0)
using namespace host_gpu;

extern "C" {

#define ACCESS(BYTES)                                                                      \
  void __tsan_read##BYTES(void* at) { access<kRead>(at, BYTES, CALLER); }                  \
  void __tsan_write##BYTES(void* at) { access<kWrite>(at, BYTES, CALLER); }                \
  void __tsan_unaligned_read##BYTES(void* at) { access<kRead>(at, BYTES, CALLER); }        \
  void __tsan_unaligned_write##BYTES(void* at) { access<kWrite>(at, BYTES, CALLER); }      \
  void __tsan_volatile_read##BYTES(void* at) { access<kVolatileRead>(at, BYTES, CALLER); } \
  void __tsan_volatile_write##BYTES(void* at) { access<kVolatileWrite>(at, BYTES, CALLER); }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

void __tsan_read_range(void* at, unsigned long bytes) { access<kRead>(at, static_cast<unsigned>(bytes), CALLER); }
void __tsan_write_range(void* at, unsigned long bytes) { access<kWrite>(at, static_cast<unsigned>(bytes), CALLER); }
// Clang calls these, or the linker does in the place of those without a prefix, where a structure is copied.
void* __tsan_memcpy(void* to, const void* from, unsigned long bytes) { return copy(to, from, bytes, CALLER); }
void* __tsan_memmove(void* to, const void* from, unsigned long bytes) { return copy(to, from, bytes, CALLER); }
void* __tsan_memset(void* to, int byte, unsigned long bytes) { return set(to, byte, bytes, CALLER); }
void* __wrap_memcpy(void* to, const void* from, unsigned long bytes) { return copy(to, from, bytes, CALLER); }
void* __wrap_memmove(void* to, const void* from, unsigned long bytes) { return copy(to, from, bytes, CALLER); }
void* __wrap_memset(void* to, int byte, unsigned long bytes) { return set(to, byte, bytes, CALLER); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit(void*) {}
void __tsan_init() {}

// --- What Python calls -----------------------------------------------------------------------------

// Room for buffers of so many bytes, and for shared memory; once a process. The address, or 0.
unsigned long long host_gpu_open(unsigned long long bytes) {
  if (arena.begin) return arena.begin + kShared;
  arena.bytes = kShared + bytes;
  arena.begin = reinterpret_cast<Address>(reserve(arena.bytes));
  arena.words = static_cast<Cell*>(reserve(arena.bytes / 4 * sizeof(Cell)));
  arena.bytes_of = static_cast<Cell*>(reserve(arena.bytes * sizeof(Cell)));
  return arena.begin && arena.words && arena.bytes_of ? arena.begin + kShared : 0;
}

unsigned host_gpu_zone() { return kZone; }

// A buffer, with a zone of its own on either side, full of what is no number.
void host_gpu_add(unsigned long long begin, unsigned long long bytes) {
  set_guards(begin, bytes);
  std::memset(reinterpret_cast<void*>(begin), 0xff, bytes);
  set_cells(begin, bytes, Cell{kUnwritten, 0, 0, 0, 0, 0});
  arena.buffers[begin] = bytes;
}

void host_gpu_remove(unsigned long long begin) {
  const std::size_t bytes = arena.buffers[begin];
  std::memset(reinterpret_cast<void*>(begin), 0xff, bytes);
  set_cells(begin, bytes, Cell{});
  arena.buffers.erase(begin);
}

// 1 where a range lies in one buffer; `written` then says that the host has written it.
int host_gpu_inside(unsigned long long begin, unsigned long long bytes, int written) {
  auto after = arena.buffers.upper_bound(begin);
  if (after == arena.buffers.begin()) return 0;
  --after;
  if (begin + bytes > after->first + after->second) return 0;
  if (written) set_cells(begin, bytes, Cell{present.now++, 0, 0, 0, 0, 0});
  return 1;
}

// The address of a buffer whose guards are broken, or 0.
unsigned long long host_gpu_broken() {
  for (const auto& [begin, bytes] : arena.buffers)
    if (broken(begin, bytes)) return begin;
  return 0;
}

}  // extern "C"
