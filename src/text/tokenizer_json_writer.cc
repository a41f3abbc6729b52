#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer_json.h"

namespace cadre {
namespace {

struct Merge {
  float score;
  std::string_view left;
  std::string_view right;
};

// Every cut of a piece into two pieces, in the order in which sentencepiece would merge them: by
// the score of the whole. Where scores are equal, as in runs of spaces, sentencepiece takes the
// leftmost pair, so that what stands left grows first: longer left parts go before shorter ones.
std::vector<Merge> Merges(const Vocabulary& vocabulary) {
  std::unordered_map<std::string_view, float> score_of;
  for (const Piece& piece : vocabulary.pieces)
    if (piece.type == PieceType::kNormal) score_of.emplace(piece.text, piece.score);
  std::vector<Merge> merges;
  for (const Piece& piece : vocabulary.pieces) {
    const std::string_view text = piece.text;
    // With a plain space in it, which no text has after normalization, it could not be spelled.
    if (piece.type != PieceType::kNormal || text.find(' ') != text.npos) continue;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if (score_of.contains(text.substr(0, cut)) && score_of.contains(text.substr(cut)))
        merges.push_back({piece.score, text.substr(0, cut), text.substr(cut)});
    }
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    return a.score != b.score ? a.score > b.score : a.left.size() > b.left.size();
  });
  return merges;
}

OrderedJson Step(const char* type, const OrderedJson& members = OrderedJson::object()) {
  OrderedJson step = {{"type", type}};
  step.update(members);
  return step;
}

OrderedJson Replace(std::string_view from, std::string_view to) {
  return Step("Replace", {{"pattern", {{"String", from}}}, {"content", to}});
}

OrderedJson Normalizer(const Vocabulary& vocabulary) {
  OrderedJson steps = OrderedJson::array();
  if (vocabulary.add_dummy_prefix) steps.push_back(Step("Prepend", {{"prepend", kSpaceSymbol}}));
  steps.push_back(Replace(" ", kSpaceSymbol));
  return Step("Sequence", {{"normalizers", steps}});
}

OrderedJson Decoder(const Vocabulary& vocabulary) {
  OrderedJson steps = {Replace(kSpaceSymbol, " "), Step("ByteFallback"), Step("Fuse")};
  if (vocabulary.add_dummy_prefix)
    steps.push_back(Step("Strip", {{"content", " "}, {"start", 1}, {"stop", 0}}));
  return Step("Sequence", {{"decoders", steps}});
}

OrderedJson PostProcessor(const Vocabulary& vocabulary) {
  OrderedJson special = OrderedJson::object();
  const auto sequence = [](const char* id, int type) {
    return OrderedJson{{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  const auto around = [&](OrderedJson& list, const char* id, int type) {
    const auto token = [&](int32_t piece_id) {
      const std::string& text = vocabulary.pieces[static_cast<size_t>(piece_id)].text;
      special[text] = {{"id", text},
                       {"ids", OrderedJson::array({piece_id})},
                       {"tokens", OrderedJson::array({text})}};
      list.push_back({{"SpecialToken", {{"id", text}, {"type_id", type}}}});
    };
    if (vocabulary.add_bos && vocabulary.bos_id >= 0) token(vocabulary.bos_id);
    list.push_back(sequence(id, type));
    if (vocabulary.add_eos && vocabulary.eos_id >= 0) token(vocabulary.eos_id);
  };
  OrderedJson single = OrderedJson::array();
  around(single, "A", 0);
  OrderedJson pair = OrderedJson::array();
  around(pair, "A", 0);
  around(pair, "B", 1);
  return Step("TemplateProcessing",
              {{"single", single}, {"pair", pair}, {"special_tokens", special}});
}

OrderedJson AddedTokens(const Vocabulary& vocabulary) {
  OrderedJson added = OrderedJson::array();
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    const Piece& piece = vocabulary.pieces[id];
    const bool matched = piece.type == PieceType::kUserDefined;
    if (!matched && piece.type != PieceType::kControl && piece.type != PieceType::kUnknown)
      continue;
    added.push_back({{"id", id},
                     {"content", piece.text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", !matched}});
  }
  return added;
}

OrderedJson Model(const Vocabulary& vocabulary) {
  OrderedJson vocab = OrderedJson::object();
  // Straight into the list of members: an assignment would search it for each key.
  auto& members = vocab.get_ref<OrderedJson::object_t&>();
  for (size_t id = 0; id < vocabulary.pieces.size(); ++id)
    members.emplace_back(vocabulary.pieces[id].text, id);
  OrderedJson merges = OrderedJson::array();
  for (const Merge& merge : Merges(vocabulary))
    merges.push_back(fmt::format("{} {}", merge.left, merge.right));
  OrderedJson model = Step("BPE", {{"dropout", nullptr}});
  if (vocabulary.unk_id >= 0)
    model["unk_token"] = vocabulary.pieces[static_cast<size_t>(vocabulary.unk_id)].text;
  model["fuse_unk"] = true;
  model["byte_fallback"] = vocabulary.HasBytePieces();
  model["vocab"] = std::move(vocab);
  model["merges"] = std::move(merges);
  return model;
}

}  // namespace

std::string WriteTokenizerJson(const Vocabulary& vocabulary) {
  CADRE_CHECK(CanWriteTokenizerJson(vocabulary));
  OrderedJson tokenizer = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  tokenizer["added_tokens"] = AddedTokens(vocabulary);
  tokenizer["normalizer"] = Normalizer(vocabulary);
  tokenizer["pre_tokenizer"] = nullptr;
  tokenizer["post_processor"] = PostProcessor(vocabulary);
  tokenizer["decoder"] = Decoder(vocabulary);
  tokenizer["model"] = Model(vocabulary);
  return tokenizer.dump(1) + "\n";
}

bool CanWriteTokenizerJson(const Vocabulary& vocabulary) {
  return !vocabulary.remove_extra_whitespaces;
}

}  // namespace cadre
