// Any bytes as a JSON schema: one Error within the budget, or a constraint whose masks can be
// walked at random and whose answers satisfy the schema.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "grammar/schema_values.h"
#include "grammar/testing.h"

namespace {

void CheckAnswer(const cadre::OrderedJson& schema, const std::string& answer) {
  cadre::CompileBudget budget(int64_t{1} << 40);
  const cadre::SchemaDocument document(schema, budget);
  cadre::SchemaTexts texts(budget);
  cadre::SchemaValues values(document, texts, budget);
  CADRE_CHECK(values.Satisfies(cadre::OrderedJson::parse(answer), schema));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto trie = cadre::testing::SmallTrie();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const cadre::OrderedJson schema = cadre::ParseOrderedJson(text, "fuzz");
    const auto constraint = cadre::CompileJsonSchema(schema, trie, {.max_steps = 200'000});
    cadre::Random random(size);
    for (int i = 0; i < 3; ++i) {
      const auto answer = cadre::testing::RandomAnswer(*constraint, *trie, random, 30);
      if (answer) CheckAnswer(schema, *answer);
    }
  } catch (const cadre::Error&) {
  }
  return 0;
}
