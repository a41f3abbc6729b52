// Text to token ids and back, for sentencepiece BPE vocabularies. The sentencepiece library does
// the merges, on a clean model built from our checked vocabulary; decoding is ours. Never puts BOS
// or EOS around text, and no text, whatever it spells, becomes a control token.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "text/vocabulary.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace cadre {

enum class DummyPrefix : uint8_t {
  kAsVocabulary,  // one space before the text, where the vocabulary says so
  kNone,          // the text continues another
};

// Immutable after construction: any number of threads may use one.
class Tokenizer {
 public:
  // Throws Error("{name}: ...") for a vocabulary that is not valid.
  Tokenizer(Vocabulary vocabulary, const std::string& name);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Ids of `text`, without BOS and EOS; none for an empty text. Bytes that are no UTF-8 become
  // U+FFFD first. Time is n log n; a stretch of more than 256 KiB that offers no place where the
  // vocabulary cannot merge is cut, which is the only way in which a long text differs from
  // sentencepiece's ids.
  std::vector<int32_t> Encode(std::string_view text,
                              DummyPrefix prefix = DummyPrefix::kAsVocabulary) const;

  // The text of `ids`: control pieces are nothing, bytes are joined, one U+FFFD stands for each
  // byte that makes no character, and one leading space goes if the first piece that is not control
  // begins with it. Throws Error for an id out of range.
  std::string Decode(const std::vector<int32_t>& ids) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  int32_t vocab_size() const { return vocabulary_.size(); }
  int32_t bos_id() const { return vocabulary_.bos_id; }
  int32_t eos_id() const { return vocabulary_.eos_id; }

  // The piece as the vocabulary spells it. These throw Error for an id out of range.
  const std::string& PieceText(int32_t id) const { return PieceAt(id).text; }
  // The bytes it decodes to, its leading space kept: nothing for control, one byte for "<0xHH>".
  std::string PieceBytes(int32_t id) const;
  bool IsControl(int32_t id) const { return PieceAt(id).type == PieceType::kControl; }
  bool IsByte(int32_t id) const { return PieceAt(id).type == PieceType::kByte; }
  // The id of the piece spelt so.
  std::optional<int32_t> FindPiece(std::string_view text) const;

 private:
  const Piece& PieceAt(int32_t id) const;
  void IndexPieces();
  void LoadLibrary(const std::string& name);
  size_t MatchUserDefined(std::string_view text, int32_t& id) const;
  size_t WordEnd(std::string_view text) const;
  void EncodeRun(std::string_view text, std::vector<int32_t>& ids) const;
  std::vector<int32_t> EncodeWord(std::string_view word) const;
  void AppendWord(const std::vector<int32_t>& word, std::vector<int32_t>& ids) const;

  Vocabulary vocabulary_;
  std::unordered_map<std::string_view, int32_t>
      id_of_;                            // views into vocabulary_.pieces, which never changes
  std::unordered_set<uint64_t> joined_;  // code points that stand side by side in some piece
  std::unordered_map<uint64_t, uint32_t> user_trie_;  // (node, byte) -> node; node 0 is the root
  std::vector<int32_t> user_trie_id_;  // the user-defined piece that ends at a node, or -1
  std::unique_ptr<sentencepiece::SentencePieceProcessor> library_;
};

}  // namespace cadre
