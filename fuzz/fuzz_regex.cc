// Any bytes as a regular expression: one Error within the budget, or a constraint whose masks are
// what it accepts, and whose answers match.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/random.h"
#include "grammar/regex.h"
#include "grammar/testing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto trie = cadre::testing::SmallTrie();
  const std::string_view pattern(reinterpret_cast<const char*>(data), size);
  try {
    cadre::CompileBudget budget(200'000);
    const cadre::TextDfa whole =
        cadre::CompileRegexText(pattern, cadre::RegexMatch::kWhole, budget);
    const cadre::TextDfa part =
        cadre::CompileRegexText(pattern, cadre::RegexMatch::kAnywhere, budget);
    const auto constraint = cadre::CompileRegex(pattern, trie, {.max_steps = 200'000});
    cadre::Random random(size);
    for (int i = 0; i < 3; ++i) {
      const auto answer = cadre::testing::RandomAnswer(*constraint, *trie, random, 30);
      CADRE_CHECK(!answer || (Accepts(whole, *answer) && Accepts(part, *answer)));
    }
    const auto state = constraint->Start();
    const std::vector<int32_t> ids = cadre::testing::AllowedIds(*state, *trie);
    size_t at = 0;
    for (int32_t id = 0; id < trie->vocab_size(); ++id) {
      const bool allowed = at < ids.size() && ids[at] == id;
      at += allowed ? 1 : 0;
      CADRE_CHECK(state->Clone()->Accept(id) == allowed);
    }
  } catch (const cadre::Error&) {
  }
  return 0;
}
