// Any bytes as a line of a benchmark's data, as a table, and as a line of an evaluation's record:
// an item whose parts belong together and whose prompts begin with BOS, or one Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "eval/item_line.h"
#include "eval/prompt.h"
#include "eval/tasks/csv.h"
#include "eval/tasks/task.h"
#include "small_vocabulary.h"

namespace {

template <typename Act>
void OneError(const Act& act) {
  try {
    act();
  } catch (const cadre::Error&) {
  }
}

void CheckItem(const cadre::EvalItem& item, const cadre::PromptEncoder& encoder) {
  const size_t requests = item.num_requests();
  if (requests == 0 || item.answers.size() != requests || item.gold < 0 ||
      static_cast<size_t>(item.gold) >= requests || item.example.empty())
    abort();
  for (const auto* flags : {&item.is_true, &item.in_mc1, &item.in_mc2}) {
    if (!flags->empty() && flags->size() != requests) abort();
  }
  const auto encoded = encoder.Encode(item, item.description);
  for (const auto& request : encoded.requests) {
    const auto size = static_cast<int64_t>(request.ids.size());
    if (request.num_given < 1 || request.num_given >= size || size > 513) abort();
    if (!encoded.is_cut && request.ids[0] != 1) abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const cadre::Tokenizer tokenizer(SmallVocabulary(), "fuzz");
  static const cadre::PromptEncoder encoder(tokenizer, 512);
  if (size < 1) return 0;
  const auto tasks = cadre::Tasks();
  const cadre::Task& task = tasks[data[0] % tasks.size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string name = "line";
  OneError([&] { cadre::ParseCsv(text, name, [](const auto&, const auto&) {}); });
  OneError([&] {
    const cadre::Json line = cadre::ParseJson(text, name);
    cadre::EvalItem item;
    item.contexts = {"a"};
    item.continuations = {" b"};
    item.answers = {"b"};
    OneError([&] { cadre::ParseItemLine(line, 0, item, name); });
    CheckItem(task.read(cadre::Fields(line, name)), encoder);
  });
  return 0;
}
