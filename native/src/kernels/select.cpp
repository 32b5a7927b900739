// Which kernels this processor can run, and which it does.
#include <stdexcept>
#include <string>

#include "table.hpp"

namespace schuss {

#define SCHUSS_DECLARE_ISA(isa)                   \
  namespace isa {                                 \
  extern const KernelTable<float> float32_table;  \
  extern const KernelTable<double> float64_table; \
  }
SCHUSS_DECLARE_ISA(portable)
namespace portable {
extern const bool has_fused;
}
#if defined(SCHUSS_X86)
SCHUSS_DECLARE_ISA(avx2)
SCHUSS_DECLARE_ISA(avx512)
#endif

namespace {

#if defined(SCHUSS_X86)
// The compiler's test reads CPUID and, through XGETBV, whether the system saves the registers.
bool have_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool have_avx512() {
  return have_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif
bool have_portable() { return true; }

}  // namespace

const std::vector<Isa>& isas() {
  static const std::vector<Isa> all = {
#if defined(SCHUSS_X86)
      {"avx512", "AVX-512 F, DQ, BW, VL", true, have_avx512, &avx512::float32_table, &avx512::float64_table},
      {"avx2", "AVX2 and FMA", true, have_avx2, &avx2::float32_table, &avx2::float64_table},
#endif
      {"portable", "nothing", portable::has_fused, have_portable, &portable::float32_table, &portable::float64_table},
  };
  return all;
}

const Isa& select_isa(std::string_view name) {
  std::string known;
  for (const Isa& isa : isas()) {
    if (name == "auto" && isa.available()) return isa;
    if (name == isa.name) {
      if (isa.available()) return isa;
      throw std::invalid_argument("isa '" + std::string(name) + "' needs " + std::string(isa.needs) +
                                  ", which this processor lacks");
    }
    known += (known.empty() ? "" : ", ") + std::string(isa.name);
  }
  throw std::invalid_argument("isa must be auto or one of " + known + ", got '" + std::string(name) + "'");
}

}  // namespace schuss
