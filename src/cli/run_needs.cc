#include "cli/run_needs.h"

#include <algorithm>

#include "engine/sequence.h"

namespace cadre {

int64_t PagesOf(const ModelConfig& config, int64_t positions, int64_t step_tokens) {
  // With a window, pages behind it go back; one at each end may be there in part.
  const int64_t window = config.sliding_window;
  if (window > 0) positions = std::min(positions, window + step_tokens + 2 * kKvBlock);
  return std::max<int64_t>(1, (positions + kKvBlock - 1) / kKvBlock);
}

RunNeeds OneSequence(const ModelConfig& config, int64_t positions, int64_t prompt_tokens) {
  const int64_t step = std::clamp<int64_t>(prompt_tokens, 1, Sequence::kChunk);
  const int64_t pages = PagesOf(config, positions, step);
  return {.step_tokens = step,
          .other_bytes = kSamplerBytes * config.vocab_size,
          .least_pages = pages,
          .most_pages = pages};
}

// A step's logits, each request's text and connection, and what the sampler makes of its logits.
RunNeeds ManySequences(const ModelConfig& config, int64_t parallel, int64_t step_tokens) {
  constexpr int64_t kRequestBytes = 256 << 10;
  RunNeeds needs;
  needs.step_tokens = std::max(step_tokens, parallel);
  needs.logit_rows = needs.step_tokens;
  needs.other_bytes = parallel * (kRequestBytes + kSamplerBytes * config.vocab_size);
  return needs;
}

}  // namespace cadre
