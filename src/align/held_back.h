// Which data is kept from training to measure it by.
#pragma once

#include <cstdint>
#include <span>

namespace cadre {

// Whether what follows this prompt (Sample::Prompt) is held back, a `share` of all prompts: a
// function of the tokens alone, so that a prompt that comes twice is never on both sides, and more
// data moves none of it.
bool IsHeldBack(std::span<const int32_t> prompt, double share);

}  // namespace cadre
