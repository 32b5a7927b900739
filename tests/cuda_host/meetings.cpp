#include "meetings.hpp"

#include <bit>
#include <cstring>

#include "memory.hpp"

namespace host_gpu {
namespace {

float as_bf16(unsigned half) { return std::bit_cast<float>(half << 16); }

// D (16 x 8) += A (16 x K) B (K x 8). Thread 4 g + t holds D[g or g + 8][2 t or 2 t + 1].
template <int K, typename A, typename B>
void multiply(const Part* const* lane, A&& a_at, B&& b_at) {
  double a[16][K], b[K][8];
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < K; ++k) a[row][k] = a_at(row, k);
  for (int k = 0; k < K; ++k)
    for (int column = 0; column < 8; ++column) b[k][column] = b_at(k, column);
  for (int l = 0; l < 32; ++l) {
    float* d = static_cast<float*>(lane[l]->out);
    for (int i = 0; i < 4; ++i) {
      const int row = l / 4 + 8 * (i / 2), column = 2 * (l % 4) + i % 2;
      double sum = d[i];  // hardware's own order and width of the sum are not documented
      for (int k = 0; k < K; ++k) sum += a[row][k] * b[k][column];
      d[i] = static_cast<float>(sum);
    }
  }
}

const unsigned* registers(const void* at) { return static_cast<const unsigned*>(at); }

void multiply_tf32(const Part* const* lane) {
  const auto value = [](unsigned bits) { return std::bit_cast<float>(bits & ~0x1fffu); };  // what the units read
  multiply<8>(
      lane, [&](int row, int k) { return value(registers(lane[4 * (row % 8) + k % 4]->a)[row / 8 + 2 * (k / 4)]); },
      [&](int k, int column) { return value(registers(lane[4 * column + k % 4]->b)[k / 4]); });
}

void multiply_bf16(const Part* const* lane) {
  const auto half = [](unsigned word, int k) { return as_bf16(k % 2 ? word >> 16 : word & 0xffffu); };
  multiply<16>(
      lane,
      [&](int row, int k) { return half(registers(lane[4 * (row % 8) + k % 8 / 2]->a)[row / 8 + 2 * (k / 8)], k); },
      [&](int k, int column) { return half(registers(lane[4 * column + k % 8 / 2]->b)[k / 8], k); });
}

// Matrix i (8 x 8 of 16 bits) has its rows where lanes 8 i .. 8 i + 7 say.
void load(const Part* const* lane, bool transposed) {
  unsigned short m[4][8][8];
  for (int l = 0; l < 32; ++l) std::memcpy(m[l / 8][l % 8], lane[l]->a, 16);
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i) {
      const int row = l / 4, column = 2 * (l % 4);
      const unsigned low = transposed ? m[i][column][row] : m[i][row][column];
      const unsigned high = transposed ? m[i][column + 1][row] : m[i][row][column + 1];
      static_cast<unsigned*>(lane[l]->out)[i] = low | high << 16;
    }
}

}  // namespace

const char* name_of(Meeting meeting) {
  static const char* const names[] = {
      "barrier", "warp_barrier", "shuffle", "mma_tf32", "mma_bf16", "load_matrices", "load_matrices_transposed"};
  return names[static_cast<int>(meeting)];
}

void carry_out(const Part* const* lane) {
  const Meeting meeting = lane[0]->meeting;
  switch (meeting) {
    case Meeting::barrier:
    case Meeting::warp_barrier: return;
    case Meeting::shuffle:
      for (int l = 0; l < 32; ++l) {
        const Part& part = *lane[l];
        if (part.lane < 0 || part.lane > 31 || part.width < 1 || part.width > 32 || part.width & (part.width - 1))
          fail("shuffle (line %d): lane %d and width %d", part.line, part.lane, part.width);
        std::memcpy(part.out, lane[part.lane]->a, part.bytes);
      }
      return;
    case Meeting::mma_tf32: return multiply_tf32(lane);
    case Meeting::mma_bf16: return multiply_bf16(lane);
    case Meeting::load_matrices: return load(lane, false);
    case Meeting::load_matrices_transposed: return load(lane, true);
  }
}

}  // namespace host_gpu
