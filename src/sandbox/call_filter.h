// The system calls that a sandboxed program may make: those that an interpreter needs to compute,
// to use files, threads and processes of its own. All others answer that they do not exist.
#pragma once

#include <linux/filter.h>

#include <vector>

namespace cadre {

// A program for seccomp (classic BPF). Kills a process that enters the kernel as another
// architecture.
std::vector<sock_filter> CallFilter();

}  // namespace cadre
