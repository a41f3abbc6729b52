#include "model/save.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "formats/safetensors.h"
#include "model/adapters.h"
#include "model/config_files.h"
#include "model/rope_rows.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kChunkBytes = int64_t{4} << 20;  // of rows stored at once

// general.file_type of a file whose matrices are mostly `type`.
uint32_t GgufFileType(DType type) {
  switch (type) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 3;
    case DType::kQ8_0:
      return 7;
    case DType::kQ5_0:
      return 8;
    case DType::kQ5_1:
      return 9;
    case DType::kQ2_K:
      return 10;
    case DType::kQ3_K:
      return 12;
    case DType::kQ4_K:
      return 15;
    case DType::kQ5_K:
      return 17;
    case DType::kQ6_K:
      return 18;
    case DType::kIQ4_NL:
      return 25;
    case DType::kIQ4_XS:
      return 30;
    case DType::kBF16:
      return 32;
  }
  CADRE_CHECK(false && "a DType outside the table");
  return 0;
}

uint64_t BytesOf(const PlannedTensor& tensor) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < tensor.shape.size(); ++i) rows *= tensor.shape[i];
  return static_cast<uint64_t>(rows * RowBytes(tensor.type, tensor.cols()));
}

std::vector<PlannedTensor> TypedPlan(const Model& model, const SaveOptions& options) {
  auto plan = PlanTensors(model, options.layout);
  for (auto& tensor : plan) tensor.type = options.type_of(tensor);
  return plan;
}

// Tensors [begin, end) of the plan share a file.
struct Shard {
  size_t begin, end;
};

std::vector<Shard> CutIntoShards(const std::vector<PlannedTensor>& plan, uint64_t shard_bytes) {
  std::vector<Shard> shards = {{0, 0}};
  uint64_t bytes = 0;
  for (size_t i = 0; i < plan.size(); ++i) {
    const uint64_t more = BytesOf(plan[i]);
    if (shard_bytes > 0 && bytes > 0 && bytes + more > shard_bytes) {
      shards.push_back({i, i});
      bytes = 0;
    }
    bytes += more;
    shards.back().end = i + 1;
  }
  return shards;
}

// The type that holds most values of the plan.
DType MainType(const std::vector<PlannedTensor>& plan) {
  std::map<DType, uint64_t> values;
  for (const auto& tensor : plan) {
    const auto& info = Info(tensor.type);
    values[tensor.type] += BytesOf(tensor) / static_cast<uint64_t>(info.block_bytes) *
                           static_cast<uint64_t>(info.block_elems);
  }
  return std::max_element(values.begin(), values.end(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

// Encodes tensors row by row and hands the bytes on.
class TensorStore {
 public:
  TensorStore(const Model& model, const SaveOptions& options, ThreadPool& threads)
      : head_dim_(model.config.head_dim),
        from_(model.config.rope_layout),
        options_(options),
        threads_(threads),
        scratch_(static_cast<size_t>(threads.num_threads())) {}

  template <typename Append>
  void Store(const PlannedTensor& tensor, const Append& append) {
    const bool rotates = tensor.role == TensorRole::kQuery || tensor.role == TensorRole::kKey;
    const bool reorder = rotates && from_ != options_.layout.rope();
    for (const Weight& w : tensor.parts) {
      const auto importance =
          options_.importance_of ? options_.importance_of(w) : std::span<const float>();
      const int64_t row_bytes = RowBytes(tensor.type, w.cols);
      const int64_t chunk_rows = std::max<int64_t>(1, kChunkBytes / row_bytes);
      for (int64_t begin = 0; begin < w.rows; begin += chunk_rows) {
        const int64_t rows = std::min(chunk_rows, w.rows - begin);
        chunk_.resize(static_cast<size_t>(rows * row_bytes));
        threads_.ParallelFor(rows, [&](int64_t r, int thread) {
          const int64_t source = reorder ? SourceRow(begin + r) : begin + r;
          StoreRow(w, source, tensor.type, importance, thread, chunk_.data() + r * row_bytes);
        });
        append(std::span<const std::byte>(chunk_));
      }
      if (options_.weights_are_mapped && tensor.role != TensorRole::kNorm) {
        ReleasePages({w.data, static_cast<size_t>(w.rows * RowBytes(w.type, w.cols))});
      }
    }
  }

 private:
  int64_t SourceRow(int64_t row) const {
    return from_ == RopeLayout::kHalfSplit ? HalfSplitRow(row, head_dim_)
                                           : InterleavedRow(row, head_dim_);
  }

  void StoreRow(const Weight& w, int64_t row, DType type, std::span<const float> importance,
                int thread, std::byte* to) {
    const auto bytes = static_cast<size_t>(RowBytes(w.type, w.cols));
    if (w.type == type && w.low_rank == nullptr) {
      std::copy_n(w.row(row), bytes, to);
      return;
    }
    auto& values = scratch_[static_cast<size_t>(thread)];
    values.resize(static_cast<size_t>(w.cols));
    DecodeRow(w.type, w.row(row), values);
    if (w.low_rank != nullptr) AddLowRankRow(*w.low_rank, row, values);
    EncodeRow(type, values, to, importance);
  }

  int64_t head_dim_;
  RopeLayout from_;
  const SaveOptions& options_;
  ThreadPool& threads_;
  std::vector<std::vector<float>> scratch_;  // a row of each thread
  std::vector<std::byte> chunk_;
};

// Declares, resumes and stores the files of a plan one after another, and commits them together: a
// folder never holds some files of one model and some of another.
template <typename Writer>
class ShardWriter {
 public:
  ShardWriter(const std::vector<PlannedTensor>& plan, TensorStore& store,
              const SaveOptions& options)
      : plan_(plan), store_(store), options_(options) {
    for (const auto& tensor : plan) total_bytes_ += BytesOf(tensor);
  }

  // `writer` has its metadata.
  void Store(const Shard& shard, std::unique_ptr<Writer> writer, const std::string& path) {
    for (size_t i = shard.begin; i < shard.end; ++i)
      writer->Declare(plan_[i].name, plan_[i].type, plan_[i].shape);
    const size_t done = options_.work.empty() ? 0 : writer->Resume();
    for (size_t i = shard.begin; i < shard.end; ++i) {
      if (i >= shard.begin + done) {
        store_.Store(plan_[i], [&](std::span<const std::byte> bytes) { writer->Append(bytes); });
      }
      Count(plan_[i]);
    }
    writer->Seal();
    writers_.push_back(std::move(writer));
    summary_.files.push_back(path);
  }

  const SaveSummary& Commit() {
    for (auto& writer : writers_) writer->Commit();
    return summary_;
  }

 private:
  void Count(const PlannedTensor& tensor) {
    summary_.bytes += BytesOf(tensor);
    for (const Weight& w : tensor.parts) summary_.values += static_cast<uint64_t>(w.rows * w.cols);
    ++summary_.tensors[tensor.type];
    if (options_.on_progress) options_.on_progress(summary_.bytes, total_bytes_);
  }

  const std::vector<PlannedTensor>& plan_;
  TensorStore& store_;
  const SaveOptions& options_;
  uint64_t total_bytes_ = 0;
  std::vector<std::unique_ptr<Writer>> writers_;
  SaveSummary summary_;
};

void SetModelMetadata(const ModelConfig& c, uint32_t file_type, const std::string& name,
                      GgufWriter& writer) {
  // llama.cpp renormalises the gates of every "llama": under that name it would run another model.
  const std::string architecture = c.router.unnormalised() ? kUnnormalisedArchitecture : "llama";
  const auto key = [&](const char* rest) { return architecture + "." + rest; };
  writer.SetString("general.architecture", architecture);
  writer.SetString("general.name", name);
  writer.SetU32("general.file_type", file_type);
  writer.SetU32("general.quantization_version", 2);
  const auto u32 = [&](const char* rest, int64_t value) {
    writer.SetU32(key(rest), static_cast<uint32_t>(value));
  };
  u32("vocab_size", c.vocab_size);
  u32("context_length", c.context_length);
  u32("embedding_length", c.dim);
  u32("block_count", c.num_layers);
  u32("feed_forward_length", c.hidden_dim);
  u32("rope.dimension_count", c.head_dim);
  u32("attention.head_count", c.num_heads);
  u32("attention.head_count_kv", c.num_kv_heads);
  u32("attention.key_length", c.head_dim);
  u32("attention.value_length", c.head_dim);
  if (c.sliding_window > 0) u32("attention.sliding_window", c.sliding_window);
  writer.SetF32(key("attention.layer_norm_rms_epsilon"), c.rms_norm_eps);
  writer.SetF32(key("rope.freq_base"), static_cast<float>(c.rope_theta));
  if (!c.router.dense()) {
    u32("expert_count", c.router.num_experts);
    u32("expert_used_count", c.router.top_k);
  }
  if (c.router.unnormalised()) writer.SetBool(key("expert_weights_norm"), false);
}

std::string SafetensorsStem(TensorLayout names) {
  return names == TensorLayout::kMistral ? "consolidated" : "model";
}

// Below the folder `place`, or for GGUF beside its path: STEM-00001-of-00003.EXTENSION, without the
// numbers for a single file.
std::string ShardPath(TensorLayout names, const std::string& place, size_t shard,
                      size_t num_shards) {
  const bool gguf = names == TensorLayout::kGguf;
  if (gguf && num_shards == 1) return place;
  const std::string suffix =
      num_shards == 1 ? "" : fmt::format("-{:05}-of-{:05}", shard + 1, num_shards);
  if (!gguf) return (fs::path(place) / (SafetensorsStem(names) + suffix + ".safetensors")).string();
  const std::string stem = place.ends_with(".gguf") ? place.substr(0, place.size() - 5) : place;
  return stem + suffix + ".gguf";
}

}  // namespace

SaveOptions HuggingFaceFloats() {
  return {.layout = {TensorLayout::kHuggingFace, ExpertLayout::kSeparate},
          .type_of = [](const PlannedTensor&) { return DType::kF32; }};
}

PlannedFiles PlanFiles(const Model& model, const SaveOptions& options, const std::string& place) {
  const auto plan = TypedPlan(model, options);
  const size_t num_shards = CutIntoShards(plan, options.shard_bytes).size();
  PlannedFiles files;
  for (size_t s = 0; s < num_shards; ++s)
    files.paths.push_back(ShardPath(options.layout.names, place, s, num_shards));
  for (const auto& tensor : plan) files.bytes += BytesOf(tensor);
  return files;
}

SaveSummary SaveSafetensors(const Model& model, const SaveOptions& options, ThreadPool& threads,
                            const std::string& folder) {
  const TensorLayout names = options.layout.names;
  CADRE_CHECK(names != TensorLayout::kGguf);
  if (names == TensorLayout::kMistral && model.config.router.unnormalised()) {
    throw Error(
        "{}: params.json cannot say that gates are not renormalised, and what reads it would "
        "renormalise them: write another layout",
        folder);
  }
  auto plan = TypedPlan(model, options);
  const auto shards = CutIntoShards(plan, options.shard_bytes);
  // Wide elements first, so that each starts at a multiple of its size.
  for (const Shard& shard : shards) {
    std::stable_sort(plan.begin() + static_cast<ptrdiff_t>(shard.begin),
                     plan.begin() + static_cast<ptrdiff_t>(shard.end),
                     [](const auto& a, const auto& b) {
                       return Info(a.type).block_bytes > Info(b.type).block_bytes;
                     });
  }
  TensorStore store(model, options, threads);
  ShardWriter<SafetensorsWriter> writer(plan, store, options);
  OrderedJson weight_map = OrderedJson::object();
  for (size_t s = 0; s < shards.size(); ++s) {
    const std::string path = ShardPath(names, folder, s, shards.size());
    writer.Store(shards[s],
                 std::make_unique<SafetensorsWriter>(path, std::map<std::string, std::string>(),
                                                     options.work),
                 path);
    for (size_t i = shards[s].begin; i < shards[s].end; ++i)
      weight_map[plan[i].name] = fs::path(path).filename().string();
  }
  const std::string index_path =
      (fs::path(folder) / (SafetensorsStem(names) + ".safetensors.index.json")).string();
  // Between here and the last of the new files, a folder that is left behind is no model.
  std::error_code ignored;
  fs::remove(index_path, ignored);
  if (shards.size() > 1) fs::remove(ShardPath(names, folder, 0, 1), ignored);
  const SaveSummary& summary = writer.Commit();
  if (shards.size() > 1) {
    const OrderedJson index = {{"metadata", {{"total_size", summary.bytes}}},
                               {"weight_map", weight_map}};
    WriteFileAtomically(index_path, index.dump(2) + "\n");
  }
  const bool mistral = names == TensorLayout::kMistral;
  const OrderedJson config =
      mistral ? ConfigToParams(model.config) : ConfigToJson(model.config, MainType(plan));
  WriteFileAtomically((fs::path(folder) / (mistral ? "params.json" : "config.json")).string(),
                      config.dump(2) + "\n");
  return summary;
}

uint64_t GgufOverheadBytes(const Model& model, const SaveOptions& options,
                           const std::function<void(GgufWriter&)>& set_text,
                           const std::string& name, const std::string& path) {
  const auto plan = TypedPlan(model, options);
  GgufWriter writer(path);  // leaves nothing
  SetModelMetadata(model.config, GgufFileType(MainType(plan)), name, writer);
  set_text(writer);
  for (const auto& tensor : plan) writer.Declare(tensor.name, tensor.type, tensor.shape);
  return writer.header_bytes();
}

SaveSummary SaveGguf(const Model& model, const SaveOptions& options, ThreadPool& threads,
                     const std::function<void(GgufWriter&)>& set_text, const std::string& name,
                     const std::string& path) {
  CADRE_CHECK(options.layout.names == TensorLayout::kGguf);
  const auto plan = TypedPlan(model, options);
  const auto shards = CutIntoShards(plan, options.shard_bytes);
  TensorStore store(model, options, threads);
  ShardWriter<GgufWriter> shard_writer(plan, store, options);
  for (size_t s = 0; s < shards.size(); ++s) {
    const std::string file = ShardPath(TensorLayout::kGguf, path, s, shards.size());
    auto writer = std::make_unique<GgufWriter>(file, options.work);
    if (s == 0) {
      SetModelMetadata(model.config, options.gguf_file_type.value_or(GgufFileType(MainType(plan))),
                       name, *writer);
      set_text(*writer);
    }
    if (shards.size() > 1) {
      writer->SetU16("split.no", static_cast<uint16_t>(s));
      writer->SetU16("split.count", static_cast<uint16_t>(shards.size()));
      writer->SetI32("split.tensors.count", static_cast<int32_t>(plan.size()));
    }
    shard_writer.Store(shards[s], std::move(writer), file);
  }
  return shard_writer.Commit();
}

}  // namespace cadre
