#include "train/report_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "base/html.h"

namespace cadre {
namespace {

// A drawing's own coordinates.
constexpr double kWidth = 1000, kHeight = 300;
constexpr size_t kTableRows = 12;
constexpr size_t kMostMarkedPoints = 40;

using Out = std::back_insert_iterator<std::string>;

struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;

  double Share(double value) const {  // 0: low, 1: high
    if (logarithmic) return (std::log(value) - std::log(low)) / (std::log(high) - std::log(low));
    return (value - low) / (high - low);
  }
};

double Y(const Axis& axis, double value) {
  return kHeight * (1 - std::clamp(axis.Share(value), 0.0, 1.0));
}

Axis ValuesOf(const Chart& chart) {
  Axis axis{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
            chart.logarithmic};
  for (const auto& line : chart.lines) {
    for (const auto& point : line.series->points()) {
      axis.low = std::min(axis.low, point.min);
      axis.high = std::max(axis.high, point.max);
    }
  }
  // Values of one size need no logarithm, and 0 has none.
  if (axis.logarithmic && !(axis.low > 1e-100 && axis.high > 20 * axis.low))
    axis.logarithmic = false;
  if (axis.logarithmic) return axis;
  if (chart.from_zero) axis.low = std::min(axis.low, 0.0);
  const double size = std::max(std::abs(axis.low), std::abs(axis.high));
  const double span = axis.high - axis.low;
  const double room = span > 0 ? 0.04 * span : size > 0 ? 0.1 * size : 0.5;
  if (!chart.from_zero || axis.low < 0) axis.low -= room;
  axis.high += room;
  return axis;
}

// Round values within the axis, three to six.
std::vector<double> Ticks(const Axis& axis) {
  std::vector<double> ticks;
  if (axis.logarithmic) {
    const bool halves = axis.high / axis.low < 500;
    for (double ten = std::pow(10, std::floor(std::log10(axis.low))); ten <= axis.high; ten *= 10) {
      for (const double value : {ten, 3 * ten})
        if (value >= axis.low && value <= axis.high && (halves || value == ten))
          ticks.push_back(value);
    }
    while (ticks.size() > 7) {
      for (size_t i = 0; 2 * i < ticks.size(); ++i) ticks[i] = ticks[2 * i];
      ticks.resize((ticks.size() + 1) / 2);
    }
    return ticks;
  }
  const double span = axis.high - axis.low;
  double unit = std::pow(10, std::floor(std::log10(span)));
  for (const double factor : {0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5}) {
    if (span / (factor * unit) <= 5.5) {
      unit *= factor;
      break;
    }
  }
  for (double k = std::ceil(axis.low / unit); k * unit <= axis.high && ticks.size() < 12; ++k)
    ticks.push_back(k == 0 ? 0 : k * unit);
  return ticks;
}

int Hue(size_t index) {
  static constexpr int kHues[] = {250, 40, 145, 320, 95, 200, 0, 285, 65, 170, 350, 225};
  return kHues[index % std::size(kHues)];
}

// One line: its curve, the band between least and most where points stand for several steps, and
// marks where points are few.
void DrawLine(const ChartLine& line, size_t index, const Axis& axis, int64_t last_step, Out out) {
  const auto& points = line.series->points();
  const auto x = [&](const Series::Point& p) {
    return kWidth * static_cast<double>(p.step) /
           static_cast<double>(std::max<int64_t>(1, last_step));
  };
  const bool thinned =
      std::any_of(points.begin(), points.end(), [](const auto& p) { return p.count > 1; });
  if (thinned) {
    std::string back;
    fmt::format_to(out, "<path class=\"band\" style=\"--h:{}\" d=\"", Hue(index));
    for (size_t i = 0; i < points.size(); ++i) {
      fmt::format_to(out, "{}{:.1f} {:.1f}", i == 0 ? 'M' : 'L', x(points[i]),
                     Y(axis, points[i].max));
      back.insert(0, fmt::format("L{:.1f} {:.1f}", x(points[i]), Y(axis, points[i].min)));
    }
    fmt::format_to(out, "{}z\"/>", back);
  }
  fmt::format_to(out, "<path class=\"line{}\" style=\"--h:{}\" data-label=\"{}\" d=\"",
                 line.dashed ? " dashed" : "", Hue(index), Html(line.label));
  for (size_t i = 0; i < points.size(); ++i) {
    fmt::format_to(out, "{}{:.1f} {:.1f}", i == 0 ? 'M' : 'L', x(points[i]),
                   Y(axis, points[i].mean()));
  }
  fmt::format_to(out, "\"/>");
  if (points.size() > kMostMarkedPoints) return;
  fmt::format_to(out, "<path class=\"marks\" style=\"--h:{}\" d=\"", Hue(index));
  for (const auto& point : points)
    fmt::format_to(out, "M{:.1f} {:.1f}h0", x(point), Y(axis, point.mean()));
  fmt::format_to(out, "\"/>");
}

void DrawSteps(int64_t last_step, Out out) {
  fmt::format_to(out, "<div class=\"xs\" aria-hidden=\"true\">");
  const Axis axis{0, static_cast<double>(std::max<int64_t>(1, last_step)), false};
  for (const double tick : Ticks(axis)) {
    if (tick == std::floor(tick))
      fmt::format_to(out, "<span style=\"left:{:.2f}%\">{}</span>", 100 * axis.Share(tick),
                     Short(tick));
  }
  fmt::format_to(out, "</div>");
}

// Steps spread over the chart, and what each line says there.
void WriteTable(const Chart& chart, Out out) {
  const auto longest =
      std::max_element(chart.lines.begin(), chart.lines.end(), [](const auto& a, const auto& b) {
        return a.series->points().size() < b.series->points().size();
      });
  const auto& steps = longest->series->points();
  fmt::format_to(out,
                 "<details><summary>Figures</summary><div class=\"scroll\"><table><caption "
                 "class=\"hidden\">{}</caption><thead><tr><th scope=\"col\">step</th>",
                 Html(chart.title));
  for (const auto& line : chart.lines)
    fmt::format_to(out, "<th scope=\"col\">{}</th>", Html(line.label));
  fmt::format_to(out, "</tr></thead><tbody>");
  const size_t rows = std::min(kTableRows, steps.size());
  for (size_t r = 0; r < rows; ++r) {
    const auto step = steps[rows == 1 ? 0 : r * (steps.size() - 1) / (rows - 1)].step;
    fmt::format_to(out, "<tr><th scope=\"row\">{}</th>", step);
    for (const auto& line : chart.lines) {
      const auto& points = line.series->points();
      const auto after = std::upper_bound(
          points.begin(), points.end(), step,
          [](int64_t value, const Series::Point& point) { return value < point.step; });
      fmt::format_to(out, "<td>{}</td>",
                     after == points.begin() ? "" : Short(std::prev(after)->mean()));
    }
    fmt::format_to(out, "</tr>");
  }
  fmt::format_to(out, "</tbody></table></div></details>");
}

void WriteLegend(const Chart& chart, Out out) {
  fmt::format_to(out, "<ul class=\"legend\">");
  for (size_t i = 0; i < chart.lines.size(); ++i) {
    const auto& line = chart.lines[i];
    fmt::format_to(out, "<li><i{} style=\"--h:{}\"></i>{} <b>{}</b></li>",
                   line.dashed ? " class=\"dashed\"" : "", Hue(i), Html(line.label),
                   Short(line.series->last()));
  }
  if (chart.marked_step > 0)
    fmt::format_to(out, "<li><i class=\"mark\"></i>{}</li>", Html(chart.mark));
  fmt::format_to(out, "</ul>");
}

}  // namespace

std::string Short(double value) {
  const double size = std::abs(value);
  if (size != 0 && (size < 1e-3 || size >= 1e6)) return fmt::format("{:.3g}", value);
  if (size >= 1000 || value == std::floor(value)) return fmt::format("{:.0f}", value);
  return fmt::format("{:.4g}", value);
}

std::string LineChart(const Chart& given, int64_t last_step) {
  Chart chart = given;
  std::erase_if(chart.lines, [](const ChartLine& line) { return line.series == nullptr; });
  if (chart.lines.empty()) return "";
  const Axis axis = ValuesOf(chart);
  std::string page;
  const Out out = std::back_inserter(page);
  fmt::format_to(out, "<figure class=\"chart\"><figcaption><h3>{}</h3><p>{}</p></figcaption>",
                 Html(chart.title), Html(chart.about));
  WriteLegend(chart, out);
  fmt::format_to(out, "<div class=\"plot\"><div class=\"ys\" aria-hidden=\"true\">");
  std::string grid;
  for (const double tick : Ticks(axis)) {
    fmt::format_to(out, "<span style=\"top:{:.2f}%\">{}</span>", 100 * Y(axis, tick) / kHeight,
                   Short(tick));
    grid += fmt::format("M0 {:.1f}h{}", Y(axis, tick), kWidth);
  }
  fmt::format_to(out,
                 "</div><svg viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\" role=\"img\" "
                 "aria-label=\"{} over the steps; the table below has figures\" "
                 "data-last=\"{}\" data-axis=\"{} {} {}\"><path class=\"grid\" d=\"{}\"/>",
                 kWidth, kHeight, Html(chart.title), last_step, axis.low, axis.high,
                 axis.logarithmic ? 1 : 0, grid);
  if (chart.marked_step > 0) {
    fmt::format_to(out, "<path class=\"mark\" d=\"M{:.1f} 0v{}\"/>",
                   kWidth * static_cast<double>(chart.marked_step) /
                       static_cast<double>(std::max<int64_t>(1, last_step)),
                   kHeight);
  }
  for (size_t i = 0; i < chart.lines.size(); ++i) DrawLine(chart.lines[i], i, axis, last_step, out);
  fmt::format_to(out, "</svg>");
  DrawSteps(last_step, out);
  fmt::format_to(out, "</div>");
  WriteTable(chart, out);
  fmt::format_to(out, "</figure>");
  return page;
}

}  // namespace cadre
