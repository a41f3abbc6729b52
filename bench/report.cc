#include "bench/report.h"

#include <fmt/format.h>

#include "base/json.h"

namespace cadre::bench {
namespace {

std::string_view NameOf(Source source) { return source == Source::kCache ? "cache" : "memory"; }

std::string_view UnitOf(LimitKind limit) {
  switch (limit) {
    case LimitKind::kInteger:
    case LimitKind::kMatrix:
      return "GOP/s";
    case LimitKind::kFloat:
    case LimitKind::kBf16:
      return "GFLOP/s";
    case LimitKind::kStream:
    case LimitKind::kCache:
      return "GB/s";
  }
  return {};
}

}  // namespace

std::string TableHead() {
  return fmt::format("{:12}{:9}{:>6}  {:7}{:>9} {:8}{:>9} {:8}{:>9}  {}\n", "kernel", "type",
                     "tokens", "from", "figure", "", "limit", "", "share", "quartiles");
}

std::string TableRow(const KernelCase& c, const Measured& m) {
  return fmt::format("{:12}{:9}{:>6}  {:7}{:9.1f} {:8}{:9.1f} {:8}{:7.1f} %  {:.1f} to {:.1f}\n",
                     c.kernel, c.type, c.tokens > 0 ? std::to_string(c.tokens) : "",
                     NameOf(c.source), m.figure * 1e-9, UnitOf(m.limit), m.limit_figure * 1e-9,
                     LimitName(m.limit), 100 * m.share.median, 100 * m.share.low,
                     100 * m.share.high);
}

OrderedJson ToJson(const KernelCase& c, const Measured& m) {
  return {{"kernel", c.kernel},          {"type", c.type},
          {"tokens", c.tokens},          {"from", NameOf(c.source)},
          {"figure", m.figure * 1e-9},   {"unit", UnitOf(m.limit)},
          {"limit", LimitName(m.limit)}, {"limit_figure", m.limit_figure * 1e-9},
          {"share", m.share.median},     {"share_low", m.share.low},
          {"share_high", m.share.high}};
}

}  // namespace cadre::bench
