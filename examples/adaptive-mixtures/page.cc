#include "page.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace mixtures {
namespace {

// Colours that people with any kind of colour vision tell apart (Okabe and Ito).
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                    "#b88700", "#56b4e9", "#7a6c00", "#777777"};
constexpr int kWidth = 330, kHeight = 270, kCell = 5;
// The chart of phoneticians: both axes fall, so that the mouth looks to the left.
constexpr double kF1Top = 150, kF1Bottom = 1180, kF2Left = 3000, kF2Right = 720;

const char* Colour(int64_t expert) {
  return kColours[static_cast<size_t>(expert) % std::size(kColours)];
}

double Across(double scaled_f2) {
  return (scaled_f2 - ScaledF2(kF2Left)) / (ScaledF2(kF2Right) - ScaledF2(kF2Left)) * kWidth;
}
double Down(double scaled_f1) {
  return (scaled_f1 - ScaledF1(kF1Top)) / (ScaledF1(kF1Bottom) - ScaledF1(kF1Top)) * kHeight;
}

// The points (i * kCell, j * kCell) of the picture as cases; i runs fastest.
Cases Grid() {
  Cases grid;
  for (int j = 0; j <= kHeight / kCell; ++j) {
    for (int i = 0; i <= kWidth / kCell; ++i) {
      const double f1 = kF1Top + (kF1Bottom - kF1Top) * j * kCell / kHeight;
      const double f2 = kF2Left + (kF2Right - kF2Left) * i * kCell / kWidth;
      grid.x.insert(grid.x.end(), {ScaledF1(f1), ScaledF2(f2), 1});
      grid.target.push_back(0);
    }
  }
  return grid;
}

constexpr int kAcross = kWidth / kCell + 1, kDown = kHeight / kCell + 1;

int64_t Strongest(const Answers& answers, int experts, int64_t t) {
  const auto begin = answers.gates.begin() + t * experts;
  return std::max_element(begin, begin + experts) - begin;
}

// Who would take a case here: runs of cells of one colour.
std::string Regions(const Answers& answers, int experts) {
  std::string svg;
  for (int j = 0; j + 1 < kDown; ++j) {
    for (int i = 0; i + 1 < kAcross;) {
      const int64_t expert = Strongest(answers, experts, int64_t{j} * kAcross + i);
      int end = i + 1;
      while (end + 1 < kAcross && Strongest(answers, experts, int64_t{j} * kAcross + end) == expert)
        ++end;
      svg += fmt::format(R"(<rect x="{}" y="{}" width="{}" height="{}" fill="{}"/>)", i * kCell,
                         j * kCell, (end - i) * kCell, kCell, Colour(expert));
      i = end;
    }
  }
  return fmt::format(R"(<g opacity=".17" shape-rendering="crispEdges">{}</g>)", svg);
}

// Where `value` [grid points] changes sign, by straight pieces within each cell, where `drawn` says
// so.
template <typename Value, typename Drawn>
std::string ZeroLine(const Value& value, const Drawn& drawn) {
  std::string path;
  for (int j = 0; j + 1 < kDown; ++j) {
    for (int i = 0; i + 1 < kAcross; ++i) {
      if (!drawn(int64_t{j} * kAcross + i)) continue;
      const int corners[5][2] = {{i, j}, {i + 1, j}, {i + 1, j + 1}, {i, j + 1}, {i, j}};
      std::vector<std::string> crossings;
      for (int side = 0; side < 4; ++side) {
        const auto at = [&](int corner) {
          return static_cast<double>(
              value(int64_t{corners[corner][1]} * kAcross + corners[corner][0]));
        };
        const double a = at(side), b = at(side + 1);
        if ((a > 0) == (b > 0)) continue;
        const double share = a / (a - b);
        const auto between = [&](int axis) {
          return kCell *
                 (corners[side][axis] + share * (corners[side + 1][axis] - corners[side][axis]));
        };
        crossings.push_back(fmt::format("{:.1f} {:.1f}", between(0), between(1)));
      }
      for (size_t c = 0; c + 1 < crossings.size(); c += 2)
        path += fmt::format("M{}L{}", crossings[c], crossings[c + 1]);
    }
  }
  return path;
}

std::string Points(const Cases& cases, const Answers& answers, int experts) {
  std::string svg;
  for (int64_t t = 0; t < cases.size(); ++t) {
    const auto at = static_cast<size_t>(t);
    const bool wrong = (answers.output[at] > 0) != (cases.target[at] > 0);
    const char* colour = experts > 0 ? Colour(Strongest(answers, experts, t)) : "var(--ink)";
    // The few voices beyond the picture lie on its rim.
    const double x = std::clamp<double>(Across(cases.x[at * 3 + 1]), 4, kWidth - 4);
    const double y = std::clamp<double>(Down(cases.x[at * 3]), 4, kHeight - 4);
    svg += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="2.6" fill="{}" stroke="{}"{}/>)", x, y,
                       cases.target[at] > 0 ? colour : "var(--paper)", colour,
                       wrong ? R"( class="wrong")" : "");
  }
  return svg;
}

std::string VowelNames() {
  constexpr int kBeside[][2] = {{-96, 2}, {-8, 62}, {14, -58}, {-70, 28}};  // the vowels' clouds
  std::string svg;
  for (size_t v = 0; v < std::size(kVowels); ++v) {
    svg += fmt::format(R"(<text class="vowel" x="{:.0f}" y="{:.0f}">{}</text>)",
                       Across(ScaledF2(kVowels[v].f2)) + kBeside[v][0],
                       Down(ScaledF1(kVowels[v].f1)) + kBeside[v][1] + 6, kVowels[v].name);
  }
  return svg;
}

std::string Axes() {
  std::string svg;
  for (const int f2 : {2500, 2000, 1500, 1000}) {
    svg += fmt::format(R"(<text class="tick" text-anchor="middle" x="{:.0f}" y="{}">{}</text>)",
                       Across(ScaledF2(f2)), kHeight + 14, f2);
  }
  for (const int f1 : {200, 400, 600, 800, 1000}) {
    svg += fmt::format(R"(<text class="tick" text-anchor="end" x="-6" y="{:.0f}">{}</text>)",
                       Down(ScaledF1(f1)) + 4, f1);
  }
  svg += fmt::format(
      R"(<text class="tick" text-anchor="middle" x="{}" y="{}">second resonance, Hz</text>)"
      R"svg(<text class="tick" text-anchor="middle" transform="translate(-36 {}) rotate(-90)">first resonance, Hz</text>)svg",
      kWidth / 2, kHeight + 30, kHeight / 2);
  return svg;
}

std::string Picture(const Outcome& outcome, const Cases& cases) {
  System& system = *outcome.pictured;
  const int experts = system.num_experts();
  const Cases grid = Grid();
  const Answers of_grid = system.Ask(grid), of_cases = system.Ask(cases);
  std::string svg =
      fmt::format(R"svg(<rect width="{}" height="{}" fill="var(--paper)"/>)svg", kWidth, kHeight);
  if (experts > 0) svg += Regions(of_grid, experts);
  for (int e = 0; e < experts; ++e) {  // an expert's own line, where it has the say
    const std::string line =
        ZeroLine([&](int64_t t) { return of_grid.opinion[static_cast<size_t>(t * experts + e)]; },
                 [&](int64_t t) { return Strongest(of_grid, experts, t) == e; });
    svg += fmt::format(R"(<path class="own" d="{}" stroke="{}"/>)", line, Colour(e));
  }
  svg += fmt::format(R"(<path class="all" d="{}"/>)",
                     ZeroLine([&](int64_t t) { return of_grid.output[static_cast<size_t>(t)]; },
                              [](int64_t) { return true; }));
  svg += Points(cases, of_cases, experts) + VowelNames() +
         fmt::format(R"(<rect class="frame" width="{}" height="{}"/>)", kWidth, kHeight) + Axes();
  return fmt::format(
      R"(<figure><figcaption>{}</figcaption><svg viewBox="-50 -6 {} {}" role="img" aria-label="{}">{}</svg></figure>)",
      system.name(), kWidth + 60, kHeight + 44, system.name(), svg);
}

std::string Curves(const std::vector<Outcome>& outcomes) {
  constexpr int kWide = 720, kHigh = 240;
  const auto passes = static_cast<double>(outcomes[0].wrong.size() - 1);
  const auto x = [&](double pass) { return std::log10(1 + pass) / std::log10(1 + passes) * kWide; };
  const auto y = [&](double wrong) { return (1 - std::min(wrong, 0.6) / 0.6) * kHigh; };
  std::string svg;
  for (const int percent : {0, 10, 20, 30, 40, 50, 60}) {
    svg += fmt::format(
        R"(<path class="grid" d="M0 {0:.1f}H{1}"/><text class="tick" text-anchor="end" x="-6" y="{2:.1f}">{3}%</text>)",
        y(percent / 100.0), kWide, y(percent / 100.0) + 4, percent);
  }
  for (int pass = 1; pass <= passes; pass *= 10) {
    svg += fmt::format(
        R"(<path class="grid" d="M{0:.1f} 0V{1}"/><text class="tick" text-anchor="middle" x="{0:.1f}" y="{2}">{3}</text>)",
        x(pass), kHigh, kHigh + 16, pass);
  }
  std::string key;
  for (size_t s = 0; s < outcomes.size(); ++s) {
    std::string path;
    for (size_t pass = 0; pass < outcomes[s].wrong.size(); ++pass) {
      if (pass > 100 && pass % 5 != 0) continue;  // finer than a pixel
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? 'M' : 'L', x(static_cast<double>(pass)),
                          y(outcomes[s].wrong[pass]));
    }
    const char* dashes =
        outcomes[s].pictured->num_experts() == 0 ? R"( stroke-dasharray="6 4")" : "";
    const char* colour =
        outcomes[s].pictured->num_experts() == 0 ? "var(--ink)" : Colour(static_cast<int64_t>(s));
    svg += fmt::format(R"(<path class="curve" d="{}" stroke="{}"{}/>)", path, colour, dashes);
    const int line = 14 + 20 * static_cast<int>(s);
    key += fmt::format(
        R"(<path class="curve" d="M{0} {1}h26" stroke="{2}"{3}/><text class="label" x="{4}" y="{5}">{6}</text>)",
        kWide - 210, line, colour, dashes, kWide - 176, line + 4, outcomes[s].pictured->name());
  }
  return fmt::format(
      R"(<svg class="wide" viewBox="-50 -8 {} {}" role="img" aria-label="learning curves">{}{}<text class="tick" text-anchor="middle" x="{}" y="{}">passes over the training cases</text></svg>)",
      kWide + 64, kHigh + 48, svg, key, kWide / 2, kHigh + 34);
}

// Cells of the table; the first line is the head.
std::vector<std::vector<std::string>> Rows(const std::vector<Outcome>& outcomes, int runs) {
  std::vector<std::vector<std::string>> rows = {{"system", "weights", "test cases right",
                                                 "best expert alone", "experts in use",
                                                 "passes to 90%"}};
  const auto percent = [](const Spread& s) {
    return fmt::format("{:.1f} ± {:.1f}%", 100 * s.mean, 100 * s.deviation);
  };
  for (const Outcome& o : outcomes) {
    const bool mixture = o.pictured->num_experts() > 0;
    rows.push_back(
        {o.pictured->name(), std::to_string(o.pictured->num_weights()), percent(o.test),
         mixture ? percent(o.alone) : "",
         mixture ? fmt::format("{:.1f} of {}", o.in_use.mean, o.pictured->num_experts()) : "",
         fmt::format("{:.0f} ± {:.0f}{}", o.passes.mean, o.passes.deviation,
                     o.never > 0 ? fmt::format(" (never in {} of {})", o.never, runs) : "")});
  }
  return rows;
}

constexpr const char* kStyle = R"(
:root { --paper: #fff; --ink: #1c1c1e; --faint: #8a8a8e; --rule: #e3e3e6; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #1a1a1c; --ink: #ececee; --faint: #98989d; --rule: #333336; }
}
body { margin: 2.5rem auto; padding: 0 1.25rem; max-width: 56rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-weight: 600; text-align: center; margin-bottom: .25rem; }
svg { width: 100%; height: auto; display: block; overflow: visible; }
.frame { fill: none; stroke: var(--rule); } .grid { stroke: var(--rule); }
.tick { font-size: 11px; fill: var(--faint); } .label { font-size: 13px; fill: var(--ink); }
.vowel { font-size: 19px; font-weight: 600; fill: var(--ink); text-anchor: middle; paint-order: stroke;
  stroke: var(--paper); stroke-width: 4px; }
.own { fill: none; stroke-width: 3; } .all { fill: none; stroke: var(--ink); stroke-width: 1.8; }
.curve { fill: none; stroke-width: 2; } .wrong { stroke-width: 2.4; stroke: #e00; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .4rem .9rem .4rem 0; text-align: left; border-bottom: 1px solid var(--rule); white-space: nowrap; }
td:last-child { white-space: normal; }
th { font-weight: 600; } p { max-width: 44rem; } small { color: var(--faint); })";

}  // namespace

Spread SpreadOf(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  Spread spread;
  for (const double v : values) spread.mean += v / n;
  if (values.size() < 2) return spread;
  for (const double v : values) spread.deviation += (v - spread.mean) * (v - spread.mean) / (n - 1);
  spread.deviation = std::sqrt(spread.deviation);
  return spread;
}

std::string Table(const std::vector<Outcome>& outcomes, int runs) {
  std::string table;
  for (const auto& row : Rows(outcomes, runs)) {
    const bool head = table.empty();
    table += fmt::format("| {} |\n", fmt::join(row, " | "));
    if (head) table += "|---|---:|---:|---:|---:|---:|\n";
  }
  return table;
}

std::string Page(const std::vector<Outcome>& outcomes, int runs, const Cases& cases) {
  std::string pictures, table;
  for (const Outcome& outcome : outcomes) pictures += Picture(outcome, cases);
  for (const auto& row : Rows(outcomes, runs)) {
    const char* cell = table.empty() ? "th" : "td";
    table += "<tr>";
    for (const auto& text : row) table += fmt::format("<{0}>{1}</{0}>", cell, text);
    table += "</tr>";
  }
  return fmt::format(
      R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>Adaptive mixtures of local experts</title><style>{}</style></head><body>
<h1>Adaptive mixtures of local experts</h1>
<p>Four vowels of made-up speakers; the answer is whether a vowel lies on the edge of the mouth's range (filled) or inside
(hollow). One line cannot tell, a line for each pair of neighbours can. Jacobs, Jordan, Nowlan and Hinton (1991) asked which
error makes experts divide such a task between them.</p>
<h2>Who takes which cases</h2>
<div class="pictures">{}</div>
<p><small>Colour: the expert with the largest gate. Coloured line: where that expert changes its mind. Black line: where the answer changes.
Red rim: a wrong answer. Each picture is the run with the median test accuracy of {}; the cases are those of training.</small></p>
<h2>Learning</h2>
{}
<p><small>Share of the training cases that are wrong, mean of {} runs from different weights.</small></p>
<h2>Outcome</h2>
<div class="scroll"><table>{}</table></div>
<p><small>Mean ± standard deviation of the runs. Best expert alone: the same mixture run with one expert per case, as a sparse
model runs. In use: takes at least one training case in twenty. Passes: over the training cases, until 90% of them are right.</small></p>
</body></html>
)",
      kStyle, pictures, runs, Curves(outcomes), runs, table);
}

}  // namespace mixtures
