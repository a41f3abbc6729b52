#include "text/tokenizer_trainer.h"

#include <sentencepiece_trainer.h>

#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "text/sentencepiece_model.h"
#include "text/utf8.h"

namespace cadre {
namespace {

constexpr int32_t kMinVocabSize = 300;  // 3 named pieces, 256 bytes and some text
constexpr int32_t kMaxVocabSize = 1 << 18;
constexpr size_t kMaxSentenceBytes =
    4096;  // below the trainer's own limit, over which it drops a sentence silently
constexpr uint64_t kSampleStream = 0x746F6B656E;

// The trainer drops every sentence that holds one of these: its own markers (tab, U+2585) and zero
// bytes. Newlines end sentences so that they stay byte tokens.
bool EndsSentence(uint32_t code_point) {
  return code_point == '\n' || code_point == '\t' || code_point == '\0' || code_point == 0x2585;
}

// Sentences of one document, as views: cut at line ends, at characters the trainer cannot take and
// at invalid bytes; a longer one also at the last space below the limit.
template <typename Take>
void SplitSentences(std::string_view document, const Take& take) {
  size_t begin = 0;
  size_t last_space = 0;  // where the next word begins; not after `begin` when there is none
  size_t at = 0;
  const auto cut = [&](size_t end) {
    if (end > begin) take(document.substr(begin, end - begin));
    begin = end;
  };
  while (at < document.size()) {
    const Utf8Step step = DecodeUtf8(document.substr(at));
    if (step.status != Utf8Status::kValid || EndsSentence(step.code_point)) {
      cut(at);
      at += step.num_bytes;
      begin = at;
      continue;
    }
    if (at + step.num_bytes - begin > kMaxSentenceBytes) cut(last_space > begin ? last_space : at);
    if (step.code_point == ' ') last_space = at;
    at += step.num_bytes;
  }
  cut(document.size());
}

std::vector<std::string_view> DrawSentences(std::span<const std::string> documents,
                                            const TokenizerTrainerConfig& config) {
  size_t total_bytes = 0;
  for (const std::string& document : documents) total_bytes += document.size();
  const double share = total_bytes == 0 ? 1.0
                                        : static_cast<double>(config.max_input_bytes) /
                                              static_cast<double>(total_bytes);
  Random random(config.seed, kSampleStream);
  std::vector<std::string_view> sentences;
  for (const std::string& document : documents) {
    SplitSentences(document, [&](std::string_view sentence) {
      if (share >= 1.0 || random.NextDouble() < share) sentences.push_back(sentence);
    });
  }
  return sentences;
}

class SentenceList final : public sentencepiece::SentenceIterator {
 public:
  explicit SentenceList(std::span<const std::string_view> sentences) : sentences_(sentences) {
    Load();
  }

  bool done() const override { return index_ >= sentences_.size(); }
  void Next() override {
    ++index_;
    Load();
  }
  const std::string& value() const override { return value_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void Load() {
    if (!done()) value_.assign(sentences_[index_]);
  }

  std::span<const std::string_view> sentences_;
  size_t index_ = 0;
  std::string value_;
};

std::unordered_map<std::string, std::string> LibrarySettings(const TokenizerTrainerConfig& config) {
  return {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(config.vocab_size)},
      {"character_coverage", fmt::format("{}", config.character_coverage)},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"allow_whitespace_only_pieces", "true"},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "true"},
      {"remove_extra_whitespaces", "false"},
      {"max_sentence_length", std::to_string(2 * kMaxSentenceBytes)},
      {"max_sentencepiece_length", "16"},
      {"num_threads", std::to_string(config.num_threads)},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"minloglevel", "2"},
  };
}

}  // namespace

Vocabulary TrainTokenizer(std::span<const std::string> documents,
                          const TokenizerTrainerConfig& config) {
  if (config.vocab_size < kMinVocabSize || config.vocab_size > kMaxVocabSize) {
    throw Error("tokenizer training: vocab_size is {} but must be from {} to {}", config.vocab_size,
                kMinVocabSize, kMaxVocabSize);
  }
  if (!(config.character_coverage > 0.9 && config.character_coverage <= 1.0)) {
    throw Error("tokenizer training: character_coverage is {} but must be over 0.9, up to 1",
                config.character_coverage);
  }
  if (config.num_threads < 1 || config.num_threads > 1024) {
    throw Error("tokenizer training: num_threads is {} but must be from 1 to 1024",
                config.num_threads);
  }
  const std::vector<std::string_view> sentences = DrawSentences(documents, config);
  if (sentences.empty()) throw Error("tokenizer training: there is no text to learn from");
  SentenceList list(sentences);
  std::string model;
  const auto status =
      sentencepiece::SentencePieceTrainer::Train(LibrarySettings(config), &list, &model);
  if (!status.ok()) {
    throw Error("tokenizer training: sentencepiece cannot make {} pieces from {} sentences: {}",
                config.vocab_size, sentences.size(), Printable(status.ToString(), 300));
  }
  const std::span<const char> bytes(model);
  return ReadSentencePieceModel(std::as_bytes(bytes), "the trained tokenizer");
}

}  // namespace cadre
