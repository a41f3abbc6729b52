// The file system of a sandbox: an empty one in memory, read-only, into which the parts of the view
// are mounted, and /tmp. Called by the first process only, in this order.
#pragma once

#include "sandbox/inside.h"

namespace cadre {

// Takes hold of the view's parts, by the identity that this program has outside.
void OpenView(InsidePlan& plan);
// As nobody: an empty file system at /tmp of the process's own mounts, with the view and the
// program in it.
void BuildRoot(const InsidePlan& plan);
// Makes that the root and lets go of everything else.
void EnterRoot(const InsidePlan& plan);

}  // namespace cadre
