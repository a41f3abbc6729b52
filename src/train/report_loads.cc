#include "train/report_loads.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace cadre {
namespace {

using Out = std::back_insert_iterator<std::string>;

// Thirteen colours from hardly used to overloaded, a third of an octave each; 6 is an even share.
constexpr int kLevels = 13;

int LevelOf(double share, int64_t num_experts) {
  const double ratio = share * static_cast<double>(num_experts);
  if (ratio <= 0) return 0;
  return static_cast<int>(
      std::clamp(std::round(3 * std::log2(ratio)) + kLevels / 2, 0.0, kLevels - 1.0));
}

// One path for each colour: runs of steps of one colour in the row of an expert.
void DrawMap(const LoadHistory& load, int64_t layer, Out out) {
  const auto& columns = load.columns();
  std::vector<std::string> paths(kLevels);
  std::vector<int64_t> x = {0};
  for (const auto& column : columns) x.push_back(x.back() + column.count);
  for (int64_t e = 0; e < load.num_experts(); ++e) {
    for (size_t begin = 0, end = 0; begin < columns.size(); begin = end) {
      const auto level = [&](size_t c) {
        return LevelOf(load.Share(columns[c], layer, e), load.num_experts());
      };
      const int colour = level(begin);
      for (end = begin + 1; end < columns.size() && level(end) == colour;) ++end;
      fmt::format_to(std::back_inserter(paths[static_cast<size_t>(colour)]), "M{} {}h{}v1h-{}z",
                     x[begin], e, x[end] - x[begin], x[end] - x[begin]);
    }
  }
  fmt::format_to(out,
                 "<svg viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\" role=\"img\" "
                 "aria-label=\"Layer {}: share of the choices by expert (rows) and step (columns); "
                 "the table below has figures\">",
                 x.back(), load.num_experts(), layer);
  for (size_t level = 0; level < paths.size(); ++level) {
    if (!paths[level].empty())
      fmt::format_to(out, "<path class=\"h{}\" d=\"{}\"/>", level, paths[level]);
  }
  fmt::format_to(out, "</svg>");
}

void WriteLoadTable(const LoadHistory& load, int64_t layer, Out out) {
  const auto& columns = load.columns();
  const LoadHistory::Column* shown[] = {&columns.front(), &columns[columns.size() / 2],
                                        &columns.back()};
  fmt::format_to(out,
                 "<details><summary>Figures</summary><div class=\"scroll\"><table><caption "
                 "class=\"hidden\">Layer {}: percent of the choices</caption><thead><tr><th "
                 "scope=\"col\">expert</th>",
                 layer);
  for (const auto* column : shown)
    fmt::format_to(out, "<th scope=\"col\">step {}</th>", column->last_step);
  fmt::format_to(out, "</tr></thead><tbody>");
  constexpr int64_t kMostRows = 64;
  for (int64_t e = 0; e < std::min(kMostRows, load.num_experts()); ++e) {
    fmt::format_to(out, "<tr><th scope=\"row\">{}</th>", e);
    for (const auto* column : shown)
      fmt::format_to(out, "<td>{:.1f} %</td>", 100 * load.Share(*column, layer, e));
    fmt::format_to(out, "</tr>");
  }
  fmt::format_to(out, "</tbody></table></div></details>");
}

}  // namespace

std::string LoadMaps(const LoadHistory& load) {
  if (load.columns().empty() || load.num_experts() < 2) return "";
  std::string page;
  const Out out = std::back_inserter(page);
  fmt::format_to(out,
                 "<div class=\"scale\"><span>a quarter of an even share, or less</span><ol "
                 "aria-hidden=\"true\">");
  for (int level = 0; level < kLevels; ++level)
    fmt::format_to(out, "<li class=\"h{}\"></li>", level);
  fmt::format_to(out,
                 "</ol><span>4 times, or more</span></div><p class=\"note\">A row is an "
                 "expert; its colour is its share of the layer's choices beside an even share, "
                 "{:.1f} %.</p><div class=\"maps\">",
                 100.0 / static_cast<double>(load.num_experts()));
  const double height = std::clamp(static_cast<double>(load.num_experts()) * 0.9, 4.0, 20.0);
  for (int64_t layer = 0; layer < load.num_layers(); ++layer) {
    fmt::format_to(out,
                   "<figure class=\"map\"><figcaption><h4>Layer {}</h4></figcaption><div "
                   "class=\"plot\" style=\"--rows:{:.1f}rem\"><div class=\"ys\" "
                   "aria-hidden=\"true\"><span style=\"top:{:.2f}%\">0</span><span "
                   "style=\"top:{:.2f}%\">{}</span></div>",
                   layer, height, 50.0 / static_cast<double>(load.num_experts()),
                   100 - 50.0 / static_cast<double>(load.num_experts()), load.num_experts() - 1);
    DrawMap(load, layer, out);
    fmt::format_to(out,
                   "<div class=\"xs\" aria-hidden=\"true\"><span style=\"left:0%\">{}</span>"
                   "<span style=\"left:100%\">{}</span></div></div>",
                   load.columns().front().first_step, load.columns().back().last_step);
    WriteLoadTable(load, layer, out);
    fmt::format_to(out, "</figure>");
  }
  fmt::format_to(out, "</div>");
  return page;
}

}  // namespace cadre
