#include "text/tokenizer.h"

#include <sentencepiece_processor.h>

#include "base/error.h"
#include "text/sentencepiece_model.h"
#include "text/utf8.h"
#include "text/utf8_stream.h"

namespace cadre {
namespace {

constexpr size_t kMaxCachedBytes = 64;
constexpr size_t kMaxCachedWords = size_t{1} << 17;
constexpr size_t kLongestWord = size_t{256} << 10;  // bytes without a safe cut before one is forced
constexpr uint32_t kSpaceCodePoint = 0x2581;

uint64_t Pair(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }

uint64_t TrieKey(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<unsigned char>(byte);
}

// In pieces a space is U+2581, so both count as one character when looking for places to cut.
uint32_t AsPieceCharacter(uint32_t code_point) {
  return code_point == ' ' ? kSpaceCodePoint : code_point;
}

std::string WithoutExtraSpaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out.push_back(c);
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

// What the library gets: text that we have prepared, so no prefix and no trimming. User-defined
// pieces are matched here, as a hostile set of nested ones would overrun the library's fixed match
// table. Pieces that text must not make get names that no text has (a zero byte is refused in
// pieces), as the library takes a character for any piece of that name.
Vocabulary ForLibrary(const Vocabulary& vocabulary) {
  Vocabulary clean = vocabulary;
  clean.add_dummy_prefix = false;
  clean.remove_extra_whitespaces = false;
  for (size_t id = 0; id < clean.pieces.size(); ++id) {
    Piece& piece = clean.pieces[id];
    if (piece.type == PieceType::kUserDefined) piece.type = PieceType::kControl;
    if (piece.type == PieceType::kControl || piece.type == PieceType::kUnknown) {
      piece.text = fmt::format("{}{}", '\0', id);
    }
  }
  return clean;
}

}  // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary, const std::string& name)
    : vocabulary_(std::move(vocabulary)) {
  ValidateVocabulary(vocabulary_, name);
  IndexPieces();
  LoadLibrary(name);
}

Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

void Tokenizer::IndexPieces() {
  user_trie_id_.assign(1, -1);
  id_of_.reserve(vocabulary_.pieces.size());
  for (int32_t id = 0; id < vocab_size(); ++id) {
    const Piece& piece = PieceAt(id);
    id_of_.emplace(piece.text, id);
    if (piece.type == PieceType::kUserDefined) {
      uint32_t node = 0;
      for (const char byte : piece.text) {
        const auto [next, is_new] = user_trie_.emplace(TrieKey(node, byte), user_trie_id_.size());
        if (is_new) user_trie_id_.push_back(-1);
        node = next->second;
      }
      user_trie_id_[node] = id;
    }
    if (piece.type != PieceType::kNormal && piece.type != PieceType::kUnused) continue;
    std::string_view rest = piece.text;
    uint32_t previous = 0;
    while (!rest.empty()) {
      const Utf8Step step = DecodeUtf8(rest);
      if (rest.size() != piece.text.size()) joined_.insert(Pair(previous, step.code_point));
      previous = step.code_point;
      rest.remove_prefix(step.num_bytes);
    }
  }
}

void Tokenizer::LoadLibrary(const std::string& name) {
  library_ = std::make_unique<sentencepiece::SentencePieceProcessor>();
  const auto status =
      library_->LoadFromSerializedProto(WriteSentencePieceModel(ForLibrary(vocabulary_)));
  if (!status.ok())
    throw Error("{}: sentencepiece refuses the vocabulary: {}", name,
                Printable(status.ToString(), 200));
}

const Piece& Tokenizer::PieceAt(int32_t id) const {
  if (id < 0 || id >= vocab_size())
    throw Error("token id is {} but must be from 0 to {}", id, vocab_size() - 1);
  return vocabulary_.pieces[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::FindPiece(std::string_view text) const {
  const auto found = id_of_.find(text);
  if (found == id_of_.end()) return std::nullopt;
  return found->second;
}

std::string Tokenizer::PieceBytes(int32_t id) const {
  const Piece& piece = PieceAt(id);
  switch (piece.type) {
    case PieceType::kControl:
      return "";
    case PieceType::kUnknown:
      return vocabulary_.unk_surface;
    case PieceType::kByte:
      return std::string(1, static_cast<char>(ByteOfPiece(piece.text).value()));
    case PieceType::kNormal:
    case PieceType::kUserDefined:
    case PieceType::kUnused:
      break;
  }
  std::string bytes;
  std::string_view rest = piece.text;
  while (!rest.empty()) {
    const bool is_space = rest.starts_with(kSpaceSymbol);
    bytes.push_back(is_space ? ' ' : rest.front());
    rest.remove_prefix(is_space ? kSpaceSymbol.size() : 1);
  }
  return bytes;
}

std::string Tokenizer::Decode(const std::vector<int32_t>& ids) const {
  Utf8Stream stream(*this, LeadingSpace::kStrip);
  std::string text;
  for (const int32_t id : ids) text += stream.Push(id);
  return text + stream.Flush();
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text, DummyPrefix prefix) const {
  std::string prepared = ReplaceInvalidUtf8(text);
  if (vocabulary_.remove_extra_whitespaces) prepared = WithoutExtraSpaces(prepared);
  std::vector<int32_t> ids;
  if (prepared.empty()) return ids;
  // The prefix comes before user-defined pieces are looked for, and is never part of one of them.
  const bool has_prefix = prefix == DummyPrefix::kAsVocabulary && vocabulary_.add_dummy_prefix;
  if (has_prefix) prepared.insert(0, kSpaceSymbol);
  const std::string_view whole = prepared;
  size_t run_begin = 0;
  size_t at = has_prefix ? kSpaceSymbol.size() : 0;
  while (at < whole.size() && user_trie_id_.size() > 1) {
    int32_t id = -1;
    const size_t num_bytes = MatchUserDefined(whole.substr(at), id);
    if (num_bytes == 0) {
      ++at;
      continue;
    }
    EncodeRun(whole.substr(run_begin, at - run_begin), ids);
    ids.push_back(id);
    at += num_bytes;
    run_begin = at;
  }
  EncodeRun(whole.substr(run_begin), ids);
  return ids;
}

// Bytes of the longest user-defined piece `text` begins with; 0 if none. A space in the text
// matches U+2581 in the piece.
size_t Tokenizer::MatchUserDefined(std::string_view text, int32_t& id) const {
  size_t longest = 0;
  uint32_t node = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const std::string_view bytes = text[at] == ' ' ? kSpaceSymbol : text.substr(at, 1);
    for (const char byte : bytes) {
      const auto next = user_trie_.find(TrieKey(node, byte));
      if (next == user_trie_.end()) return longest;
      node = next->second;
    }
    if (user_trie_id_[node] >= 0) {
      id = user_trie_id_[node];
      longest = at + 1;
    }
  }
  return longest;
}

// Text is full of the same words, so each is given to the library once.
void Tokenizer::EncodeRun(std::string_view text, std::vector<int32_t>& ids) const {
  std::unordered_map<std::string_view, std::vector<int32_t>> known;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, WordEnd(text));
    text.remove_prefix(word.size());
    if (word.size() > kMaxCachedBytes) {
      AppendWord(EncodeWord(word), ids);
      continue;
    }
    if (known.size() >= kMaxCachedWords) known.clear();
    const auto [entry, is_new] = known.try_emplace(word);
    if (is_new) entry->second = EncodeWord(word);
    AppendWord(entry->second, ids);
  }
}

// Where the first word of `text` ends: between two characters that stand side by side in no piece.
// No merge can cross there, so the words have the ids that the whole has.
size_t Tokenizer::WordEnd(std::string_view text) const {
  uint32_t previous = 0;
  size_t at = 0;
  while (at < text.size() && at < kLongestWord) {
    const Utf8Step step = DecodeUtf8(text.substr(at));
    const uint32_t current = AsPieceCharacter(step.code_point);
    if (at > 0 && !joined_.contains(Pair(previous, current))) break;
    previous = current;
    at += step.num_bytes;
  }
  return at;
}

std::vector<int32_t> Tokenizer::EncodeWord(std::string_view word) const {
  std::vector<int> ids;
  const auto status = library_->Encode(absl::string_view(word.data(), word.size()), &ids);
  CADRE_CHECK(status.ok());
  return ids;
}

// Without byte pieces the library joins neighbouring unknown characters into one; so must
// neighbouring words.
void Tokenizer::AppendWord(const std::vector<int32_t>& word, std::vector<int32_t>& ids) const {
  const bool unknown_goes_on =
      !ids.empty() && !word.empty() && ids.back() == vocabulary_.unk_id && word[0] == ids.back();
  ids.insert(ids.end(), word.begin() + (unknown_goes_on ? 1 : 0), word.end());
}

}  // namespace cadre
