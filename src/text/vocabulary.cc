#include "text/vocabulary.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "text/utf8.h"

namespace cadre {
namespace {

constexpr size_t kMinInstructPieces = 32768;

bool IsReservedInstructName(std::string_view text) {
  static constexpr std::array<std::string_view, 11> kNames = {"[INST]",
                                                              "[/INST]",
                                                              "[TOOL_CALLS]",
                                                              "[AVAILABLE_TOOLS]",
                                                              "[/AVAILABLE_TOOLS]",
                                                              "[TOOL_RESULTS]",
                                                              "[/TOOL_RESULTS]",
                                                              "[IMG]",
                                                              "[PREFIX]",
                                                              "[MIDDLE]",
                                                              "[SUFFIX]"};
  for (const std::string_view name : kNames) {
    if (text == name) return true;
  }
  constexpr std::string_view kStart = "[control_";
  if (!text.starts_with(kStart) || !text.ends_with("]") || text.size() < kStart.size() + 2)
    return false;
  const std::string_view digits = text.substr(kStart.size(), text.size() - kStart.size() - 1);
  return digits.find_first_not_of("0123456789") == std::string_view::npos;
}

void CheckPiece(const Piece& piece, size_t id, const std::string& name) {
  if (piece.text.empty()) throw Error("{}: piece {} is empty but must be text", name, id);
  if (piece.text.size() > Vocabulary::kMaxPieceBytes) {
    throw Error("{}: piece {} has {} bytes but at most {} are allowed", name, id, piece.text.size(),
                Vocabulary::kMaxPieceBytes);
  }
  if (!IsValidUtf8(piece.text) || piece.text.find('\0') != std::string::npos) {
    throw Error("{}: piece {} is '{}' but must be UTF-8 without zero bytes", name, id,
                Printable(piece.text));
  }
  if (!std::isfinite(piece.score)) {
    throw Error("{}: the score of piece {} is {} but must be finite", name, id, piece.score);
  }
  const auto type = static_cast<int>(piece.type);
  if (type < 1 || type > 6)
    throw Error("{}: the type of piece {} is {} but must be from 1 to 6", name, id, type);
  if (piece.type == PieceType::kByte && !ByteOfPiece(piece.text)) {
    throw Error("{}: byte piece {} is '{}' but must be written <0xHH>", name, id,
                Printable(piece.text));
  }
}

void CheckId(const char* what, int32_t id, size_t num_pieces, const std::string& name) {
  if (id < -1 || (id >= 0 && static_cast<size_t>(id) >= num_pieces)) {
    throw Error("{}: the {} id is {} but there are {} pieces", name, what, id, num_pieces);
  }
}

int32_t NarrowId(const char* what, int64_t id, size_t num_pieces, const std::string& name) {
  if (id < -1 || id >= static_cast<int64_t>(num_pieces)) {
    throw Error("{}: the {} id is {} but there are {} pieces", name, what, id, num_pieces);
  }
  return static_cast<int32_t>(id);
}

// Spaces inside pieces that text can produce are U+2581 here; converters leave plain ones in added
// pieces.
std::string WithSpaceSymbols(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ') {
      out += kSpaceSymbol;
    } else {
      out.push_back(c);
    }
  }
  return out;
}

void MakeControl(Vocabulary& vocabulary, int32_t id) {
  if (id < 0) return;
  PieceType& type = vocabulary.pieces[static_cast<size_t>(id)].type;
  if (type == PieceType::kNormal || type == PieceType::kUserDefined) type = PieceType::kControl;
}

}  // namespace

bool Vocabulary::HasBytePieces() const {
  for (const Piece& piece : pieces) {
    if (piece.type == PieceType::kByte) return true;
  }
  return false;
}

std::optional<uint8_t> ByteOfPiece(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : text.substr(3, 2)) {
    if (c >= '0' && c <= '9') {
      value = value * 16 + static_cast<unsigned>(c - '0');
    } else if (c >= 'A' && c <= 'F') {
      value = value * 16 + static_cast<unsigned>(c - 'A' + 10);
    } else {
      return std::nullopt;
    }
  }
  return static_cast<uint8_t>(value);
}

std::string PieceOfByte(uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

void ValidateVocabulary(const Vocabulary& vocabulary, const std::string& name) {
  const std::vector<Piece>& pieces = vocabulary.pieces;
  if (pieces.empty() || pieces.size() > Vocabulary::kMaxPieces) {
    throw Error("{}: the vocabulary has {} pieces but must have from 1 to {}", name, pieces.size(),
                Vocabulary::kMaxPieces);
  }
  std::unordered_map<std::string_view, size_t> id_of;
  id_of.reserve(pieces.size());
  size_t num_bytes = 0;
  for (size_t id = 0; id < pieces.size(); ++id) {
    CheckPiece(pieces[id], id, name);
    const auto [first, is_new] = id_of.emplace(pieces[id].text, id);
    if (!is_new) {
      throw Error("{}: pieces {} and {} are both '{}' but must differ", name, first->second, id,
                  Printable(pieces[id].text));
    }
    if (pieces[id].type == PieceType::kByte) ++num_bytes;
    if (pieces[id].type == PieceType::kUnknown && static_cast<int64_t>(id) != vocabulary.unk_id) {
      throw Error("{}: piece {} is marked unknown but the unknown id is {}", name, id,
                  vocabulary.unk_id);
    }
  }
  if (num_bytes != 0 && num_bytes != 256) {
    throw Error("{}: the vocabulary has {} byte pieces but must have all 256 or none", name,
                num_bytes);
  }
  CheckId("unknown", vocabulary.unk_id, pieces.size(), name);
  CheckId("BOS", vocabulary.bos_id, pieces.size(), name);
  CheckId("EOS", vocabulary.eos_id, pieces.size(), name);
  CheckId("padding", vocabulary.pad_id, pieces.size(), name);
  if (vocabulary.unk_id < 0 ||
      pieces[static_cast<size_t>(vocabulary.unk_id)].type != PieceType::kUnknown) {
    throw Error("{}: no piece is marked unknown but one must be", name);
  }
  if (!IsValidUtf8(vocabulary.unk_surface))
    throw Error("{}: the unknown surface is not UTF-8", name);
}

void ReserveInstructNames(Vocabulary& vocabulary) {
  if (vocabulary.pieces.size() < kMinInstructPieces) return;
  bool has_begin = false;
  bool has_end = false;
  for (const Piece& piece : vocabulary.pieces) {
    has_begin = has_begin || piece.text == "[INST]";
    has_end = has_end || piece.text == "[/INST]";
  }
  if (!has_begin || !has_end) return;
  for (Piece& piece : vocabulary.pieces) {
    const bool is_text = piece.type == PieceType::kNormal || piece.type == PieceType::kUserDefined;
    if (is_text && IsReservedInstructName(piece.text)) piece.type = PieceType::kControl;
  }
}

Vocabulary VocabularyFromArrays(const VocabularyArrays& arrays, const std::string& name) {
  const size_t num_pieces = arrays.pieces.size();
  if (num_pieces > Vocabulary::kMaxPieces) {
    throw Error("{}: the vocabulary has {} pieces but at most {} are allowed", name, num_pieces,
                Vocabulary::kMaxPieces);
  }
  if (arrays.scores.size() != num_pieces || arrays.types.size() != num_pieces) {
    throw Error("{}: {} pieces have {} scores and {} types but must have one of each", name,
                num_pieces, arrays.scores.size(), arrays.types.size());
  }
  Vocabulary vocabulary;
  vocabulary.pieces.reserve(num_pieces);
  for (size_t id = 0; id < num_pieces; ++id) {
    const int32_t type = arrays.types[id];
    if (type < 1 || type > 6)
      throw Error("{}: the type of piece {} is {} but must be from 1 to 6", name, id, type);
    const auto piece_type = static_cast<PieceType>(type);
    const bool is_text = piece_type == PieceType::kNormal || piece_type == PieceType::kUserDefined;
    vocabulary.pieces.push_back(
        {is_text ? WithSpaceSymbols(arrays.pieces[id]) : std::string(arrays.pieces[id]),
         arrays.scores[id], piece_type});
  }
  vocabulary.unk_id = NarrowId("unknown", arrays.unk_id, num_pieces, name);
  vocabulary.bos_id = NarrowId("BOS", arrays.bos_id, num_pieces, name);
  vocabulary.eos_id = NarrowId("EOS", arrays.eos_id, num_pieces, name);
  vocabulary.pad_id = NarrowId("padding", arrays.pad_id, num_pieces, name);
  vocabulary.add_bos = arrays.add_bos;
  vocabulary.add_eos = arrays.add_eos;
  vocabulary.add_dummy_prefix = arrays.add_dummy_prefix;
  vocabulary.remove_extra_whitespaces = arrays.remove_extra_whitespaces;
  // The id says more than the type byte: converters write <unk> as control or as text.
  if (vocabulary.unk_id >= 0)
    vocabulary.pieces[static_cast<size_t>(vocabulary.unk_id)].type = PieceType::kUnknown;
  MakeControl(vocabulary, vocabulary.bos_id);
  MakeControl(vocabulary, vocabulary.eos_id);
  ReserveInstructNames(vocabulary);
  ValidateVocabulary(vocabulary, name);
  return vocabulary;
}

}  // namespace cadre
