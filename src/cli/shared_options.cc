#include "cli/shared_options.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace cadre {
namespace {

// CLI11's own such validator complains in numbers of 300 digits.
CLI::Validator More(double least, bool or_equal) {
  const std::string expected =
      or_equal ? fmt::format("{} or more", least) : fmt::format("more than {}", least);
  return CLI::Validator(
      [=](std::string& text) {
        double value = 0;
        const bool fits =
            CLI::detail::lexical_cast(text, value) && (or_equal ? value >= least : value > least);
        return fits ? std::string()
                    : fmt::format("is {} but must be {}", Printable(text), expected);
      },
      expected);
}

// What may stand in for an expert that would be waited for.
void AddMissOptions(CLI::App& command, CLI::Option* memory, ModelOptions& options) {
  command
      .add_option("--on-miss", options.on_miss,
                  "When an expert is not in memory: wait (exact; default), low-bit (use its copy "
                  "from --low-bit) or next-best (of those in memory, the one that the router "
                  "likes best)")
      ->check(CLI::IsMember({"wait", "low-bit", "next-best"}))
      ->needs(memory);
  command
      .add_option("--low-bit", options.low_bit,
                  "The same model in fewer bits (cadre quantize): its experts stay in memory and "
                  "stand in for those that are not there; not exact")
      ->needs(memory);
  command
      .add_option("--miss-wait", options.miss_wait_ms,
                  "Milliseconds that reading an expert may take for each token that needs it; more "
                  "is not waited for, but with --on-miss wait")
      ->check(AtLeast(0))
      ->needs(memory)
      ->capture_default_str();
  command
      .add_option("--miss-gate", options.miss_gate,
                  "Most weight that an expert may have for a token to do without it; 1: any")
      ->check(CLI::Range(0.0, 1.0))
      ->needs(memory)
      ->capture_default_str();
}

}  // namespace

CLI::Validator AtLeast(double least) { return More(least, true); }
CLI::Validator MoreThan(double least) { return More(least, false); }

void AddSharedOptions(CLI::App& command, SharedOptions& options) {
  command
      .add_option("--threads", options.threads,
                  "Threads to compute with; 0: as many as the machine has")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command
      .add_option(
          "--isa", options.isa,
          "Instruction set: scalar, avx2, avx512bw, avx512 or amx; default: the best there is")
      ->check(CLI::IsMember({"scalar", "avx2", "avx512bw", "avx512", "amx"}));
  command.add_option("--seed", options.seed, "Seed of everything random")->capture_default_str();
  command.add_option("--log-level", options.log_level, "trace, debug, info, warn, error or off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
}

void AddModelOptions(CLI::App& command, ModelOptions& options) {
  command.add_option("--kv", options.kv, "Type of cached keys and values: f32, f16, bf16 or q8")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "q8"}))
      ->capture_default_str();
  command
      .add_option(
          "--activations", options.activations,
          "f32: exact; auto: rounded where they meet quantised weights (8 bits) or BF16, which "
          "is faster")
      ->check(CLI::IsMember({"f32", "auto"}))
      ->capture_default_str();
  command
      .add_option("--context", options.context,
                  "Tokens of prompt and answer together; 0: what the model states")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30))
      ->capture_default_str();
  command
      .add_option("--experts", options.experts, "Experts per token; 0: as the model was trained")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20))
      ->capture_default_str();
  command.add_option("--lora", options.lora,
                     "A folder of low-rank adapters (cadre sft, PEFT) to run beside the weights");
  command.add_flag("--no-pack", options.no_pack,
                   "Use the weights as they lie in the file: starts at once, computes more slowly");
}

void AddMemoryOptions(CLI::App& command, ModelOptions& options) {
  auto* memory =
      command
          .add_option(
              "--memory", options.memory,
              "Most memory to use for everything, as 8G: experts that have no room are read "
              "from the file when they are needed; the results are the same")
          ->transform(CLI::AsSizeValue(true))
          ->check(CLI::PositiveNumber);
  command
      .add_option("--expert-cache", options.cache,
                  "Which expert goes when another comes: lru (not used for the longest) or "
                  "frequency (least used of late)")
      ->check(CLI::IsMember({"lru", "frequency"}))
      ->needs(memory)
      ->capture_default_str();
  command
      .add_option("--expert-guesses", options.guesses,
                  "Experts of the next layer to read ahead while the disk is idle; 0: none")
      ->check(CLI::Range(int64_t{0}, int64_t{64}))
      ->needs(memory)
      ->capture_default_str();
  AddMissOptions(command, memory, options);
}

MissPolicy ModelOptions::Misses() const {
  if (on_miss == "low-bit" && low_bit.empty())
    throw CLI::ValidationError("--on-miss", "low-bit needs --low-bit FILE");
  if (!on_miss.empty() && on_miss != "low-bit" && !low_bit.empty())
    throw CLI::ValidationError("--low-bit", "means nothing with --on-miss " + on_miss);
  return {.on_miss = !low_bit.empty()         ? OnMiss::kLowBit
                     : on_miss == "next-best" ? OnMiss::kNextBest
                                              : OnMiss::kWait,
          .most_wait_s = miss_wait_ms * 1e-3,
          .most_gate = static_cast<float>(miss_gate)};
}

SequenceConfig ModelOptions::Sequence() const {
  SequenceConfig config;
  config.activation = activations == "f32" ? ActivationType::kF32 : ActivationType::kRounded;
  config.kv_type = kv == "f32"    ? KvType::kF32
                   : kv == "bf16" ? KvType::kBF16
                   : kv == "q8"   ? KvType::kQ8
                                  : KvType::kF16;
  return config;
}

void AddSamplerOptions(CLI::App& command, SamplerConfig& config) {
  command
      .add_option("--temperature", config.temperature,
                  "0: always the likeliest token; 1: as the model says")
      ->check(AtLeast(0))
      ->capture_default_str();
  command.add_option("--top-k", config.top_k, "Keep the k likeliest tokens; 0: all")
      ->check(AtLeast(0))
      ->capture_default_str();
  command
      .add_option("--top-p", config.top_p,
                  "Keep the likeliest tokens until their probabilities reach p")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--min-p", config.min_p,
                  "Keep tokens at least this fraction as likely as the likeliest")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command
      .add_option("--repeat-penalty", config.repeat_penalty,
                  "More than 1: avoid the last 64 tokens")
      ->check(MoreThan(0))
      ->capture_default_str();
  command
      .add_option("--presence-penalty", config.presence_penalty,
                  "Subtracted from logits of tokens already generated")
      ->capture_default_str();
  command
      .add_option("--frequency-penalty", config.frequency_penalty,
                  "The same, once per time they were generated")
      ->capture_default_str();
}

void AddModel(CLI::App& command, std::string& model) {
  command
      .add_option("MODEL", model,
                  "A Hugging Face folder, a .gguf file, or the name of a bundled model")
      ->required();
}

void AddJson(CLI::App& command, bool& json) {
  command.add_flag("--json", json, "Print one JSON object and nothing else");
}

std::vector<int32_t> ParseIds(const std::string& text) {
  std::vector<int32_t> ids;
  constexpr const char* kSeparators = " ,\t\r\n";
  size_t begin = text.find_first_not_of(kSeparators);
  while (begin != std::string::npos) {
    const size_t end = std::min(text.find_first_of(kSeparators, begin), text.size());
    int32_t id = 0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, id);
    if (error != std::errc() || stop != text.data() + end) {
      throw Error("token id is '{}' but must be a whole number below 2^31",
                  Printable(std::string_view(text).substr(begin, end - begin)));
    }
    ids.push_back(id);
    begin = text.find_first_not_of(kSeparators, end);
  }
  return ids;
}

}  // namespace cadre
