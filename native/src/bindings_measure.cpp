// What the machine can do, for Python: engine/measure.hpp. All of float32 but where a flag says.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

#include "engine/measure.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace schuss {
namespace {

void require(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument(message);
}

double peak(const std::string& isa, int threads, double seconds, bool float64) {
  const Isa& chosen = select_isa(isa);
  return float64 ? measure_peak(*chosen.float64, threads, seconds) : measure_peak(*chosen.float32, threads, seconds);
}

double product(const std::string& isa, const std::string& kind, index rows, index depth, index columns, double seconds,
               bool float64) {
  require(kind == "forward" || kind == "gradient", "kind must be forward or gradient, got '" + kind + "'");
  require(rows >= 1 && depth >= 1 && columns >= 1, "rows, depth and columns must be at least 1");
  const ProductKind which = kind == "forward" ? ProductKind::forward : ProductKind::gradient;
  const Isa& chosen = select_isa(isa);
  return float64 ? measure_product(*chosen.float64, which, rows, depth, columns, seconds)
                 : measure_product(*chosen.float32, which, rows, depth, columns, seconds);
}

double tile(const std::string& isa, index rows, index vectors, index depth, double seconds) {
  const KernelTable<float>& table = *select_isa(isa).float32;
  require(rows >= 1 && rows <= table.tile_rows && vectors >= 1 && vectors <= table.panel_vectors && depth >= 1,
          "a tile has at least 1 row, vector and depth, and at most " + std::to_string(table.tile_rows) + " rows and " +
              std::to_string(table.panel_vectors) + " vectors");
  return measure_tile(table, rows, vectors, depth, seconds);
}

double stream(const std::string& isa, const std::string& kind, int threads, index bytes, double seconds) {
  require(kind == "read" || kind == "update", "kind must be read or update, got '" + kind + "'");
  return measure_stream(*select_isa(isa).float32, kind == "read" ? Stream::read : Stream::update, threads, bytes,
                        seconds);
}

double gather(const std::string& isa, index features, index bytes, double seconds) {
  require(features >= 1, "features must be at least 1, got " + std::to_string(features));
  return measure_gather(*select_isa(isa).float32, features, bytes, seconds);
}

double activation(const std::string& isa, int function, double seconds) {
  return measure_activation(*select_isa(isa).float32, static_cast<Activation>(function), seconds);
}

}  // namespace

void bind_measures(nb::module_& m) {
  const nb::call_guard<nb::gil_scoped_release> free;
  m.def("measure_peak", &peak, "isa"_a, "threads"_a, "seconds"_a, "float64"_a, free);
  m.def("measure_product", &product, "isa"_a, "kind"_a, "rows"_a, "depth"_a, "columns"_a, "seconds"_a, "float64"_a,
        free);
  m.def("measure_tile", &tile, "isa"_a, "rows"_a, "vectors"_a, "depth"_a, "seconds"_a, free);
  m.def("measure_stream", &stream, "isa"_a, "kind"_a, "threads"_a, "bytes"_a, "seconds"_a, free);
  m.def("measure_gather", &gather, "isa"_a, "features"_a, "bytes"_a, "seconds"_a, free);
  m.def("measure_activation", &activation, "isa"_a, "function"_a, "seconds"_a, free);
  m.def("measure_barrier", &measure_barrier, "threads"_a, "seconds"_a, free);
}

}  // namespace schuss
