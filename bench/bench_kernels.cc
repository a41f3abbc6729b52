// bench_kernels: every kernel of the CPU device, on one thread, beside what the machine can do at
// most.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <new>

#include "base/error.h"
#include "base/flush_denormals.h"
#include "base/json.h"
#include "bench/kernel_case.h"
#include "bench/measure.h"
#include "bench/report.h"

namespace cadre::bench {
namespace {

constexpr int kWrongInput = 1;
constexpr int kWrongUsage = 2;

struct Options {
  std::string isa, only;
  double seconds = 0.1;
  int64_t memory_mib = 256;
  bool json = false;
};

std::vector<KernelCase> CasesOf(Bench& bench, const std::string& only) {
  std::vector<KernelCase> all, wanted;
  AddPanelCases(bench, all);
  AddDotCases(bench, all);
  AddKvCases(bench, all);
  AddRowCases(bench, all);
  for (KernelCase& c : all) {
    const std::string name = fmt::format("{} {} {}", c.kernel, c.type, c.tokens);
    if (name.find(only) != std::string::npos) wanted.push_back(std::move(c));
  }
  if (wanted.empty()) throw Error("--only is '{}', which no kernel here has", Printable(only));
  return wanted;
}

void Run(const Options& options) {
  const Isa isa = options.isa.empty() ? DetectIsa() : ParseIsa(options.isa);
  const int64_t memory_bytes = options.memory_mib << 20;
  Bench bench{isa, KernelsOf(isa), ColdMemory(memory_bytes), ColdMemory(memory_bytes)};
  std::map<LimitKind, LimitMeter> meters;
  const Meters meter_of = [&](LimitKind kind) -> LimitMeter& {
    return meters.try_emplace(kind, isa, kind, memory_bytes).first->second;
  };
  const FlushDenormals flush;  // as the threads of the device
  const std::vector<KernelCase> cases = CasesOf(bench, options.only);
  OrderedJson rows = OrderedJson::array();
  if (!options.json) fmt::print("{}", TableHead());
  for (const KernelCase& c : cases) {
    const Measured measured = Measure(c.prepare(), meter_of, options.seconds);
    if (options.json) {
      rows.push_back(ToJson(c, measured));
    } else {
      fmt::print("{}", TableRow(c, measured));
      std::fflush(stdout);
    }
  }
  if (options.json)
    fmt::print("{}\n", OrderedJson{{"isa", IsaName(isa)}, {"rows", std::move(rows)}}.dump());
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Every kernel of the CPU device on one thread, beside what the machine can do at most: both\n"
      "are measured in turns, the share is the median of the ratios.",
      "bench_kernels");
  app.footer(
      "Limits: integer, matrix, float and bf16 are the processor's products and sums, a\n"
      "multiplication or an addition an operation; stream reads memory no cache holds, cache "
      "reads\n"
      "what the second-level cache holds. A kernel may beat the last by reading the first.\n"
      "Example: bench_kernels --only 'panel_dots Q4_K'");
  app.add_option("--isa", options.isa,
                 "Instruction set: scalar, avx2, avx512 or amx; default: the best there is")
      ->check(CLI::IsMember({"scalar", "avx2", "avx512bw", "avx512", "amx"}));
  app.add_option("--only", options.only,
                 "Only what has this in its kernel, type and tokens, a space between each");
  app.add_option("--seconds", options.seconds, "To measure each for, its limit included")
      ->check(CLI::Range(1e-6, 60.0))
      ->capture_default_str();
  app.add_option("--memory", options.memory_mib,
                 "MiB to walk through where no cache shall help; a few times the caches' size")
      ->check(CLI::Range(int64_t{8}, int64_t{1} << 20))
      ->capture_default_str();
  app.add_flag("--json", options.json, "Print one JSON object");
  try {
    app.parse(argc, argv);
    Run(options);
    return 0;
  } catch (const CLI::ParseError& error) {  // also --help, which is no error
    return app.exit(error) == 0 ? 0 : kWrongUsage;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "bench_kernels: error: out of memory\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_kernels: error: {}\n", error.what());
  }
  return kWrongInput;
}

}  // namespace
}  // namespace cadre::bench

int main(int argc, char** argv) { return cadre::bench::Main(argc, argv); }
