#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "sandbox/call_filter.h"
#include "sandbox/inside_process.h"
#include "sandbox/pipe.h"
#include "sandbox/sandbox_failure.h"

namespace cadre {
namespace {

// What a program says and how it ends, until it does or goes over a limit.
class Listener {
 public:
  Listener(int output_fd, int report_fd, const SandboxLimits& limits)
      : output_fd_(output_fd), report_fd_(report_fd), limits_(limits) {
    fcntl(output_fd_, F_SETFL, O_NONBLOCK);
  }

  // Nothing: it has reported.
  std::optional<ProgramEnd> Listen() {
    for (;;) {
      const double left_s = limits_.wall_s - watch_.Seconds();
      if (left_s <= 0) return ProgramEnd::kWallTime;
      pollfd events[2] = {{report_fd_, POLLIN, 0}, {output_is_open_ ? output_fd_ : -1, POLLIN, 0}};
      const int timeout_ms = static_cast<int>(std::min(left_s, 3600.0) * 1000) + 1;
      if (poll(events, 2, timeout_ms) < 0 && errno != EINTR)
        throw Error("the sandbox cannot be listened to: {}", std::strerror(errno));
      if (events[1].revents != 0 && !ReadOutput()) return ProgramEnd::kOutput;
      if (events[0].revents != 0) return std::nullopt;
    }
  }

  // What is left of a program that has ended. False: more than the limit.
  bool ReadOutput() {
    char buffer[65536];
    for (;;) {
      const ssize_t count = read(output_fd_, buffer, sizeof buffer);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return true;  // for now
      if (count == 0) {
        output_is_open_ = false;
        return true;
      }
      const auto room = static_cast<size_t>(limits_.output_bytes) - output_.size();
      output_.append(buffer, std::min(room, static_cast<size_t>(count)));
      if (static_cast<size_t>(count) > room) return false;
    }
  }

  // Nothing: the first process ended without one.
  std::optional<InsideReport> ReadReport() {
    InsideReport report;
    ssize_t count;
    while ((count = read(report_fd_, &report, sizeof report)) < 0 && errno == EINTR) {
    }
    if (count != sizeof report) return std::nullopt;
    return report;
  }

  std::string TakeOutput() { return std::move(output_); }
  double Seconds() const { return watch_.Seconds(); }

 private:
  int output_fd_, report_fd_;
  const SandboxLimits& limits_;
  bool output_is_open_ = true;
  std::string output_;
  Stopwatch watch_;
};

InsidePlan MakePlan(const SystemView& view, const std::vector<sock_filter>& filter,
                    std::string_view program, const SandboxLimits& limits) {
  InsidePlan plan{.view = &view,
                  .filter = &filter,
                  .program = program,
                  .limits = limits,
                  .root_options = fmt::format("mode=755,size={}", program.size() + (1 << 20)),
                  .disk_options = fmt::format("mode=755,size={},nr_inodes={}", limits.disk_bytes,
                                              limits.files + 1),
                  .part_fds = std::vector<int>(view.parts.size(), -1),
                  .arguments = {},
                  .environment = {},
                  .control_fd = -1,
                  .report_fd = -1,
                  .output_fd = -1};
  return plan;
}

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

std::string ToString(const ProgramOutcome& outcome) {
  switch (outcome.end) {
    case ProgramEnd::kExit:
      return fmt::format("exit {}", outcome.code);
    case ProgramEnd::kSignal:
      return fmt::format("signal {}", outcome.code);
    case ProgramEnd::kWallTime:
      return "wall time";
    case ProgramEnd::kProcessor:
      return "processor time";
    case ProgramEnd::kMemory:
      return "memory";
    case ProgramEnd::kOutput:
      return "output";
    case ProgramEnd::kKilled:
      return "killed";
  }
  return "";
}

Sandbox::Sandbox(const std::string& interpreter)
    : view_(FindSystemView(interpreter)), filter_(CallFilter()) {
  const ProgramOutcome outcome = Run("print('ready')");
  if (outcome.end != ProgramEnd::kExit || outcome.code != 0 || outcome.output != "ready\n")
    throw Error("{}: does not run in the sandbox: {}: {}", view_.interpreter, ToString(outcome),
                Printable(outcome.output, 300));
}

Sandbox::~Sandbox() = default;

ProgramOutcome Sandbox::Run(std::string_view program, const SandboxLimits& limits) const {
  Pipe control, report, output;
  std::vector<std::string> words = {view_.interpreter, "-I", "-B", kProgramPath};
  std::vector<std::string> variables = {"PATH=/usr/bin", "HOME=/tmp", "LANG=C.UTF-8"};
  InsidePlan plan = MakePlan(view_, filter_, program, limits);
  plan.arguments = Pointers(words);
  plan.environment = Pointers(variables);
  plan.control_fd = control.read_end.fd();
  plan.report_fd = report.write_end.fd();
  plan.output_fd = output.write_end.fd();

  InsideProcess inside(plan);
  report.write_end.Close();
  output.write_end.Close();
  // Our own copy of the other end is still open: there is no SIGPIPE where the process has ended.
  inside.Begin(control.write_end.fd());

  Listener listener(output.read_end.fd(), report.read_end.fd(), limits);
  ProgramOutcome outcome;
  const auto stopped = listener.Listen();
  outcome.wall_s = listener.Seconds();
  inside.End();
  if (stopped) {
    outcome.end = *stopped;
  } else if (const auto told = listener.ReadReport()) {
    if (told->failed != SandboxStep::kDone) ThrowFailure(*told, view_);
    outcome.end = told->end;
    outcome.code = told->code;
    outcome.processor_s = told->processor_s;
  } else {
    outcome.end = ProgramEnd::kKilled;
  }
  if (!stopped && !listener.ReadOutput()) outcome.end = ProgramEnd::kOutput, outcome.code = 0;
  outcome.output = listener.TakeOutput();
  return outcome;
}

}  // namespace cadre
