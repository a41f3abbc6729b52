#include "cli/routing_table.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "cli/output.h"
#include "text/utf8.h"

namespace cadre {
namespace {

constexpr size_t kPieceWidth = 16;

// Columns of a terminal that a character takes: two for East Asian wide ones and emoji.
size_t Columns(uint32_t c) {
  const bool is_wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
                       (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
                       (c >= 0xff00 && c <= 0xff60) || (c >= 0x1f300 && c <= 0x1faff) ||
                       (c >= 0x20000 && c <= 0x3fffd);
  return is_wide ? 2 : 1;
}

// The piece with its space symbol, at most kPieceWidth columns, padded to that.
std::string PaddedPiece(const std::string& piece) {
  std::string shown;
  size_t width = 0;
  std::string_view rest = piece;
  while (!rest.empty()) {
    const Utf8Step step = DecodeUtf8(rest);
    if (width + Columns(step.code_point) > kPieceWidth) break;
    const bool is_control =
        step.code_point < 0x20 || (step.code_point >= 0x7f && step.code_point < 0xa0);
    shown += is_control ? kReplacementCharacter : rest.substr(0, step.num_bytes);
    rest.remove_prefix(step.num_bytes);
    width += Columns(step.code_point);
  }
  return shown + std::string(kPieceWidth - width, ' ');
}

// A colour of its own for each of a few experts.
std::string ExpertStyle(int32_t expert) {
  constexpr int kStyles[] = {31, 32, 33, 34, 35, 36, 91, 92, 93, 94, 95, 96};
  return std::to_string(kStyles[static_cast<size_t>(expert) % std::size(kStyles)]);
}

}  // namespace

std::vector<int64_t> ParseLayers(const std::string& text, int64_t num_layers) {
  std::vector<int64_t> layers = {0, num_layers / 2, num_layers - 1};
  if (!text.empty()) layers.clear();
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    int64_t layer = -1;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, layer);
    if (error != std::errc() || stop != text.data() + end || layer < 0 || layer >= num_layers) {
      throw Error(
          "--show-routing: '{}' is no layer; expected numbers from 0 to {} with commas between "
          "them",
          Printable(std::string_view(text).substr(begin, end - begin)), num_layers - 1);
    }
    layers.push_back(layer);
    begin = end + 1;
  }
  std::sort(layers.begin(), layers.end());
  layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
  return layers;
}

RoutingTable::RoutingTable(std::vector<int64_t> layers) : layers_(std::move(layers)) {
  latest_.layers.resize(layers_.size());
}

void RoutingTable::Observe(int64_t layer, const Routing& routing) {
  const auto place = std::find(layers_.begin(), layers_.end(), layer);
  if (place == layers_.end() || routing.experts.rows == 0) return;
  auto& choices = latest_.layers[static_cast<size_t>(place - layers_.begin())];
  choices.clear();
  const int64_t row = routing.experts.rows - 1;
  for (int64_t i = 0; i < routing.experts.cols; ++i) {
    const int32_t expert = routing.experts.row(row)[i];
    if (expert < 0) continue;
    choices.push_back({expert, routing.gates.row(row)[i]});
    expert_digits_ = std::max(expert_digits_, std::to_string(expert).size());
  }
  most_choices_ = std::max(most_choices_, choices.size());
  has_latest_ = true;
}

void RoutingTable::Commit(int32_t id) {
  if (!has_latest_) return;
  latest_.id = id;
  rows_.push_back(latest_);
  has_latest_ = false;
}

OrderedJson RoutingTable::ToJson(const Tokenizer& tokenizer) const {
  OrderedJson tokens = OrderedJson::array();
  for (const Row& row : rows_) {
    OrderedJson experts = OrderedJson::array();
    OrderedJson gates = OrderedJson::array();
    for (const auto& choices : row.layers) {
      experts.push_back(OrderedJson::array());
      gates.push_back(OrderedJson::array());
      for (const Choice& choice : choices) {
        experts.back().push_back(choice.expert);
        gates.back().push_back(choice.gate);
      }
    }
    tokens.push_back({{"id", row.id},
                      {"piece", tokenizer.PieceText(row.id)},
                      {"experts", experts},
                      {"gates", gates}});
  }
  return {{"layers", layers_}, {"tokens", tokens}};
}

std::string RoutingTable::ToText(const Tokenizer& tokenizer, bool colour) const {
  std::string header(kPieceWidth, ' ');
  for (const int64_t layer : layers_) {
    const std::string title = fmt::format("layer {}", layer);
    header += "  " + title + std::string(CellWidth() - std::min(CellWidth(), title.size()), ' ');
  }
  std::string text = Styled(header, "1", colour) + "\n";
  for (const Row& row : rows_) {
    text += PaddedPiece(tokenizer.PieceText(row.id));
    for (const auto& choices : row.layers) text += "  " + Cell(choices, colour);
    text += "\n";
  }
  return text;
}

// "3 62%" each, padded to the widest.
std::string RoutingTable::Cell(const std::vector<Choice>& choices, bool colour) const {
  std::string cell;
  size_t width = 0;
  for (const Choice& choice : choices) {
    const std::string expert = fmt::format("{:>{}}", choice.expert, expert_digits_);
    const std::string gate = fmt::format(" {:>3.0f}%", 100 * choice.gate);
    cell += (width > 0 ? "  " : "") + Styled(expert, ExpertStyle(choice.expert), colour) +
            Styled(gate, "2", colour);
    width += (width > 0 ? 2 : 0) + expert.size() + gate.size();
  }
  return cell + std::string(CellWidth() - std::min(CellWidth(), width), ' ');
}

size_t RoutingTable::CellWidth() const {
  const size_t choice = expert_digits_ + 5;
  return std::max(most_choices_ * (choice + 2) - 2, size_t{9});
}

}  // namespace cadre
