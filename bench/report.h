// What was measured, as lines of a table or as JSON.
#pragma once

#include <string>

#include "base/json_fwd.h"
#include "bench/kernel_case.h"
#include "bench/measure.h"

namespace cadre::bench {

std::string TableHead();
std::string TableRow(const KernelCase& c, const Measured& m);
// "figure" and "limit_figure" in units of 1e9 of "unit" per second.
OrderedJson ToJson(const KernelCase& c, const Measured& m);

}  // namespace cadre::bench
