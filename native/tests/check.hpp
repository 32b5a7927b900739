// A check that prints and counts, and a main that runs named cases. A case that hangs ends the program.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "schuss/types.hpp"

namespace schuss::test {

#if defined(__has_feature)
#define SCHUSS_HAS_FEATURE(x) __has_feature(x)
#else
#define SCHUSS_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || SCHUSS_HAS_FEATURE(thread_sanitizer)
constexpr bool thread_sanitizer = true;
#else
constexpr bool thread_sanitizer = false;
#endif
#if defined(__SANITIZE_ADDRESS__) || SCHUSS_HAS_FEATURE(address_sanitizer)
constexpr bool address_sanitizer = true;
#else
constexpr bool address_sanitizer = false;
#endif
constexpr bool sanitizer = thread_sanitizer || address_sanitizer;

// Rounds of a stress test: fewer where every access is checked.
constexpr index rounds(index plain) { return sanitizer ? plain / 20 : plain; }

inline std::atomic<int> failures{0};
inline thread_local std::string about;  // what the checks of this thread are about, printed with a failure

inline bool check(bool holds, const char* what, const char* file, int line) {
  constexpr int shown = 20;
  if (!holds && ++failures <= shown)
    std::printf("%s:%d: failed: %s%s%s\n", file, line, what, about.empty() ? "" : "  with ", about.c_str());
  return holds;
}

#define CHECK(...) ::schuss::test::check(static_cast<bool>(__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__)

// Checks that the expression throws this exception, and that its message holds `part`.
#define CHECK_THROWS(Exception, part, ...)                                                            \
  do {                                                                                                \
    std::string message = "nothing thrown";                                                           \
    try {                                                                                             \
      __VA_ARGS__;                                                                                    \
    } catch (const Exception& e) {                                                                    \
      message = e.what();                                                                             \
    }                                                                                                 \
    if (!CHECK(message.find(part) != std::string::npos)) std::printf("  got: %s\n", message.c_str()); \
  } while (false)

template <class T>
bool same_bits(const T* a, const T* b, index n) {
  return n == 0 || std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(T)) == 0;
}
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && same_bits(a.data(), b.data(), static_cast<index>(a.size()));
}

// Numbers in [-1, 1), the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}
  double operator()() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(static_cast<std::int64_t>(state_)) * 0x1p-63;
  }
  index below(index n) { return static_cast<index>(((*this)() + 1) / 2 * static_cast<double>(n)); }
  template <class T>
  std::vector<T> vector(index n, double scale = 1) {
    std::vector<T> v(static_cast<std::size_t>(n));
    for (T& x : v) x = static_cast<T>((*this)() * scale);
    return v;
  }

 private:
  std::uint64_t state_;
};

inline void not_run(const std::string& reason) { std::printf("        not run: %s\n", reason.c_str()); }

struct Case {
  const char* name;
  std::function<void()> run;
};

inline const char* running = "";  // the case, for whoever reads why the program ended

inline void too_long(int) {
  constexpr char text[] = "FAILED, took too long: ";
  if (write(STDOUT_FILENO, text, sizeof text - 1) > 0 && write(STDOUT_FILENO, running, std::strlen(running)) > 0)
    _exit(write(STDOUT_FILENO, "\n", 1) == 1 ? 1 : 2);
  _exit(2);
}

inline int run_cases(const std::vector<Case>& cases) {
  constexpr unsigned seconds = 120;
  signal(SIGALRM, too_long);
  for (const Case& one : cases) {
    const int before = failures;
    running = one.name;
    alarm(seconds);
    const auto begin = std::chrono::steady_clock::now();
    try {
      one.run();
    } catch (const std::exception& e) {
      ++failures;
      std::printf("unexpected exception: %s\n", e.what());
    }
    about.clear();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::printf("%-7s %6.2f s  %s\n", failures == before ? "ok" : "FAILED", took.count(), one.name);
    std::fflush(stdout);
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace schuss::test
