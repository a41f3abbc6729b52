#include "align/preference_data.h"

#include <algorithm>

#include "align/base_model.h"
#include "align/held_back.h"
#include "base/digest.h"

namespace cadre {
namespace {

// Tokens before the first that is learnt.
size_t PromptTokens(const Sample& sample) {
  return static_cast<size_t>(std::find(sample.trained.begin(), sample.trained.end(), 1) -
                             sample.trained.begin());
}

void Erase(Sample& sample, size_t begin, size_t end) {
  const auto cut = [&](auto& values) {
    values.erase(values.begin() + static_cast<std::ptrdiff_t>(begin),
                 values.begin() + static_cast<std::ptrdiff_t>(end));
  };
  cut(sample.tokens);
  cut(sample.trained);
}

void CutPrompt(Sample& sample, const PairLimits& limits) {
  const size_t tokens = PromptTokens(sample);
  const auto most = static_cast<size_t>(limits.max_prompt_tokens);
  if (tokens <= most) return;
  const bool keep_end = limits.long_prompt == PairLimits::Prompt::kKeepEnd;
  Erase(sample, keep_end ? 1 : most, keep_end ? 1 + tokens - most : tokens);
}

bool IsTooLong(const Pair& pair, const PairLimits& limits) {
  return std::ssize(pair.chosen.tokens) > limits.max_tokens ||
         std::ssize(pair.rejected.tokens) > limits.max_tokens;
}

void CutAnswer(Sample& sample, const PairLimits& limits) {
  const auto most =
      static_cast<int64_t>(PromptTokens(sample)) + limits.max_tokens - limits.max_prompt_tokens;
  CutEnd(sample, most);
}

struct FittedPair {
  Pair pair;
  Fit fit = Fit::kWhole;
};

FittedPair EncodePair(const PreferenceLine& line, const PairLimits& limits, const ChatText& text,
                      const std::string& name) {
  FittedPair fitted;
  fitted.pair.chosen = EncodeSample(line.chosen, text, name);
  fitted.pair.rejected = EncodeSample(line.rejected, text, name);
  fitted.fit = FitPair(fitted.pair, limits);
  return fitted;
}

}  // namespace

Fit FitPair(Pair& pair, const PairLimits& limits) {
  constexpr int64_t kNoLimit = int64_t{1} << 40;
  for (Sample* sample : {&pair.chosen, &pair.rejected}) CutEnd(*sample, kNoLimit);
  Fit fit = Fit::kWhole;
  if (IsTooLong(pair, limits)) {
    if (limits.long_prompt == PairLimits::Prompt::kDropPair) return Fit::kUnusable;
    fit = Fit::kCut;
    for (Sample* sample : {&pair.chosen, &pair.rejected}) CutPrompt(*sample, limits);
    if (IsTooLong(pair, limits)) {
      for (Sample* sample : {&pair.chosen, &pair.rejected}) CutAnswer(*sample, limits);
    }
  }
  const bool usable = pair.chosen.CountTrained() > 0 && pair.rejected.CountTrained() > 0 &&
                      pair.chosen.tokens != pair.rejected.tokens;
  return usable ? fit : Fit::kUnusable;
}

std::vector<PreferenceSource> ReadPreferences(const std::vector<DataSource>& sources,
                                              const DpoConfig& config, double held_back,
                                              const ChatText& text, ThreadPool& threads) {
  std::vector<PreferenceSource> read;
  for (const auto& source : sources) {
    PreferenceSource& to = read.emplace_back();
    to.name = source.name;
    to.weight = source.weight;
    EncodeLines<FittedPair>(
        PathsOf(source, config.data_folder), config.skip_bad_lines, threads, to.counts,
        [&](const OrderedJson& line, const std::string& name) {
          return EncodePair(ParsePreferenceLine(line, config.strings, name), config.limits, text,
                            name);
        },
        [&](FittedPair&& fitted) {
          to.counts.unusable += fitted.fit == Fit::kUnusable;
          to.counts.cut += fitted.fit == Fit::kCut;
          if (fitted.fit == Fit::kUnusable) return;
          const bool held = IsHeldBack(fitted.pair.chosen.Prompt(), held_back);
          (held ? to.held_back : to.train).push_back(std::move(fitted.pair));
        });
    if (to.train.empty()) throw Error("{}: holds no pair to learn from", source.files.front());
    log::info("{}: {} pairs, {} held back, {} cut, {} of which nothing is left, {} bad lines",
              to.name, to.train.size(), to.held_back.size(), to.counts.cut, to.counts.unusable,
              to.counts.bad);
  }
  return read;
}

std::string HashPairs(const std::vector<const Pair*>& pairs) {
  Digest digest(DigestKind::kSha256, 0);
  for (const Pair* pair : pairs) {
    for (const Sample* sample : {&pair->chosen, &pair->rejected}) {
      const uint64_t size = sample->tokens.size();
      digest.Add(std::as_bytes(std::span(&size, 1)));
      digest.Add(std::as_bytes(std::span(sample->tokens)));
      digest.Add(std::as_bytes(std::span(sample->trained)));
    }
  }
  return digest.Finish();
}

}  // namespace cadre
