#include "limit.hpp"

#include <atomic>

#include "cores.hpp"

namespace schuss {
namespace {

std::atomic<int> limit{0};

}  // namespace

int thread_limit() { return limit; }

}  // namespace schuss

extern "C" int schuss_get_num_threads() {
  const int limit = schuss::thread_limit();
  return limit > 0 ? limit : schuss::allowed_cores();
}

extern "C" void schuss_set_num_threads(int threads) { schuss::limit = threads < 1 ? 0 : threads; }
