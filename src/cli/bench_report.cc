#include "cli/bench_report.h"

#include "base/json.h"
#include "base/progress.h"
#include "cli/fetching.h"
#include "cli/output.h"
#include "cli/plan_report.h"

namespace cadre {
namespace {

struct Shares {
  double gigabytes_per_s, fraction_of_stream, prompt_gops;
  // Of the products that the experts' type is made of: BF16, else 8-bit.
  std::string_view peak_name;
  double peak_gops, fraction_of_peak;
};

Shares SharesOf(const Measured& m, int64_t prompt, double batch) {
  Shares shares{};
  shares.gigabytes_per_s = m.generate.median / batch * m.work.bytes_per_step * 1e-9;
  shares.fraction_of_stream = shares.gigabytes_per_s / m.limits.stream_gigabytes_per_s;
  shares.prompt_gops =
      m.prompt.median / static_cast<double>(prompt) * m.work.operations_per_prompt * 1e-9;
  const bool bf16 = m.expert_type == DType::kBF16 && m.limits.bf16_gflops > 0;
  shares.peak_name = bf16 ? "BF16" : "integer";
  shares.peak_gops = bf16 ? m.limits.bf16_gflops : m.limits.integer_gops;
  shares.fraction_of_peak = shares.prompt_gops / shares.peak_gops;
  return shares;
}

OrderedJson ToJson(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

// Beside what was measured: how much more or less that is.
std::string PredictedText(const Measured& m, const BenchCommand& command) {
  if (!m.predicted) return "";
  const auto beside = [](double predicted, double measured) {
    return fmt::format("{:.1f} tokens/s (measured {:+.0f} %)", predicted,
                       100 * (measured / predicted - 1));
  };
  std::string text =
      fmt::format("predicted prompt {}", beside(m.predicted->prompt_tokens_per_s, m.prompt.median));
  if (command.generate > 0)
    text +=
        fmt::format(", generate {}", beside(m.predicted->generate_tokens_per_s, m.generate.median));
  if (m.predicted->hit_rate) text += fmt::format(", {:.0f} % hits", 100 * *m.predicted->hit_rate);
  return text + fmt::format(", memory {}\n", ShortBytes(m.predicted_bytes));
}

}  // namespace

void PrintResult(const Measured& m, const BenchCommand& command) {
  const auto batch = static_cast<double>(command.batch);
  const Shares s = SharesOf(m, command.prompt, batch);
  if (command.json) {
    OrderedJson json = {{"prompt_tokens", command.prompt},
                        {"generate_tokens", command.generate},
                        {"depth", command.depth},
                        {"batch", command.batch},
                        {"repeat", command.repeat},
                        {"prompt_tokens_per_s", ToJson(m.prompt)},
                        {"generate_tokens_per_s", ToJson(m.generate)},
                        {"bytes_per_token", m.work.bytes_per_step / batch},
                        {"gigabytes_per_s", s.gigabytes_per_s},
                        {"stream_gigabytes_per_s", m.limits.stream_gigabytes_per_s},
                        {"fraction_of_stream", s.fraction_of_stream},
                        {"prompt_gops", s.prompt_gops},
                        {"integer_peak_gops", m.limits.integer_gops},
                        {"fraction_of_integer_peak", s.prompt_gops / m.limits.integer_gops},
                        {"peak", s.peak_name},
                        {"fraction_of_peak", s.fraction_of_peak},
                        {"matrix_peak_gops", m.limits.matrix_gops},
                        {"bf16_peak_gflops", m.limits.bf16_gflops},
                        {"peak_rss_bytes", m.peak_rss_bytes}};
    if (m.fetching) json["experts_fetched"] = ToJson(*m.fetching);
    if (m.predicted) {
      json["predicted"] = ToJson(*m.predicted);
      json["predicted"]["resident_bytes"] = m.predicted_bytes;
    }
    return PrintJson(json);
  }
  std::string text = fmt::format(
      "prompt    {:8.1f} tokens/s  ({:.1f} to {:.1f})  {:.0f} GOP/s, {:.0f} % of the {} peak "
      "of {:.0f}\n",
      m.prompt.median, m.prompt.min, m.prompt.max, s.prompt_gops, 100 * s.fraction_of_peak,
      s.peak_name, s.peak_gops);
  if (command.generate > 0) {
    text += fmt::format(
        "generate  {:8.1f} tokens/s  ({:.1f} to {:.1f})  {} per token: {:.1f} GB/s, {:.0f} % of "
        "the "
        "stream's {:.1f}\n",
        m.generate.median, m.generate.min, m.generate.max,
        ShortBytes(m.work.bytes_per_step / batch), s.gigabytes_per_s, 100 * s.fraction_of_stream,
        m.limits.stream_gigabytes_per_s);
  }
  if (m.limits.matrix_gops > 0) {
    text += fmt::format(
        "          that peak is of vector products; the matrix unit's is {:.0f} (8 bits)\n",
        m.limits.matrix_gops);
  }
  if (m.fetching) text += ToText(*m.fetching) + "\n" + ToTable(*m.fetching);
  text += fmt::format("memory    {} at most\n", ShortBytes(m.peak_rss_bytes));
  Print(text + PredictedText(m, command));
}

}  // namespace cadre
