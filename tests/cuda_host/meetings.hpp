// What a warp does where all its lanes have met.
#pragma once

#include "host_gpu.hpp"

namespace host_gpu {

const char* name_of(Meeting meeting);
void carry_out(const Part* const* lanes);  // the 32 lanes' parts of one meeting

}  // namespace host_gpu
