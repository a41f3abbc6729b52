// Any bytes as an importance matrix: an Error, or sums and counts that belong together.
#include <cmath>
#include <cstdint>

#include "base/error.h"
#include "formats/imatrix.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto matrix = cadre::ParseImportanceMatrix(std::as_bytes(std::span(data, size)), "fuzz");
    CADRE_CHECK(!matrix.entries.empty());
    for (const auto& [name, entry] : matrix.entries) {
      CADRE_CHECK(!entry.sums.empty() && entry.sums.size() % entry.counts.size() == 0);
      for (const float sum : entry.sums) CADRE_CHECK(std::isfinite(sum) && sum >= 0);
    }
  } catch (const cadre::Error&) {
  }
  return 0;
}
