// A limit on the threads of every team to come, for the whole process.
#pragma once

namespace schuss {

int thread_limit();  // 0: none

}  // namespace schuss

// For threadpoolctl, which finds libraries' pools by such functions. 0 lifts the limit; without one the number is that
// of the cores allowed.
extern "C" {
[[gnu::visibility("default")]] int schuss_get_num_threads();
[[gnu::visibility("default")]] void schuss_set_num_threads(int threads);
}
