#include "model/adapter_files.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/json.h"
#include "model/rope_rows.h"
#include "tensor/quant.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "base_model.model.";

bool IsRotated(AdaptedMatrix matrix) {
  return matrix == AdaptedMatrix::kQuery || matrix == AdaptedMatrix::kKey;
}

// The row of the base's order that a row of Hugging Face's is.
int64_t BaseRow(const ModelConfig& config, const Adapter& adapter, int64_t row) {
  return IsRotated(adapter.matrix) && config.rope_layout == RopeLayout::kInterleaved
             ? InterleavedRow(row, config.head_dim)
             : row;
}

std::span<float> Row(const Weight& w, int64_t row) {
  auto* data = reinterpret_cast<float*>(const_cast<std::byte*>(w.row(row)));
  return {data, static_cast<size_t>(w.cols)};
}

// What adapter_config.json says.
struct PeftConfig {
  std::string name;  // of the file
  double alpha = 8;
  bool rank_stabilised = false;
  std::vector<std::pair<std::string, double>> alpha_pattern = {};

  float ScaleOf(const std::string& module, int64_t rank) const {
    double a = alpha;
    for (const auto& [pattern, value] : alpha_pattern) {
      if (module == pattern || module.ends_with("." + pattern)) {
        a = value;
        break;
      }
    }
    const auto r = static_cast<double>(rank);
    return static_cast<float>(a / (rank_stabilised ? std::sqrt(r) : r));
  }
};

// Settings under which the tensors are not all there is to the adapter, unless they are off.
void RefuseMore(const Json& json, const std::string& name) {
  for (const char* key : {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"}) {
    if (JsonBool(json, key, false, name))
      throw Error("{}: {} is set, which Cadre does not run", name, key);
  }
  const std::string bias = JsonString(json, "bias", "none", name);
  if (bias != "none")
    throw Error("{}: bias is {} but the model has no biases", name, Printable(bias));
  for (const char* key : {"modules_to_save", "layer_replication", "trainable_token_indices",
                          "alora_invocation_tokens"}) {
    const auto found = json.find(key);
    if (found != json.end() && !found->is_null() && !found->empty())
      throw Error("{}: {} is set, which Cadre does not run", name, key);
  }
}

PeftConfig ReadPeftConfig(const Json& json, const std::string& path) {
  if (!json.is_object()) throw Error("{}: must be a JSON object", path);
  const std::string type = JsonString(json, "peft_type", "", path);
  if (type != "LORA") throw Error("{}: peft_type is {} but must be LORA", path, Printable(type));
  RefuseMore(json, path);
  PeftConfig config{.name = path};
  config.alpha = JsonNumber(json, "lora_alpha", config.alpha, path);
  config.rank_stabilised = JsonBool(json, "use_rslora", false, path);
  const auto patterns = json.find("alpha_pattern");
  if (patterns == json.end() || patterns->is_null()) return config;
  if (!patterns->is_object()) throw Error("{}: alpha_pattern must be an object", path);
  for (const auto& [pattern, value] : patterns->items()) {
    if (pattern.find_first_of("*+?[](){}|^$\\") != std::string::npos) {
      throw Error("{}: alpha_pattern has the regular expression {}, but Cadre takes names only",
                  path, Printable(pattern));
    }
    config.alpha_pattern.emplace_back(pattern,
                                      JsonNumber(*patterns, pattern.c_str(), config.alpha, path));
  }
  return config;
}

// The two tensors of a module, decoded.
struct Pair {
  const SafetensorsEntry* down = nullptr;
  const SafetensorsEntry* up = nullptr;
};

Weight AsWeight(const SafetensorsEntry& entry, const std::string& file) {
  const auto type = ToDType(entry.type);
  if (!type || entry.shape.size() != 2) {
    throw Error("{}: tensor {} is {} of {} dimensions but must be a matrix of F32, F16 or BF16",
                file, Printable(entry.name), Name(entry.type), entry.shape.size());
  }
  return {.data = entry.data.data(), .type = *type, .rows = entry.shape[0], .cols = entry.shape[1]};
}

// Splits "base_model.model.MODULE.lora_A.weight"; an adapter's name may stand before "weight".
// Throws Error for a tensor of another name.
std::map<std::string, Pair> PairsOf(const SafetensorsFile& file) {
  std::map<std::string, Pair> pairs;
  for (const auto& entry : file.entries()) {
    const std::string_view name = entry.name;
    const size_t at = name.find(".lora_");
    const bool fits = name.starts_with(kPrefix) && at != std::string_view::npos &&
                      name.ends_with(".weight") && at > kPrefix.size();
    const std::string_view kind = fits ? name.substr(at + 1, 7) : "";
    if (kind != "lora_A." && kind != "lora_B.") {
      throw Error("{}: tensor {} is not the lora_A or lora_B of a module", file.name(),
                  Printable(name));
    }
    Pair& pair = pairs[std::string(name.substr(kPrefix.size(), at - kPrefix.size()))];
    const SafetensorsEntry*& place = kind == "lora_A." ? pair.down : pair.up;
    if (place != nullptr) throw Error("{}: tensor {} is there twice", file.name(), Printable(name));
    place = &entry;
  }
  for (const auto& [module, pair] : pairs) {
    if (pair.down == nullptr || pair.up == nullptr) {
      throw Error("{}: {} has no {}", file.name(), Printable(module),
                  pair.down == nullptr ? "lora_A" : "lora_B");
    }
  }
  return pairs;
}

// An adapter and the rows and columns of the file's tensors that are its own.
struct Source {
  Adapter adapter;
  Weight down, up;
  int64_t first_down = 0;                       // row of `down`
  int64_t first_up = 0;                         // row of `up`
  int64_t first_column = 0, columns_apart = 1;  // of `up`
};

class AdapterReader {
 public:
  AdapterReader(const SafetensorsFile& file, const PeftConfig& peft, const Model& base)
      : file_(file), peft_(peft), base_(base) {
    const auto& c = base.config;
    for (int64_t l = 0; l < c.num_layers; ++l) {
      for (int m = 0; m <= static_cast<int>(AdaptedMatrix::kUp); ++m) {
        const auto matrix = static_cast<AdaptedMatrix>(m);
        for (int64_t e = 0; e < (IsOfExpert(matrix) ? c.router.num_experts : 1); ++e) {
          const Adapter adapter{l, e, matrix, 0, 1};
          modules_.emplace(ModuleOf(adapter, c.router.dense()), adapter);
        }
      }
      if (!c.router.dense()) layers_.emplace(fmt::format("model.layers.{}.mlp.experts", l), l);
    }
  }

  std::vector<Source> Read() {
    for (const auto& [module, pair] : PairsOf(file_)) {
      const Weight down = AsWeight(*pair.down, file_.name());
      const Weight up = AsWeight(*pair.up, file_.name());
      std::string_view all = module;
      while (all.ends_with(".base_layer"))
        all.remove_suffix(std::string_view(".base_layer").size());
      if (const auto one = modules_.find(module); one != modules_.end()) {
        ReadOne(one->second, module, down, up);
      } else if (const auto layer = layers_.find(std::string(all)); layer != layers_.end()) {
        ReadLayer(layer->second, module, down, up);
      } else {
        throw Error("{}: {} is no matrix of attention or experts of this model", file_.name(),
                    Printable(module));
      }
    }
    if (sources_.empty()) throw Error("{}: holds no adapters", file_.name());
    return std::move(sources_);
  }

 private:
  void Refuse(const std::string& module, const Weight& down, const Weight& up, int64_t rows,
              int64_t cols) const {
    throw Error(
        "{}: lora_B lora_A of {} are [{}, {}] and [{}, {}], which does not fit a matrix of "
        "[{}, {}]",
        file_.name(), Printable(module), up.rows, up.cols, down.rows, down.cols, rows, cols);
  }

  void Add(const Source& source) {
    if (!taken_.insert(ModuleOf(source.adapter, base_.config.router.dense())).second) {
      throw Error("{}: {} is adapted twice", file_.name(),
                  ModuleOf(source.adapter, base_.config.router.dense()));
    }
    sources_.push_back(source);
  }

  void ReadOne(Adapter adapter, const std::string& module, const Weight& down, const Weight& up) {
    const Weight& matrix = MatrixOf(base_.weights, adapter);
    if (down.rows != up.cols || down.rows == 0 || down.cols != matrix.cols ||
        up.rows != matrix.rows) {
      Refuse(module, down, up, matrix.rows, matrix.cols);
    }
    adapter.rank = down.rows;
    adapter.scale = peft_.ScaleOf(module, adapter.rank);
    Add({adapter, down, up});
  }

  // All experts of a layer: rows of lora_A expert by expert, columns of lora_B rank by rank, in
  // each the experts. Gate and up share a lora_A.
  void ReadLayer(int64_t layer, const std::string& module, const Weight& down, const Weight& up) {
    const auto& c = base_.config;
    const int64_t experts = c.router.num_experts;
    const bool gate_up = down.cols == c.dim && up.rows == 2 * c.hidden_dim;
    const bool is_down = down.cols == c.hidden_dim && up.rows == c.dim;
    if ((!gate_up && !is_down) || down.rows != up.cols || down.rows == 0 ||
        down.rows % experts != 0) {
      Refuse(module, down, up, c.dim, c.hidden_dim);
    }
    const int64_t rank = down.rows / experts;
    const std::string parameter = fmt::format("model.layers.{}.mlp.experts.{}", layer,
                                              gate_up ? "gate_up_proj" : "down_proj");
    const float scale = peft_.ScaleOf(parameter, rank);
    const auto add = [&](int64_t expert, AdaptedMatrix matrix, int64_t first_up) {
      Add({{layer, expert, matrix, rank, scale},
           down,
           up,
           expert * rank,
           first_up,
           expert,
           experts});
    };
    for (int64_t e = 0; e < experts; ++e) {
      if (gate_up) {
        add(e, AdaptedMatrix::kGate, 0);
        add(e, AdaptedMatrix::kUp, c.hidden_dim);
      } else {
        add(e, AdaptedMatrix::kDown, 0);
      }
    }
  }

  const SafetensorsFile& file_;
  const PeftConfig& peft_;
  const Model& base_;
  std::map<std::string, Adapter> modules_;
  std::map<std::string, int64_t> layers_;  // of experts adapted together
  std::set<std::string> taken_;
  std::vector<Source> sources_;
};

void Copy(const Source& source, const ModelConfig& config, const LowRank& to) {
  for (int64_t r = 0; r < to.rank(); ++r)
    DecodeRow(source.down.type, source.down.row(source.first_down + r), Row(to.down, r));
  std::vector<float> values(static_cast<size_t>(source.up.cols));
  for (int64_t n = 0; n < to.up.rows; ++n) {
    DecodeRow(source.up.type, source.up.row(source.first_up + n), values);
    const auto row = Row(to.up, BaseRow(config, source.adapter, n));
    for (size_t r = 0; r < row.size(); ++r)
      row[r] = values[static_cast<size_t>(source.first_column) +
                      r * static_cast<size_t>(source.columns_apart)];
  }
}

// A module's last name, as PEFT's target_modules have it.
std::string Leaf(const std::string& module) { return module.substr(module.rfind('.') + 1); }

// What PEFT calls alpha: the scale times the rank, as float32 has it.
float AlphaOf(const Adapter& adapter) { return adapter.scale * static_cast<float>(adapter.rank); }

OrderedJson ConfigJson(const ParameterLayout& layout, const std::string& base_name) {
  const auto& adapters = layout.adapters();
  const bool dense = layout.config().router.dense();
  const Adapter& first = adapters.front();
  std::set<std::string> targets;
  OrderedJson ranks = OrderedJson::object(), alphas = OrderedJson::object();
  for (const auto& adapter : adapters) {
    const std::string module = ModuleOf(adapter, dense);
    targets.insert(Leaf(module));
    if (adapter.rank != first.rank) ranks[module] = adapter.rank;
    if (AlphaOf(adapter) != AlphaOf(first)) alphas[module] = AlphaOf(adapter);
  }
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", base_name},
          {"r", first.rank},
          {"lora_alpha", AlphaOf(first)},
          {"lora_dropout", 0.0},
          {"use_rslora", false},
          {"use_dora", false},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"init_lora_weights", true},
          {"inference_mode", true},
          {"modules_to_save", nullptr},
          {"target_modules", targets},
          {"rank_pattern", ranks},
          {"alpha_pattern", alphas}};
}

}  // namespace

StoredAdapters LoadAdapters(const std::string& folder, const Model& base) {
  const std::string config = (fs::path(folder) / kAdapterConfigName).string();
  const auto weights = SafetensorsFile::Open((fs::path(folder) / kAdapterWeightsName).string());
  return ReadAdapters(ReadJsonFile(config), config, weights, base);
}

StoredAdapters ReadAdapters(const Json& config, const std::string& config_name,
                            const SafetensorsFile& weights, const Model& base) {
  const PeftConfig peft = ReadPeftConfig(config, config_name);
  const std::vector<Source> sources = AdapterReader(weights, peft, base).Read();
  std::vector<Adapter> adapters;
  for (const auto& source : sources) adapters.push_back(source.adapter);
  StoredAdapters stored{ParameterLayout(base, std::move(adapters)), {}};
  stored.values.Resize(stored.layout.size());
  for (size_t i = 0; i < sources.size(); ++i)
    Copy(sources[i], base.config, stored.layout.LowRankOf(i, stored.values.data()));
  return stored;
}

void SaveAdapters(const ParameterLayout& layout, const float* values, const std::string& base_name,
                  const std::string& folder) {
  SafetensorsWriter writer((fs::path(folder) / kAdapterWeightsName).string());
  for (const auto& p : layout.parameters()) {
    const std::vector<int64_t> shape = {p.rows, p.cols};
    writer.Declare(std::string(kPrefix) + p.name, DType::kF32, shape);
  }
  for (size_t i = 0; i < layout.adapters().size(); ++i) {
    const Adapter& adapter = layout.adapters()[i];
    const LowRank low_rank = layout.LowRankOf(i, const_cast<float*>(values));
    for (int64_t r = 0; r < low_rank.down.rows; ++r)
      writer.Append(std::as_bytes(Row(low_rank.down, r)));
    for (int64_t n = 0; n < low_rank.up.rows; ++n)
      writer.Append(std::as_bytes(Row(low_rank.up, BaseRow(layout.config(), adapter, n))));
  }
  writer.Commit();
  WriteFileAtomically((fs::path(folder) / kAdapterConfigName).string(),
                      ConfigJson(layout, base_name).dump(2) + "\n");
}

}  // namespace cadre
