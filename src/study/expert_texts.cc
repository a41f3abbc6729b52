#include <algorithm>

#include "study/report_numbers.h"
#include "study/shuffle.h"
#include "study/study.h"
#include "study/token_groups.h"
#include "study/typical_tokens.h"

namespace cadre {
namespace {

// Context of an example, tokens on each side.
constexpr int64_t kBefore = 6;
constexpr int64_t kAfter = 4;
constexpr int64_t kLeastOccurrences = 8;
constexpr int64_t kSampleTokens = 240;

// How many tokens an expert is shown with: a page has room for some thousands in all.
int64_t MostTypical(const RoutingTrace& trace) {
  constexpr int64_t kOfAll = 6000;
  return std::clamp<int64_t>(kOfAll / (trace.num_layers() * trace.num_experts), 3, 12);
}

// A token's bytes as text: bytes that are no character stay "<0xHH>".
std::string PieceText(const Tokenizer& tokenizer, int32_t id) {
  if (tokenizer.IsByte(id) || tokenizer.IsControl(id)) {
    const std::string bytes = tokenizer.PieceBytes(id);
    const bool is_ascii = bytes.size() == 1 && (bytes[0] & 0x80) == 0;
    return is_ascii ? bytes : tokenizer.PieceText(id);
  }
  return tokenizer.PieceBytes(id);
}

const RoutingTrace::Document& DocumentOf(const RoutingTrace& trace, int64_t t) {
  return *std::partition_point(trace.documents.begin(), trace.documents.end(),
                               [&](const auto& document) { return document.end <= t; });
}

// The text of tokens [begin, end), spaces at its ends kept.
std::string TextOf(const StudyInput& input, int64_t begin, int64_t end) {
  if (begin >= end) return "";
  std::vector<int32_t> ids(input.trace->ids.begin() + begin, input.trace->ids.begin() + end);
  const bool spaced = input.tokenizer->PieceBytes(ids.front()).starts_with(' ');
  return (spaced ? " " : "") + input.tokenizer->Decode(ids);
}

OrderedJson TypicalJson(const StudyInput& input, const TypicalToken& token) {
  const RoutingTrace& trace = *input.trace;
  const RoutingTrace::Document& document = DocumentOf(trace, token.example);
  return {
      {"token", PieceText(*input.tokenizer, token.id)},
      {"id", token.id},
      {"count", token.count},
      {"occurrences", token.occurrences},
      {"lift", Rounded(token.lift)},
      {"before", TextOf(input, std::max(document.begin, token.example - kBefore), token.example)},
      {"after",
       TextOf(input, token.example + 1, std::min(document.end, token.example + 1 + kAfter))},
      {"domain", trace.domains[static_cast<size_t>(document.domain)].name}};
}

OrderedJson GroupsJson(const StudyInput& input, const RoutingTrace::Layer& layer) {
  const auto groups = TokenGroups();
  const auto counts =
      GroupCounts(*input.trace, layer, GroupsOf(*input.tokenizer), std::ssize(groups));
  const auto num_experts = static_cast<size_t>(input.trace->num_experts);
  OrderedJson list = OrderedJson::array();
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::vector<int64_t> row(
        counts.begin() + static_cast<std::ptrdiff_t>(g * num_experts),
        counts.begin() + static_cast<std::ptrdiff_t>((g + 1) * num_experts));
    list.push_back({{"group", groups[g].name}, {"choices", row}});
  }
  return list;
}

OrderedJson SampleJson(const StudyInput& input, int64_t begin, int64_t end) {
  const RoutingTrace& trace = *input.trace;
  OrderedJson sample;
  sample["tokens"] = OrderedJson::array();
  for (int64_t t = begin; t < end; ++t) {
    sample["tokens"].push_back(PieceText(*input.tokenizer, trace.ids[static_cast<size_t>(t)]));
  }
  sample["experts"] = OrderedJson::array();  // [layers][tokens * k]
  for (const auto& layer : trace.layers) {
    sample["experts"].push_back(std::vector<uint16_t>(layer.experts.begin() + begin * trace.top_k,
                                                      layer.experts.begin() + end * trace.top_k));
  }
  return sample;
}

}  // namespace

OrderedJson ExpertTexts(const StudyInput& input, int64_t layer_number) {
  const auto& layer = input.trace->layers[static_cast<size_t>(layer_number)];
  OrderedJson json;
  json["groups"] = GroupsJson(input, layer);
  json["typical"] = OrderedJson::array();
  for (const auto& tokens :
       TypicalTokensOf(*input.trace, layer, MostTypical(*input.trace), kLeastOccurrences)) {
    OrderedJson list = OrderedJson::array();
    for (const auto& token : tokens) list.push_back(TypicalJson(input, token));
    json["typical"].push_back(std::move(list));
  }
  return json;
}

OrderedJson SampleTexts(const StudyInput& input) {
  const RoutingTrace& trace = *input.trace;
  OrderedJson samples = OrderedJson::array();
  for (size_t d = 0; d < trace.domains.size(); ++d) {
    const auto& domain = trace.domains[d];
    Random draws = DrawsFor(input.seed, DrawFor::kSample, static_cast<int64_t>(d));
    const auto drawn = draws.NextBelow(static_cast<uint64_t>(domain.num_documents));
    const auto window = trace.WindowsOf(trace.DocumentsOf(domain)[drawn]).front();
    OrderedJson sample =
        SampleJson(input, window.begin, std::min(window.end, window.begin + kSampleTokens));
    sample["domain"] = domain.name;
    sample["document"] = drawn;
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace cadre
