// What all processes of a sandbox have in memory together, read from inside through a /proc that no
// path leads to.
#pragma once

#include <cstdint>

namespace cadre {

// A /proc of the caller's namespace of processes. -1 where the machine does not let it be mounted,
// as in a container that hides parts of its own.
int OpenProcesses();

// Bytes, without the first process; 0 for -1. Neither allocates nor fails: a process that ends in
// the meantime counts nothing.
int64_t MemoryInUse(int processes_fd);

}  // namespace cadre
