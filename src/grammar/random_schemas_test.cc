// Schemas made at random: every answer that ends satisfies its schema, and what satisfies it, spelt
// by another printer, is taken.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "grammar/schema_values.h"
#include "grammar/testing.h"

namespace cadre {
namespace {

OrderedJson RandomSchema(Random& random, int depth) {
  const auto below = [&](uint64_t bound) { return static_cast<int>(random.NextBelow(bound)); };
  OrderedJson schema;
  switch (below(depth > 0 ? 9 : 5)) {
    case 0:
      schema["type"] = "string";
      if (below(2) == 0) schema["minLength"] = below(4);
      if (below(2) == 0) schema["maxLength"] = 4 + below(40);
      if (below(4) == 0) schema["pattern"] = "^[a-z]{1,9}$";
      break;
    case 1:
      schema["type"] = below(2) == 0 ? "integer" : "number";
      if (below(2) == 0) schema["minimum"] = below(200) - 100;
      if (below(2) == 0) schema["exclusiveMaximum"] = 101.5 + below(1000);
      if (below(4) == 0) schema["multipleOf"] = 1 + below(9);
      break;
    case 2:
      schema["enum"] = {"a", "b\"c", below(100), nullptr, {{"x", below(2) == 0}}};
      break;
    case 3:
      schema["type"] = {"boolean", "null"};
      break;
    case 4:
      schema["type"] = "string";
      schema["format"] = below(2) == 0 ? "date" : "ipv4";
      break;
    case 5:
      schema["type"] = "array";
      if (below(3) > 0) schema["items"] = RandomSchema(random, depth - 1);
      if (below(4) == 0) schema["prefixItems"] = {RandomSchema(random, depth - 1)};
      if (below(3) == 0) schema["minItems"] = below(3);
      if (below(3) == 0) schema["maxItems"] = 3 + below(9);
      break;
    case 6:
      schema["anyOf"] = {RandomSchema(random, depth - 1), RandomSchema(random, depth - 1)};
      break;
    default:
      schema["type"] = "object";
      schema["required"] = OrderedJson::array();
      for (const char* name : {"name", "a", "é", "kind"}) {
        if (below(2) == 0) continue;
        schema["properties"][name] = RandomSchema(random, depth - 1);
        if (below(2) == 0) schema["required"].push_back(name);
      }
      if (below(2) == 0) schema["additionalProperties"] = false;
      if (below(4) == 0) schema["patternProperties"] = {{"^n", RandomSchema(random, depth - 1)}};
      if (below(6) == 0) schema["maxProperties"] = 4 + below(2);
      break;
  }
  return schema;
}

TEST(RandomSchemas, HoldEveryAnswerAndTakeItInAnotherSpelling) {
  Random random(11);
  const auto trie = testing::SmallTrie();
  int schemas = 0;
  int answers = 0;
  for (int i = 0; i < 500; ++i) {
    const OrderedJson schema = RandomSchema(random, 3);
    std::shared_ptr<const Constraint> constraint;
    try {
      constraint = CompileJsonSchema(schema, trie);
    } catch (const Error&) {
      continue;  // by chance nothing satisfies it
    }
    ++schemas;
    CompileBudget budget(int64_t{1} << 40);
    const SchemaDocument document(schema, budget);
    SchemaTexts texts(budget);
    SchemaValues values(document, texts, budget);
    for (int walk = 0; walk < 3; ++walk) {
      const auto answer = testing::RandomAnswer(*constraint, *trie, random, 40);
      if (!answer) continue;
      ++answers;
      const OrderedJson value = OrderedJson::parse(*answer);
      ASSERT_TRUE(values.Satisfies(value, schema)) << schema << "\n" << *answer;
      // Numbers are spelt as they came only where they are integers.
      if (answer->find_first_of(".eE") == std::string::npos) {
        ASSERT_TRUE(testing::IsAnswer(*constraint, value.dump())) << schema << "\n" << value;
      }
    }
  }
  EXPECT_GT(schemas, 450);
  EXPECT_GT(answers, 1000);
}

}  // namespace
}  // namespace cadre
