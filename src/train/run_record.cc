#include "train/run_record.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"

namespace cadre {
namespace {

// Even, so that full ones merge in pairs.
constexpr size_t kMostPoints = 800;
constexpr size_t kMostColumns = 96;

// Of a record from outside; no run has as many.
constexpr size_t kMostSeries = 2000;
constexpr int64_t kMostCells = 1 << 15;
constexpr size_t kMostAlarms = 500;
constexpr size_t kMostLineBytes = size_t{16} << 20;
constexpr double kMostValue = 1e150;             // so that differences and squares are numbers
constexpr int64_t kLastStep = int64_t{1} << 53;  // exact in a double

// A list longer than this is told by its mean and extremes.
constexpr size_t kLongList = 12;

// The element that the next value belongs to: the last, or a new one behind it; where that would be
// too many, neighbours become one first.
template <typename Element, typename Merge>
Element& Next(std::vector<Element>& elements, int64_t& stride, size_t most, const Merge& merge) {
  if (!elements.empty() && elements.back().count < stride) return elements.back();
  if (elements.size() == most) {
    for (size_t i = 0; i < most / 2; ++i) {
      merge(elements[2 * i], elements[2 * i + 1]);
      if (i > 0) elements[i] = std::move(elements[2 * i]);
    }
    elements.resize(most / 2);
    stride *= 2;
  }
  return elements.emplace_back();
}

std::vector<int64_t> Integers(const OrderedJson& list) {
  std::vector<int64_t> values;
  if (!list.is_array()) return values;
  for (const auto& value : list)
    if (value.is_number_integer()) values.push_back(value.get<int64_t>());
  std::sort(values.begin(), values.end());
  return values;
}

// What validations are compared by. Records that do not say it are older, and have a loss.
std::optional<double> ScoreOf(const OrderedJson& line) {
  const auto number = [](const OrderedJson& object, const char* key) -> std::optional<double> {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number()) return std::nullopt;
    return found->get<double>();
  };
  if (const auto score = number(line, "score")) return score;
  const auto valid = line.find("valid");
  if (valid == line.end() || !valid->is_object()) return std::nullopt;
  for (const char* key : {"mean_loss", "loss"})
    if (const auto loss = number(*valid, key)) return loss;
  double sum = 0;
  int64_t groups = 0;
  for (const auto& group : *valid) {
    if (!group.is_object()) continue;
    if (const auto loss = number(group, "loss")) {
      sum += *loss;
      ++groups;
    }
  }
  if (groups == 0) return std::nullopt;
  return sum / static_cast<double>(groups);
}

}  // namespace

void Series::Add(int64_t step, double value) {
  Point& point = Next(points_, stride_, kMostPoints, [](Point& a, const Point& b) {
    a = {b.step, a.count + b.count, a.sum + b.sum, std::min(a.min, b.min), std::max(a.max, b.max)};
  });
  point.step = step;
  ++point.count;
  point.sum += value;
  point.min = std::min(point.min, value);
  point.max = std::max(point.max, value);
  last_ = value;
}

void LoadHistory::Add(int64_t step, const OrderedJson& expert_load) {
  if (!expert_load.is_array() || expert_load.empty() || !expert_load[0].is_array()) return;
  const auto layers = std::ssize(expert_load), experts = std::ssize(expert_load[0]);
  if (experts == 0 || layers > kMostCells / experts) return;
  if (num_layers_ == 0) {
    num_layers_ = layers;
    num_experts_ = experts;
  }
  if (layers != num_layers_) return;
  std::vector<float> shares;
  for (const auto& layer : expert_load) {
    if (!layer.is_array() || std::ssize(layer) != num_experts_) return;
    for (const auto& share : layer) {
      if (!share.is_number()) return;
      shares.push_back(std::clamp(share.get<float>(), 0.0f, 1.0f));
    }
  }
  Column& column = Next(columns_, stride_, kMostColumns, [](Column& a, const Column& b) {
    a.last_step = b.last_step;
    a.count += b.count;
    for (size_t i = 0; i < a.sums.size(); ++i) a.sums[i] += b.sums[i];
  });
  if (column.count == 0) {
    column.first_step = step;
    column.sums.assign(shares.size(), 0);
  }
  column.last_step = step;
  ++column.count;
  for (size_t i = 0; i < shares.size(); ++i) column.sums[i] += shares[i];
}

double LoadHistory::Share(const Column& column, int64_t layer, int64_t expert) const {
  return static_cast<double>(column.sums[static_cast<size_t>(layer * num_experts_ + expert)]) /
         static_cast<double>(column.count);
}

const Series* RunRecord::Find(const std::string& name) const {
  const auto found = series_.find(name);
  return found == series_.end() ? nullptr : &found->second;
}

void RunRecord::AddFigure(const std::string& name, double value) {
  if (!(std::abs(value) < kMostValue)) return;
  if (series_.size() == kMostSeries && !series_.contains(name)) return;
  series_[name].Add(last_step_, value);
}

void RunRecord::AddList(const std::string& name, const OrderedJson& list) {
  std::vector<double> values;
  for (const auto& value : list) {
    if (!value.is_number()) return;
    values.push_back(value.get<double>());
  }
  if (values.empty()) return;
  if (values.size() <= kLongList) {
    for (size_t i = 0; i < values.size(); ++i) AddFigure(fmt::format("{}/{}", name, i), values[i]);
    return;
  }
  double sum = 0;
  for (const double value : values) sum += value;
  AddFigure(name + "/mean", sum / static_cast<double>(values.size()));
  AddFigure(name + "/least", *std::min_element(values.begin(), values.end()));
  AddFigure(name + "/most", *std::max_element(values.begin(), values.end()));
}

void RunRecord::AddFigures(const std::string& name, const OrderedJson& value, int depth) {
  constexpr int kDeepest = 4;
  if (value.is_number()) return AddFigure(name, value.get<double>());
  if (value.is_array()) return AddList(name, value);
  if (!value.is_object() || depth == kDeepest) return;
  for (const auto& [key, member] : value.items()) AddFigures(name + "/" + key, member, depth + 1);
}

std::vector<std::string> RunRecord::WatchRouters(const OrderedJson& line) {
  const auto entropy = line.find("load_entropy");
  if (entropy == line.end() || !entropy->is_array()) return {};
  RouterHealth health;
  for (const auto& value : *entropy)
    health.load_entropy.push_back(value.is_number() ? value.get<double>() : 1);
  health.dead.resize(health.load_entropy.size());
  const auto dead = line.find("dead_experts");
  if (dead != line.end() && dead->is_array() && dead->size() == health.dead.size())
    for (size_t l = 0; l < health.dead.size(); ++l) health.dead[l] = Integers((*dead)[l]);
  const auto collapsed = line.find("collapsed_layers");
  if (collapsed != line.end()) health.collapsed = Integers(*collapsed);
  return alarm_.Watch(health);
}

std::vector<std::string> RunRecord::Add(const OrderedJson& line) {
  const auto step = line.find("step");
  if (step == line.end() || !step->is_number_integer()) return {};
  const auto number = step->get<int64_t>();
  if (number <= last_step_ || number > kLastStep) return {};
  last_step_ = number;
  for (const auto& [key, value] : line.items()) {
    if (key != "step" && key != "expert_load" && key != "dead_experts" && key != "collapsed_layers")
      AddFigures(key, value, 0);
  }
  const auto load = line.find("expert_load");
  if (load != line.end()) load_.Add(last_step_, *load);
  const auto score = last_step_ > 0 ? ScoreOf(line) : std::nullopt;
  if (score && *score < best_score_) {
    best_score_ = *score;
    best_step_ = last_step_;
  }
  auto sentences = WatchRouters(line);
  for (const auto& sentence : sentences)
    if (alarms_.size() < kMostAlarms) alarms_.push_back({last_step_, sentence});
  return sentences;
}

RunRecord ParseRunRecord(std::string_view text, const std::string& name) {
  RunRecord record;
  for (size_t end = 0; (end = text.find('\n')) != std::string_view::npos;
       text.remove_prefix(end + 1)) {
    try {
      const OrderedJson line =
          ParseOrderedJson(text.substr(0, end), name, {.max_bytes = kMostLineBytes});
      if (!line.is_object()) break;
      record.Add(line);
    } catch (const Error&) {
      break;
    }
  }
  return record;
}

RunRecord ReadRunRecord(const std::string& path) {
  const MappedFile file(path);
  return ParseRunRecord(file.text(), path);
}

}  // namespace cadre
