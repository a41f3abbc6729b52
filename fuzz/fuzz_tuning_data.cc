// Any bytes as lines of instruction and preference data, as a transcript, and as configurations of
// sft, dpo, distill and upcycle: samples whose learnt tokens lie where the answers are, or one
// Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "align/message_json.h"
#include "align/preference_data.h"
#include "align/tune_config.h"
#include "base/error.h"
#include "base/json.h"
#include "small_vocabulary.h"
#include "transfer/student_shape.h"

namespace {

// A sample begins with BOS, which is not learnt, and has a flag for each token.
void Check(const cadre::Sample& sample) {
  if (sample.tokens.empty()) return;
  if (sample.tokens.size() != sample.trained.size() || sample.tokens[0] != 1 ||
      sample.trained[0] != 0)
    abort();
}

template <typename Act>
void OneError(const Act& act) {
  try {
    act();
  } catch (const cadre::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const cadre::Tokenizer tokenizer(SmallVocabulary(), "fuzz");
  if (size < 1) return 0;
  const auto version = static_cast<cadre::ChatVersion>(1 + data[0] % 3);
  const auto strings = (data[0] & 8u) != 0 ? cadre::StringsAs::kPlain : cadre::StringsAs::kChat;
  const cadre::ChatText text{tokenizer, version};
  const std::string_view line(reinterpret_cast<const char*>(data) + 1, size - 1);
  cadre::ParseTranscript(line);
  OneError([&] {
    const cadre::OrderedJson json = cadre::ParseOrderedJson(line, "line");
    OneError([&] {
      auto sample =
          cadre::EncodeSample(cadre::ParseInstructionLine(json, strings, "line"), text, "line");
      Check(sample);
      cadre::CutEnd(sample, 2 + data[0]);
      Check(sample);
    });
    OneError([&] {
      const auto pair = cadre::ParsePreferenceLine(json, strings, "line");
      cadre::Pair encoded{cadre::EncodeSample(pair.chosen, text, "line"),
                          cadre::EncodeSample(pair.rejected, text, "line")};
      if (cadre::FitPair(encoded, {.max_tokens = 24, .max_prompt_tokens = 8}) ==
          cadre::Fit::kUnusable)
        return;
      for (const auto* sample : {&encoded.chosen, &encoded.rejected}) {
        Check(*sample);
        if (sample->tokens.size() > 24 || sample->CountTrained() == 0) abort();
      }
    });
  });
  OneError([&] {
    const cadre::Json json = cadre::ParseJson(line, "config");
    OneError([&] { cadre::ParseSftConfig(json, {}, "config"); });
    OneError([&] { cadre::ParseDpoConfig(json, {}, "config"); });
    OneError([&] {
      cadre::ModelConfig teacher;
      teacher.dim = teacher.hidden_dim = 8;
      teacher.num_layers = teacher.num_heads = teacher.num_kv_heads = 1;
      teacher.head_dim = 8;
      teacher.vocab_size = 16;
      teacher.context_length = 16;
      teacher.rope_theta = 10000;
      teacher.router = {.num_experts = 4, .top_k = 2};
      const auto config = cadre::ParseDistillConfig(json, {}, "config");
      if (config.init == cadre::StudentInit::kModel) return;
      const auto student = cadre::StudentShape(config, teacher);
      if (!student.router.dense() || student.vocab_size != teacher.vocab_size) abort();
    });
    OneError([&] {
      const auto config = cadre::ParseUpcycleConfig(json, {}, "config");
      if (config.router.dense() || config.router.top_k > config.router.num_experts) abort();
    });
  });
  return 0;
}
