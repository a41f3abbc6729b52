// Any bytes as the two files of an adapter: adapters that fit a tiny model and compute, or one
// Error. The input is the configuration, a line end, and the tensors' file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "model/adapter_files.h"
#include "ops/device.h"

namespace {

cadre::ModelConfig TinyConfig() {
  cadre::ModelConfig config;
  config.dim = 4;
  config.hidden_dim = 6;
  config.num_layers = 1;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 2;
  config.vocab_size = 3;
  config.router = {.num_experts = 2, .top_k = 1};
  return config;
}

// Each adapted matrix with one token.
void Compute(const cadre::StoredAdapters& stored, const cadre::Model& bound) {
  const auto device = cadre::MakeReferenceDevice();
  for (const auto& adapter : stored.layout.adapters()) {
    const cadre::Weight& w = cadre::MatrixOf(bound.weights, adapter);
    if (w.low_rank == nullptr || adapter.rank < 1) abort();
    std::vector<float> x(static_cast<size_t>(w.cols), 1), out(static_cast<size_t>(w.rows));
    device->MatMul(cadre::Mat<const float>(x.data(), 1, w.cols), w, cadre::ActivationType::kF32,
                   cadre::Mat<float>(out.data(), 1, w.rows));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const cadre::ParameterLayout layout(TinyConfig());
  static cadre::Buffer<float> values(layout.size());
  static const cadre::Model base = layout.Bind(values.data());
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t line_end = text.find('\n');
  if (line_end == text.npos) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(line_end + 1);
  try {
    const cadre::Json config = cadre::ParseJson(text.substr(0, line_end), "config");
    const auto file = cadre::SafetensorsFile::Parse(bytes, "weights");
    cadre::StoredAdapters stored = cadre::ReadAdapters(config, "config", file, base);
    Compute(stored, stored.Bind());
  } catch (const cadre::Error&) {
  }
  return 0;
}
