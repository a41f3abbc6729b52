// The pieces of a tokenizer and how text becomes them, whatever file they came from. One struct for
// sentencepiece models, tokenizer.json and GGUF metadata. Refuses what sentencepiece BPE cannot
// mean: duplicates, half a set of byte pieces, pieces that are not UTF-8, ids out of range.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cadre {

inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581, a space inside pieces

// Numbered as in sentencepiece models and in GGUF's tokenizer.ggml.token_type.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // no text makes it, it decodes to nothing
  kUserDefined = 4,  // matched in text before all merges
  kUnused = 5,       // keeps its id, is never produced
  kByte = 6,         // "<0x0A>"
};

struct Piece {
  std::string text;  // UTF-8, spaces as U+2581
  float score = 0;   // the adjacent pair whose piece scores highest merges first
  PieceType type = PieceType::kNormal;
};

struct Vocabulary {
  static constexpr size_t kMaxPieces = size_t{1} << 20;
  static constexpr size_t kMaxPieceBytes = 1024;

  std::vector<Piece> pieces;
  int32_t unk_id = -1;  // -1: there is none; required of a vocabulary that is to encode
  int32_t bos_id = -1;
  int32_t eos_id = -1;
  int32_t pad_id = -1;
  bool add_bos = true;  // what callers shall put around a prompt; encoding itself adds neither
  bool add_eos = false;
  bool add_dummy_prefix = true;           // a space goes before every text that is not empty
  bool remove_extra_whitespaces = false;  // trims spaces and joins runs of them before encoding
  std::string unk_surface = " \xE2\x81\x87 ";

  int32_t size() const { return static_cast<int32_t>(pieces.size()); }
  bool HasBytePieces() const;
};

// The byte of "<0xHH>" (two upper-case hexadecimal digits), or nothing.
std::optional<uint8_t> ByteOfPiece(std::string_view text);
// "<0xHH>".
std::string PieceOfByte(uint8_t byte);

// Throws Error("{name}: ...") at the first thing that is wrong.
void ValidateVocabulary(const Vocabulary& vocabulary, const std::string& name);

// Mistral's instruct vocabularies (32768 pieces and more, with [INST] and [/INST]) reserve names
// such as [INST], [TOOL_CALLS], [control_8] for the program. Some conversions mark them as text,
// which would let users forge them; this makes them control pieces whatever the file says.
void ReserveInstructNames(Vocabulary& vocabulary);

// What GGUF metadata holds, as plain arrays of equal length V; ids are -1 where the file has none.
struct VocabularyArrays {
  std::span<const std::string_view> pieces;
  std::span<const float> scores;
  std::span<const int32_t> types;
  int64_t unk_id = 0;
  int64_t bos_id = 1;
  int64_t eos_id = 2;
  int64_t pad_id = -1;
  bool add_bos = true;
  bool add_eos = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = false;
};

// A checked vocabulary. BOS, EOS and the reserved instruct names become control pieces whatever
// their type says. Throws Error("{name}: ...").
Vocabulary VocabularyFromArrays(const VocabularyArrays& arrays, const std::string& name);

}  // namespace cadre
