#include "text/tokenizer_json.h"

#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "text/utf8.h"

namespace cadre {
namespace {

// sentencepiece's own score for runs of spaces in Mistral's models: they merge after everything
// else, leftmost first.
constexpr float kSpaceRunScore = -1e9f;
constexpr float kNeverMergedScore = -2e9f;
constexpr size_t kMaxMerges = size_t{1} << 23;  // ranks stay exact in a float

const Json& Member(const Json& object, const char* key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string TypeOf(const Json& part, const char* what, const std::string& name) {
  if (!part.is_object())
    throw Error("{}: {} is a JSON {} but must be an object", name, what, part.type_name());
  return JsonString(part, "type", "", name);
}

// A step and its nested Sequence steps, in order. Depth is bounded by the JSON parser.
template <typename Visit>
void ForEachStep(const Json& step, const char* list_key, const char* what, const std::string& name,
                 const Visit& visit) {
  if (step.is_null()) return;
  if (TypeOf(step, what, name) != "Sequence") return visit(step);
  const Json& steps = Member(step, list_key);
  if (!steps.is_array())
    throw Error("{}: {}.{} is missing but must be a list", name, what, list_key);
  for (const Json& inner : steps) ForEachStep(inner, list_key, what, name, visit);
}

bool IsSpaceSymbol(const Json& part, const char* key) {
  const Json& value = Member(part, key);
  return value.is_string() && value.get_ref<const std::string&>() == kSpaceSymbol;
}

// Whether text gets a leading space: from normalizer (old form) or pre_tokenizer (new form).
bool ReadDummyPrefix(const Json& tokenizer, const std::string& name) {
  bool prefix = false;
  ForEachStep(
      Member(tokenizer, "normalizer"), "normalizers", "normalizer", name, [&](const Json& step) {
        const std::string type = TypeOf(step, "normalizer", name);
        if (type == "Prepend") {
          if (!IsSpaceSymbol(step, "prepend"))
            throw Error("{}: the normalizer prepends something else than U+2581", name);
          prefix = true;
        } else if (type == "Replace") {
          const Json& pattern = Member(Member(step, "pattern"), "String");
          if (pattern != " " || !IsSpaceSymbol(step, "content")) {
            throw Error("{}: the normalizer replaces something else than a space by U+2581", name);
          }
        } else {
          throw Error("{}: the normalizer is '{}' but must be Prepend or Replace", name,
                      Printable(type));
        }
      });
  ForEachStep(Member(tokenizer, "pre_tokenizer"), "pretokenizers", "pre_tokenizer", name,
              [&](const Json& step) {
                const std::string type = TypeOf(step, "pre_tokenizer", name);
                if (type != "Metaspace") {
                  throw Error("{}: the pre_tokenizer is '{}' but must be Metaspace or null", name,
                              Printable(type));
                }
                if (!IsSpaceSymbol(step, "replacement"))
                  throw Error("{}: Metaspace does not replace spaces by U+2581", name);
                const std::string fallback =
                    JsonBool(step, "add_prefix_space", true, name) ? "always" : "never";
                const std::string scheme = JsonString(step, "prepend_scheme", fallback, name);
                if (scheme != "always" && scheme != "first" && scheme != "never") {
                  throw Error("{}: prepend_scheme is '{}' but must be always, first or never", name,
                              Printable(scheme));
                }
                prefix = prefix || scheme != "never";
              });
  return prefix;
}

int32_t ReadId(const Json& value, std::string_view what, const std::string& name) {
  if (!value.is_number_integer() || value < 0 || value >= Vocabulary::kMaxPieces) {
    throw Error("{}: the id of '{}' is not an integer from 0 to {}", name, Printable(what),
                Vocabulary::kMaxPieces - 1);
  }
  return value.get<int32_t>();
}

void SetPiece(std::vector<Piece>& pieces, int32_t id, Piece piece, const std::string& name) {
  const auto index = static_cast<size_t>(id);
  if (index >= pieces.size()) pieces.resize(index + 1);
  Piece& slot = pieces[index];
  if (!slot.text.empty() && slot.text != piece.text) {
    throw Error("{}: id {} is both '{}' and '{}' but must be one piece", name, id,
                Printable(slot.text), Printable(piece.text));
  }
  slot = std::move(piece);
}

std::vector<Piece> ReadVocab(const Json& model, const std::string& name) {
  const Json& vocab = Member(model, "vocab");
  if (!vocab.is_object())
    throw Error("{}: model.vocab is a JSON {} but must be an object", name, vocab.type_name());
  const bool byte_fallback = JsonBool(model, "byte_fallback", false, name);
  std::vector<Piece> pieces;
  for (const auto& [text, id] : vocab.items()) {
    const bool is_byte = byte_fallback && ByteOfPiece(text).has_value();
    const PieceType type = is_byte ? PieceType::kByte : PieceType::kNormal;
    SetPiece(pieces, ReadId(id, text, name), {text, 0, type}, name);
  }
  return pieces;
}

void ReadAddedTokens(const Json& tokenizer, std::vector<Piece>& pieces, const std::string& name) {
  const Json& tokens = Member(tokenizer, "added_tokens");
  if (tokens.is_null()) return;
  if (!tokens.is_array())
    throw Error("{}: added_tokens is a JSON {} but must be a list", name, tokens.type_name());
  for (const Json& token : tokens) {
    if (!token.is_object())
      throw Error("{}: an added token is a JSON {} but must be an object", name, token.type_name());
    const std::string text = JsonString(token, "content", "", name);
    const bool special = JsonBool(token, "special", false, name);
    const int32_t id = ReadId(Member(token, "id"), text, name);
    SetPiece(pieces, id, {text, 0, special ? PieceType::kControl : PieceType::kUserDefined}, name);
  }
}

struct Merge {
  std::string_view left;
  std::string_view right;
};

// Both spellings: "a b" and ["a", "b"].
Merge ReadMerge(const Json& merge, const std::string& name) {
  if (merge.is_string()) {
    const std::string_view text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
             merge[1].is_string()) {
    return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
  }
  throw Error("{}: a merge is '{}' but must be two pieces", name,
              Printable(merge.dump(-1, ' ', true, Json::error_handler_t::replace), 60));
}

bool IsSpaceRun(std::string_view text) {
  if (text.size() <= kSpaceSymbol.size()) return false;
  for (; !text.empty(); text.remove_prefix(kSpaceSymbol.size())) {
    if (!text.starts_with(kSpaceSymbol)) return false;
  }
  return true;
}

bool IsOneCharacter(std::string_view text) {
  return !text.empty() && DecodeUtf8(text).num_bytes == text.size();
}

using Ids = std::unordered_map<std::string_view, size_t>;

// The rank of each piece's first merge, or -1.
std::vector<int64_t> ReadMergeRanks(const Json& model, const std::vector<Piece>& pieces,
                                    const Ids& id_of, const std::string& name) {
  const Json& merges = Member(model, "merges");
  if (!merges.is_array())
    throw Error("{}: model.merges is a JSON {} but must be a list", name, merges.type_name());
  if (merges.size() > kMaxMerges)
    throw Error("{}: {} merges, more than the {} allowed", name, merges.size(), kMaxMerges);
  std::vector<int64_t> rank_of(pieces.size(), -1);
  int64_t rank = 0;
  std::string whole;
  for (const Json& json : merges) {
    const Merge merge = ReadMerge(json, name);
    whole.assign(merge.left);
    whole += merge.right;
    const auto found = id_of.find(whole);
    if (found == id_of.end() || !id_of.contains(merge.left) || !id_of.contains(merge.right)) {
      throw Error("{}: merge {} makes '{}' from '{}' and '{}', but they are not all pieces", name,
                  rank, Printable(whole), Printable(merge.left), Printable(merge.right));
    }
    if (rank_of[found->second] < 0) rank_of[found->second] = rank;
    ++rank;
  }
  return rank_of;
}

// In Mistral's models all runs of spaces share one lowest score, so they merge last, leftmost
// first. Converters that sort merges by score write them at the end of the list; some newer ones
// sort by id, which puts them among the words and makes other ids than the model was trained on.
// The runs themselves tell: lengths 2 to 14 and 16.
bool SpaceRunsShareScore(const std::vector<Piece>& pieces, const std::vector<int64_t>& rank_of) {
  constexpr uint32_t kMistralLengths = 0x17FFCu;  // bits 2..14 and 16
  int64_t last_word = -1;
  int64_t first_run = std::numeric_limits<int64_t>::max();
  uint32_t lengths = 0;
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (rank_of[id] < 0) continue;
    if (!IsSpaceRun(pieces[id].text)) {
      last_word = std::max(last_word, rank_of[id]);
      continue;
    }
    first_run = std::min(first_run, rank_of[id]);
    lengths |= 1u << std::min<size_t>(pieces[id].text.size() / kSpaceSymbol.size(), 31);
  }
  return first_run > last_word || lengths == kMistralLengths;
}

void SetScores(const Json& model, std::vector<Piece>& pieces, const std::string& name) {
  Ids id_of;
  for (size_t id = 0; id < pieces.size(); ++id) id_of.emplace(pieces[id].text, id);
  const std::vector<int64_t> rank_of = ReadMergeRanks(model, pieces, id_of, name);
  const bool runs_share_score = SpaceRunsShareScore(pieces, rank_of);
  size_t num_unreachable = 0;
  for (size_t id = 0; id < pieces.size(); ++id) {
    Piece& piece = pieces[id];
    if (piece.type != PieceType::kNormal) continue;
    if (rank_of[id] >= 0) {
      piece.score = runs_share_score && IsSpaceRun(piece.text) ? kSpaceRunScore
                                                               : -static_cast<float>(rank_of[id]);
    } else {
      piece.score = kNeverMergedScore;
      if (IsOneCharacter(piece.text)) continue;
      // No merge makes it, so text must not either; its id stays.
      piece.type = PieceType::kUnused;
      ++num_unreachable;
    }
  }
  if (num_unreachable > 0)
    log::debug("{}: {} pieces that no merge makes are never produced", name, num_unreachable);
}

int32_t FindId(const std::vector<Piece>& pieces, std::string_view text) {
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].text == text) return static_cast<int32_t>(id);
  }
  return -1;
}

// A special token's text in tokenizer_config.json: a string or an object with "content".
std::string ConfiguredToken(const Json* config, const char* key, const std::string& fallback,
                            const std::string& name) {
  if (config == nullptr) return fallback;
  const Json& value = Member(*config, key);
  return value.is_object() ? JsonString(value, "content", fallback, name)
                           : JsonString(*config, key, fallback, name);
}

bool TemplateHas(const Json& tokenizer, const std::string& token, const std::string& name) {
  bool has = false;
  ForEachStep(Member(tokenizer, "post_processor"), "processors", "post_processor", name,
              [&](const Json& step) {
                const Json& single = Member(step, "single");
                if (!single.is_array()) return;
                for (const Json& item : single)
                  has = has || Member(Member(item, "SpecialToken"), "id") == token;
              });
  return has;
}

// Ids the vocabulary leaves out keep their place, as in GGUF conversions.
void FillGaps(std::vector<Piece>& pieces) {
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].text.empty())
      pieces[id] = {fmt::format("[PAD{}]", id), kNeverMergedScore, PieceType::kUnused};
  }
}

}  // namespace

Vocabulary ReadTokenizerJson(const Json& tokenizer, const Json* config, const std::string& name) {
  if (config != nullptr && !config->is_object())
    throw Error("{}: tokenizer_config.json must be an object", name);
  const Json& model = Member(tokenizer, "model");
  const std::string type = TypeOf(model, "model", name);
  if (type != "BPE" && !type.empty())
    throw Error("{}: model.type is '{}' but must be BPE", name, Printable(type));
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!JsonString(model, key, "", name).empty())
      throw Error("{}: model.{} must be null", name, key);
  }
  Vocabulary vocabulary;
  vocabulary.add_dummy_prefix = ReadDummyPrefix(tokenizer, name);
  vocabulary.pieces = ReadVocab(model, name);
  ReadAddedTokens(tokenizer, vocabulary.pieces, name);
  const std::string unk =
      JsonString(model, "unk_token", ConfiguredToken(config, "unk_token", "<unk>", name), name);
  const std::string bos = ConfiguredToken(config, "bos_token", "<s>", name);
  const std::string eos = ConfiguredToken(config, "eos_token", "</s>", name);
  const std::string pad = ConfiguredToken(config, "pad_token", "", name);
  vocabulary.unk_id = FindId(vocabulary.pieces, unk);
  vocabulary.bos_id = FindId(vocabulary.pieces, bos);
  vocabulary.eos_id = FindId(vocabulary.pieces, eos);
  vocabulary.pad_id = pad.empty() ? -1 : FindId(vocabulary.pieces, pad);
  for (const int32_t id : {vocabulary.bos_id, vocabulary.eos_id}) {
    if (id >= 0) vocabulary.pieces[static_cast<size_t>(id)].type = PieceType::kControl;
  }
  if (vocabulary.unk_id >= 0)
    vocabulary.pieces[static_cast<size_t>(vocabulary.unk_id)].type = PieceType::kUnknown;
  vocabulary.add_bos = TemplateHas(tokenizer, bos, name);
  vocabulary.add_eos = TemplateHas(tokenizer, eos, name);
  if (config != nullptr) {
    vocabulary.add_bos = JsonBool(*config, "add_bos_token", vocabulary.add_bos, name);
    vocabulary.add_eos = JsonBool(*config, "add_eos_token", vocabulary.add_eos, name);
  }
  FillGaps(vocabulary.pieces);
  SetScores(model, vocabulary.pieces, name);
  ReserveInstructNames(vocabulary);
  ValidateVocabulary(vocabulary, name);
  return vocabulary;
}

}  // namespace cadre
