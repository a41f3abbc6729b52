#include "text/sentencepiece_model.h"

#include <bit>

#include "base/byte_reader.h"
#include "base/error.h"
#include "text/protobuf_wire.h"

namespace cadre {
namespace {

using protobuf::Field;
using protobuf::PutFloat;
using protobuf::PutId;
using protobuf::PutNumber;
using protobuf::PutText;
using protobuf::ReadField;
using protobuf::WireType;

// Field numbers of sentencepiece_model.proto.
enum ModelField : uint32_t {
  kPieces = 1,
  kTrainerSpec = 2,
  kNormalizerSpec = 3,
  kDenormalizerSpec = 5
};
enum PieceField : uint32_t { kPieceText = 1, kPieceScore = 2, kPieceKind = 3 };
enum TrainerField : uint32_t {
  kModelType = 3,
  kVocabSize = 4,
  kWhitespaceAsSuffix = 24,
  kSplitDigits = 25,
  kByteFallback = 35,
  kUnkId = 40,
  kBosId = 41,
  kEosId = 42,
  kPadId = 43,
  kUnkSurface = 44,
  kUnkPiece = 45,
  kBosPiece = 46,
  kEosPiece = 47,
  kPadPiece = 48,
};
enum NormalizerField : uint32_t {
  kNormalizerName = 1,
  kCharsMap = 2,
  kAddDummyPrefix = 3,
  kRemoveExtraWhitespaces = 4,
  kEscapeWhitespaces = 5,
};
constexpr uint64_t kModelTypeBpe = 2;

void Expect(const Field& field, WireType wire_type, const char* what, const std::string& name) {
  if (field.wire_type != wire_type) {
    throw Error("{}: {} has wire type {} but must have {}", name, what,
                static_cast<uint32_t>(field.wire_type), static_cast<uint32_t>(wire_type));
  }
}

std::string Text(const Field& field, const char* what, const std::string& name) {
  Expect(field, WireType::kBytes, what, name);
  if (field.bytes.size() > Vocabulary::kMaxPieceBytes) {
    throw Error("{}: {} has {} bytes but at most {} are allowed", name, what, field.bytes.size(),
                Vocabulary::kMaxPieceBytes);
  }
  return {reinterpret_cast<const char*>(field.bytes.data()), field.bytes.size()};
}

uint64_t Number(const Field& field, const char* what, const std::string& name) {
  Expect(field, WireType::kVarint, what, name);
  return field.number_value;
}

Piece ReadPiece(std::span<const std::byte> bytes, const std::string& name) {
  ByteReader reader(bytes, name);
  Piece piece;
  while (reader.remaining() > 0) {
    const Field field = ReadField(reader);
    if (field.number == kPieceText) piece.text = Text(field, "a piece", name);
    if (field.number == kPieceScore) {
      Expect(field, WireType::kFixed32, "a score", name);
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(field.number_value));
    }
    if (field.number == kPieceKind) {
      const uint64_t type = Number(field, "a piece's type", name);
      if (type < 1 || type > 6)
        throw Error("{}: a piece's type is {} but must be from 1 to 6", name, type);
      piece.type = static_cast<PieceType>(type);
    }
  }
  return piece;
}

struct TrainerSpec {
  uint64_t model_type = 1;  // unigram, the format's default
  bool whitespace_as_suffix = false;
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";
  std::string pad_piece = "<pad>";
  std::string unk_surface = " \xE2\x81\x87 ";
};

void ReadTrainerSpec(std::span<const std::byte> bytes, const std::string& name, TrainerSpec& spec) {
  ByteReader reader(bytes, name);
  while (reader.remaining() > 0) {
    const Field field = ReadField(reader);
    switch (field.number) {
      case kModelType:
        spec.model_type = Number(field, "model_type", name);
        break;
      case kWhitespaceAsSuffix:
        spec.whitespace_as_suffix = Number(field, "treat_whitespace_as_suffix", name) != 0;
        break;
      case kUnkSurface:
        spec.unk_surface = Text(field, "unk_surface", name);
        break;
      case kBosPiece:
        spec.bos_piece = Text(field, "bos_piece", name);
        break;
      case kEosPiece:
        spec.eos_piece = Text(field, "eos_piece", name);
        break;
      case kPadPiece:
        spec.pad_piece = Text(field, "pad_piece", name);
        break;
      default:
        break;
    }
  }
}

struct NormalizerSpec {
  uint64_t charsmap_bytes = 0;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

void ReadNormalizerSpec(std::span<const std::byte> bytes, const std::string& name,
                        NormalizerSpec& spec) {
  ByteReader reader(bytes, name);
  while (reader.remaining() > 0) {
    const Field field = ReadField(reader);
    switch (field.number) {
      case kCharsMap:
        Expect(field, WireType::kBytes, "precompiled_charsmap", name);
        spec.charsmap_bytes = field.bytes.size();
        break;
      case kAddDummyPrefix:
        spec.add_dummy_prefix = Number(field, "add_dummy_prefix", name) != 0;
        break;
      case kRemoveExtraWhitespaces:
        spec.remove_extra_whitespaces = Number(field, "remove_extra_whitespaces", name) != 0;
        break;
      case kEscapeWhitespaces:
        spec.escape_whitespaces = Number(field, "escape_whitespaces", name) != 0;
        break;
      default:
        break;
    }
  }
}

void RefuseUnsupported(const TrainerSpec& trainer, const NormalizerSpec& normalizer,
                       const NormalizerSpec& denormalizer, const std::string& name) {
  if (trainer.model_type != kModelTypeBpe) {
    throw Error("{}: the sentencepiece model type is {} but must be {} (BPE)", name,
                trainer.model_type, kModelTypeBpe);
  }
  if (trainer.whitespace_as_suffix)
    throw Error("{}: treat_whitespace_as_suffix is true but must be false", name);
  if (!normalizer.escape_whitespaces)
    throw Error("{}: escape_whitespaces is false but must be true", name);
  if (normalizer.charsmap_bytes != 0 || denormalizer.charsmap_bytes != 0) {
    throw Error("{}: the model normalises text with a map of {} bytes but must be 'identity'", name,
                normalizer.charsmap_bytes + denormalizer.charsmap_bytes);
  }
}

int32_t FindOfType(const std::vector<Piece>& pieces, std::string_view text, PieceType type) {
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].type == type && pieces[id].text == text) return static_cast<int32_t>(id);
  }
  return -1;
}

int32_t FirstUnknown(const std::vector<Piece>& pieces) {
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].type == PieceType::kUnknown) return static_cast<int32_t>(id);
  }
  return -1;
}

std::string SerializedTrainerSpec(const Vocabulary& vocabulary) {
  std::string out;
  PutNumber(out, kModelType, kModelTypeBpe);
  PutNumber(out, kVocabSize, vocabulary.pieces.size());
  PutNumber(out, kSplitDigits, 1);
  PutNumber(out, kByteFallback, vocabulary.HasBytePieces() ? 1 : 0);
  PutId(out, kUnkId, vocabulary.unk_id);
  PutId(out, kBosId, vocabulary.bos_id);
  PutId(out, kEosId, vocabulary.eos_id);
  PutId(out, kPadId, vocabulary.pad_id);
  PutText(out, kUnkSurface, vocabulary.unk_surface);
  const auto put_piece = [&](uint32_t field, int32_t id) {
    if (id >= 0) PutText(out, field, vocabulary.pieces[static_cast<size_t>(id)].text);
  };
  put_piece(kUnkPiece, vocabulary.unk_id);
  put_piece(kBosPiece, vocabulary.bos_id);
  put_piece(kEosPiece, vocabulary.eos_id);
  put_piece(kPadPiece, vocabulary.pad_id);
  return out;
}

}  // namespace

Vocabulary ReadSentencePieceModel(std::span<const std::byte> bytes, const std::string& name) {
  Vocabulary vocabulary;
  TrainerSpec trainer;
  NormalizerSpec normalizer;
  NormalizerSpec denormalizer;
  ByteReader reader(bytes, name);
  while (reader.remaining() > 0) {
    const Field field = ReadField(reader);
    if (field.number != kPieces && field.number != kTrainerSpec &&
        field.number != kNormalizerSpec && field.number != kDenormalizerSpec) {
      continue;
    }
    Expect(field, WireType::kBytes, "a message of the model", name);
    if (field.number == kTrainerSpec) ReadTrainerSpec(field.bytes, name, trainer);
    if (field.number == kNormalizerSpec) ReadNormalizerSpec(field.bytes, name, normalizer);
    if (field.number == kDenormalizerSpec) ReadNormalizerSpec(field.bytes, name, denormalizer);
    if (field.number != kPieces) continue;
    if (vocabulary.pieces.size() == Vocabulary::kMaxPieces) {
      throw Error("{}: the model has more pieces than the {} allowed", name,
                  Vocabulary::kMaxPieces);
    }
    vocabulary.pieces.push_back(ReadPiece(field.bytes, name));
  }
  RefuseUnsupported(trainer, normalizer, denormalizer, name);
  vocabulary.unk_id = FirstUnknown(vocabulary.pieces);
  vocabulary.bos_id = FindOfType(vocabulary.pieces, trainer.bos_piece, PieceType::kControl);
  vocabulary.eos_id = FindOfType(vocabulary.pieces, trainer.eos_piece, PieceType::kControl);
  vocabulary.pad_id = FindOfType(vocabulary.pieces, trainer.pad_piece, PieceType::kControl);
  vocabulary.add_dummy_prefix = normalizer.add_dummy_prefix;
  vocabulary.remove_extra_whitespaces = normalizer.remove_extra_whitespaces;
  vocabulary.unk_surface = trainer.unk_surface;
  ReserveInstructNames(vocabulary);
  ValidateVocabulary(vocabulary, name);
  return vocabulary;
}

std::string WriteSentencePieceModel(const Vocabulary& vocabulary) {
  std::string out;
  for (const Piece& piece : vocabulary.pieces) {
    std::string message;
    PutText(message, kPieceText, piece.text);
    PutFloat(message, kPieceScore, piece.score);
    PutNumber(message, kPieceKind, static_cast<uint64_t>(piece.type));
    PutText(out, kPieces, message);
  }
  PutText(out, kTrainerSpec, SerializedTrainerSpec(vocabulary));
  std::string normalizer;
  PutText(normalizer, kNormalizerName, "identity");
  PutNumber(normalizer, kAddDummyPrefix, vocabulary.add_dummy_prefix ? 1 : 0);
  PutNumber(normalizer, kRemoveExtraWhitespaces, vocabulary.remove_extra_whitespaces ? 1 : 0);
  PutNumber(normalizer, kEscapeWhitespaces, 1);
  PutText(out, kNormalizerSpec, normalizer);
  return out;
}

}  // namespace cadre
