#include "model/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/testing.h"
#include "formats/gguf_writer.h"
#include "model/save.h"
#include "model/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using model_testing::GoldenPath;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct EditedTensor {
  std::string name;
  SafetensorsType type;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;

  // Another shape or type, the data all zero.
  void Become(SafetensorsType new_type, std::vector<int64_t> new_shape) {
    type = new_type;
    shape = std::move(new_shape);
    size_t elements = 1;
    for (const int64_t n : shape) elements *= static_cast<size_t>(n);
    data.assign(elements * static_cast<size_t>(Bits(type)) / 8, std::byte{0});
  }
};

// A golden taken apart, to be changed and written to a folder of its own.
class Edited {
 public:
  explicit Edited(const std::string& golden)
      : config(ReadJsonFile(GoldenPath(golden) + "/config.json")) {
    const auto file = SafetensorsFile::Open(GoldenPath(golden) + "/model.safetensors");
    for (const auto& entry : file.entries()) {
      tensors_.push_back(
          {entry.name, entry.type, entry.shape, {entry.data.begin(), entry.data.end()}});
    }
  }

  EditedTensor& operator[](const std::string& name) {
    const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                    [&](const auto& t) { return t.name == name; });
    if (found != tensors_.end()) return *found;
    return tensors_.emplace_back(
        EditedTensor{name, SafetensorsType::kF32, {1}, std::vector<std::byte>(4)});
  }
  void Remove(const std::string& name) {
    std::erase_if(tensors_, [&](const auto& tensor) { return tensor.name == name; });
  }

  LoadedModel Load() {
    std::stable_sort(tensors_.begin(), tensors_.end(),
                     [](const auto& a, const auto& b) { return Bits(a.type) > Bits(b.type); });
    SafetensorsWriter writer(folder_ / "model.safetensors");
    for (const auto& tensor : tensors_) writer.Declare(tensor.name, tensor.type, tensor.shape);
    for (const auto& tensor : tensors_) writer.Append(tensor.data);
    writer.Commit();
    WriteFileAtomically(folder_ / "config.json", config.dump());
    return LoadedModel::Load(folder_.path());
  }
  std::string LoadError() {
    return ErrorOf([&] { Load(); });
  }
  std::string file() const { return folder_ / "model.safetensors"; }

  Json config;

 private:
  TempFolder folder_;
  std::vector<EditedTensor> tensors_;
};

TEST(LoadedModel, LoadsWhatIsWhole) {
  Edited model("mixtral");
  const auto loaded = model.Load();
  EXPECT_TRUE(loaded.warnings().empty());
  EXPECT_EQ(loaded.model().weights.layers.size(), 2u);
  EXPECT_EQ(loaded.model().weights.layers[1].experts.size(), 4u);
}

TEST(LoadedModel, NamesEveryKindOfMissingTensor) {
  for (const char* name :
       {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
        "model.layers.1.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.o_proj.weight",
        "model.layers.1.block_sparse_moe.gate.weight",
        "model.layers.1.block_sparse_moe.experts.3.w2.weight"}) {
    Edited model("mixtral");
    model.Remove(name);
    EXPECT_THAT(model.LoadError(), HasSubstr(fmt::format("tensor {} is missing", name)));
  }
}

TEST(LoadedModel, NamesATensorOfAnotherShape) {
  Edited flat("mixtral");
  flat["model.layers.0.self_attn.k_proj.weight"].Become(SafetensorsType::kF32, {64, 32});
  EXPECT_THAT(flat.LoadError(),
              HasSubstr("model.safetensors: tensor model.layers.0.self_attn.k_proj.weight is [64, "
                        "32] but the config wants "
                        "[32, 64]"));
  Edited norm("mixtral");
  norm["model.norm.weight"].Become(SafetensorsType::kF32, {1, 64});
  EXPECT_THAT(norm.LoadError(),
              AllOf(HasSubstr("model.norm.weight is [1, 64]"), HasSubstr("wants [64]")));
  Edited scalar("mixtral");
  scalar["model.norm.weight"].Become(SafetensorsType::kF32, {});
  EXPECT_THAT(scalar.LoadError(), HasSubstr("model.norm.weight is []"));
  Edited empty("mixtral");
  empty["lm_head.weight"].Become(SafetensorsType::kF32, {0, 64});
  EXPECT_THAT(empty.LoadError(), HasSubstr("lm_head.weight is [0, 64]"));
}

TEST(LoadedModel, NamesWhatTheConfigDisagreesOn) {
  Edited vocabulary("mixtral");
  vocabulary.config["vocab_size"] = 100;
  EXPECT_THAT(
      vocabulary.LoadError(),
      HasSubstr("tensor model.embed_tokens.weight is [96, 64] but the config wants [100, 64]"));
  Edited layers("mixtral");
  layers.config["num_hidden_layers"] = 3;
  EXPECT_THAT(layers.LoadError(), HasSubstr("model.layers.2.input_layernorm.weight is missing"));
  Edited experts("mixtral");
  experts.config["num_local_experts"] = 8;
  EXPECT_THAT(
      experts.LoadError(),
      HasSubstr(
          "model.layers.0.block_sparse_moe.gate.weight is [4, 64] but the config wants [8, 64]"));
  Edited dense("mixtral");
  dense.config["model_type"] = "mistral";
  EXPECT_THAT(dense.LoadError(), HasSubstr("model.layers.0.mlp.gate_proj.weight is missing"));
}

TEST(LoadedModel, NamesATypeItCannotComputeWith) {
  Edited matrix("mixtral");
  matrix["model.layers.1.self_attn.v_proj.weight"].Become(SafetensorsType::kF8E4M3, {32, 64});
  EXPECT_THAT(matrix.LoadError(),
              AllOf(HasSubstr("model.layers.1.self_attn.v_proj.weight"), HasSubstr("F8_E4M3")));
  Edited norm("mixtral");
  norm["model.norm.weight"].Become(SafetensorsType::kF64, {64});
  EXPECT_THAT(norm.LoadError(), AllOf(HasSubstr("model.norm.weight"), HasSubstr("F64")));
}

TEST(LoadedModel, WarnsOfTensorsNobodyUses) {
  Edited model("mixtral");
  model["model.layers.7.extra"];
  model["model.layers.0.self_attn.rotary_emb.inv_freq"];  // a buffer without weights: not worth a
                                                          // word
  const auto loaded = model.Load();
  ASSERT_EQ(loaded.warnings().size(), 1u);
  EXPECT_EQ(loaded.warnings()[0],
            "1 tensor of the file belongs to no part of this model: model.layers.7.extra");
}

TEST(LoadedModel, NamesFirstFewOfManyUnusedTensors) {
  Edited model("mixtral");
  model.config["num_hidden_layers"] = 1;
  const auto loaded = model.Load();
  ASSERT_EQ(loaded.warnings().size(), 1u);
  EXPECT_THAT(loaded.warnings()[0],
              AllOf(HasSubstr("19 tensors of the file belong to"), HasSubstr("...")));
}

TEST(LoadedModel, NamesAConfigThatIsMissing) {
  const TempFolder folder;
  std::filesystem::copy(GoldenPath("mixtral") + "/model.safetensors", folder / "model.safetensors");
  EXPECT_THAT(ErrorOf([&] { LoadedModel::Load(folder.path()); }), HasSubstr("config.json"));
}

TEST(LoadedModel, ChangesTheExpertsPerToken) {
  auto loaded = LoadedModel::Load(GoldenPath("mixtral"));
  loaded.SetExpertsPerToken(4);
  EXPECT_EQ(loaded.model().config.router.top_k, 4);
  EXPECT_THAT(ErrorOf([&] { loaded.SetExpertsPerToken(5); }),
              HasSubstr("is 5 but must be from 1 to 4"));
  EXPECT_THAT(ErrorOf([&] { loaded.SetExpertsPerToken(0); }), HasSubstr("is 0"));
  EXPECT_EQ(loaded.model().config.router.top_k, 4);
}

// The GGUF golden with some metadata replaced by `set`.
std::string GgufError(const std::vector<std::string>& replaced,
                      const std::function<void(GgufWriter&)>& set,
                      const std::string& left_out = "") {
  const TempFolder folder;
  const auto file = GgufFile::Open(GoldenPath("mixtral_gguf_f32"));
  GgufWriter writer(folder / "model.gguf");
  for (const auto& entry : file.entries()) {
    if (std::find(replaced.begin(), replaced.end(), entry.key) == replaced.end())
      writer.Copy(entry);
  }
  set(writer);
  for (const auto& tensor : file.tensors()) {
    if (tensor.name == left_out) continue;
    writer.Declare(tensor.name, *tensor.dtype,
                   std::vector<int64_t>(tensor.dims.rbegin(), tensor.dims.rend()));
  }
  for (const auto& tensor : file.tensors()) {
    if (tensor.name != left_out) writer.Append(tensor.data);
  }
  writer.Commit();
  return ErrorOf([&] { LoadedModel::Load(folder / "model.gguf"); });
}

TEST(LoadedModel, LoadsAGgufThatIsWhole) {
  EXPECT_EQ(GgufError({}, [](GgufWriter&) {}), "");
}

TEST(LoadedModel, NamesWhatIsWrongInGgufMetadata) {
  const struct {
    const char* key;
    std::function<void(GgufWriter&, const char*)> set;
    const char* expected;
  } cases[] = {
      {"general.architecture", [](GgufWriter& w, const char* k) { w.SetString(k, "gpt2"); },
       "'gpt2' but must be 'llama'"},
      {"llama.block_count", [](GgufWriter&, const char*) {}, "llama.block_count"},
      {"llama.block_count", [](GgufWriter& w, const char* k) { w.SetU32(k, 9); },
       "blk.2.attn_norm.weight is missing"},
      {"llama.embedding_length", [](GgufWriter& w, const char* k) { w.SetString(k, "64"); },
       "llama.embedding_length"},
      {"llama.embedding_length", [](GgufWriter& w, const char* k) { w.SetU32(k, 128); },
       "token_embd.weight is [96, 64]"},
      {"llama.attention.head_count",
       [](GgufWriter& w, const char* k) {
         w.SetU32Array(k, std::vector<uint32_t>{4, 2});
       },
       "llama.attention.head_count differs between layers"},
      {"llama.attention.head_count", [](GgufWriter& w, const char* k) { w.SetU32Array(k, {}); },
       "empty array"},
      {"llama.rope.dimension_count", [](GgufWriter& w, const char* k) { w.SetU32(k, 8); },
       "rope dimension"},
      {"llama.rope.scaling.type", [](GgufWriter& w, const char* k) { w.SetString(k, "yarn"); },
       "llama.rope.scaling.type is 'yarn'"},
      {"llama.rope.scale_linear", [](GgufWriter& w, const char* k) { w.SetF32(k, 2); },
       "llama.rope.scale_linear is 2"},
      {"llama.attention.sliding_window", [](GgufWriter& w, const char* k) { w.SetI32(k, -5); },
       "sliding window is -5"},
      {"llama.expert_used_count", [](GgufWriter& w, const char* k) { w.SetU32(k, 5); },
       "experts per token is 5"},
      {"llama.expert_count", [](GgufWriter& w, const char* k) { w.SetU32(k, 8); },
       "blk.0.ffn_gate_inp.weight is [4, 64]"},
      {"llama.vocab_size", [](GgufWriter& w, const char* k) { w.SetU32(k, 100); },
       "token_embd.weight is [96, 64] but the config wants [100, 64]"},
      {"llama.attention.layer_norm_rms_epsilon",
       [](GgufWriter& w, const char* k) { w.SetF32(k, -1); }, "rms_norm_eps is -1"},
      {"llama.rope.freq_base", [](GgufWriter& w, const char* k) { w.SetF32(k, 0); },
       "rope_theta is 0"},
      {"tokenizer.ggml.eos_token_id", [](GgufWriter& w, const char* k) { w.SetU32(k, 96); },
       "eos token 96"},
      {"tokenizer.ggml.bos_token_id", [](GgufWriter& w, const char* k) { w.SetU32(k, 96); },
       "bos token 96"},
      {"tokenizer.ggml.bos_token_id", [](GgufWriter& w, const char* k) { w.SetI32(k, -7); },
       "tokenizer.ggml.bos_token_id is -7 but must be a token id"},
      {"llama.context_length", [](GgufWriter& w, const char* k) { w.SetU64(k, 1ull << 32); },
       "context length is 4294967296"},
      {"llama.attention.head_count",
       [](GgufWriter& w, const char* k) {
         w.SetU32Array(k, std::vector<uint32_t>{4, 4, 4});
       },
       "llama.attention.head_count has 3 values for 2 layers"},
  };
  for (const auto& c : cases) {
    const std::string error = GgufError({c.key}, [&](GgufWriter& writer) { c.set(writer, c.key); });
    EXPECT_THAT(error, HasSubstr(c.expected)) << c.key;
    EXPECT_THAT(error, HasSubstr("model.gguf: ")) << c.key;
  }
}

TEST(LoadedModel, TakesNoTokenForNone) {
  for (const char* key : {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"}) {
    EXPECT_EQ(GgufError({key}, [&](GgufWriter& w) { w.SetU32(key, 0xFFFFFFFF); }), "") << key;
    EXPECT_EQ(GgufError({key}, [&](GgufWriter& w) { w.SetI32(key, -1); }), "") << key;
  }
}

TEST(LoadedModel, RefusesScaledRotaryFrequencies) {
  const auto with = [](float factor) {
    const TempFolder folder;
    const auto file = GgufFile::Open(GoldenPath("mixtral_gguf_f32"));
    GgufWriter writer(folder / "model.gguf");
    for (const auto& entry : file.entries()) writer.Copy(entry);
    const std::vector<float> factors = {1, 1, factor, 1};
    writer.Declare("rope_freqs.weight", DType::kF32, std::vector<int64_t>{4});
    for (const auto& tensor : file.tensors()) {
      writer.Declare(tensor.name, *tensor.dtype,
                     std::vector<int64_t>(tensor.dims.rbegin(), tensor.dims.rend()));
    }
    writer.Append(std::as_bytes(std::span(factors)));
    for (const auto& tensor : file.tensors()) writer.Append(tensor.data);
    writer.Commit();
    return ErrorOf(
        [&] { EXPECT_TRUE(LoadedModel::Load(folder / "model.gguf").warnings().empty()); });
  };
  EXPECT_EQ(with(1), "");
  EXPECT_THAT(with(8), HasSubstr("rope_freqs.weight scales the rotary frequencies (by 8)"));
}

TEST(LoadedModel, NamesATensorMissingInGguf) {
  for (const char* name : {"token_embd.weight", "output_norm.weight", "blk.1.ffn_down_exps.weight",
                           "blk.0.ffn_gate_inp.weight"}) {
    EXPECT_THAT(GgufError(
                    {}, [](GgufWriter&) {}, name),
                HasSubstr(fmt::format("tensor {} is missing", name)));
  }
}

TEST(LoadedModel, TakesTheEmbeddingWhereGgufHasNoHead) {
  EXPECT_EQ(GgufError(
                {}, [](GgufWriter&) {}, "output.weight"),
            "");
}

}  // namespace
}  // namespace cadre
