// The processors that this process may run on, and how they share cores.
#pragma once

#include <vector>

namespace schuss {

// Processors allowed, one of each physical core first, then their siblings (hyper-threads); empty where the system does
// not tell.
std::vector<int> processors();

// How many processors are allowed, and how many physical cores they are.
int allowed_cores();
int physical_cores();

// Keeps the calling thread on one processor for a scope, and gives it back its former ones. False arguments of any
// kind, and systems without such a call, leave it free.
class Pinned {
 public:
  explicit Pinned(int processor);
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  std::vector<int> before_;
};

}  // namespace schuss
