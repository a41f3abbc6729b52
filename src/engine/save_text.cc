#include "engine/save_text.h"

#include <vector>

#include "base/atomic_file.h"
#include "base/json.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_json.h"

namespace cadre {
namespace {

std::string PieceText(const Vocabulary& vocabulary, int32_t id) {
  return vocabulary.pieces[static_cast<size_t>(id)].text;
}

}  // namespace

void SetTextMetadata(const Vocabulary& vocabulary, const std::string& chat_template,
                     GgufWriter& writer) {
  std::vector<std::string_view> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
  for (const auto& piece : vocabulary.pieces) {
    tokens.push_back(piece.text);
    scores.push_back(piece.score);
    types.push_back(static_cast<int32_t>(piece.type));
  }
  writer.SetString("tokenizer.ggml.model", "llama");
  writer.SetString("tokenizer.ggml.pre", "default");
  writer.SetStringArray("tokenizer.ggml.tokens", std::span<const std::string_view>(tokens));
  writer.SetF32Array("tokenizer.ggml.scores", scores);
  writer.SetI32Array("tokenizer.ggml.token_type", types);
  const auto id = [&](const char* key, int32_t value) {
    if (value >= 0) writer.SetU32(key, static_cast<uint32_t>(value));
  };
  id("tokenizer.ggml.bos_token_id", vocabulary.bos_id);
  id("tokenizer.ggml.eos_token_id", vocabulary.eos_id);
  id("tokenizer.ggml.unknown_token_id", vocabulary.unk_id);
  id("tokenizer.ggml.padding_token_id", vocabulary.pad_id);
  writer.SetBool("tokenizer.ggml.add_bos_token", vocabulary.add_bos);
  writer.SetBool("tokenizer.ggml.add_eos_token", vocabulary.add_eos);
  writer.SetBool("tokenizer.ggml.add_space_prefix", vocabulary.add_dummy_prefix);
  if (vocabulary.remove_extra_whitespaces)
    writer.SetBool("tokenizer.ggml.remove_extra_whitespaces", true);
  if (!chat_template.empty()) writer.SetString("tokenizer.chat_template", chat_template);
}

void SaveTextFiles(const Vocabulary& vocabulary, const std::string& chat_template,
                   const std::string& folder) {
  WriteFileAtomically(folder + "/tokenizer.model", WriteSentencePieceModel(vocabulary));
  const bool has_json = CanWriteTokenizerJson(vocabulary);
  if (has_json) WriteFileAtomically(folder + "/tokenizer.json", WriteTokenizerJson(vocabulary));
  // The class that takes tokenizer.json as it is: transformers' LlamaTokenizer makes its own rules
  // for the space before a text.
  OrderedJson config = {
      {"tokenizer_class", has_json ? "PreTrainedTokenizerFast" : "LlamaTokenizer"},
      {"add_bos_token", vocabulary.add_bos},
      {"add_eos_token", vocabulary.add_eos},
      {"clean_up_tokenization_spaces", false}};
  const auto piece = [&](const char* key, int32_t id) {
    if (id >= 0) config[key] = PieceText(vocabulary, id);
  };
  piece("bos_token", vocabulary.bos_id);
  piece("eos_token", vocabulary.eos_id);
  piece("unk_token", vocabulary.unk_id);
  piece("pad_token", vocabulary.pad_id);
  if (!chat_template.empty()) config["chat_template"] = chat_template;
  WriteFileAtomically(folder + "/tokenizer_config.json",
                      config.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

}  // namespace cadre
