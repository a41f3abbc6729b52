// The program `cadre`: picks the command, turns what commands throw into one line on stderr and an
// exit code.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <new>

#include "cli/commands.h"
#include "cli/output.h"

namespace cadre {
namespace {

constexpr int kWrongInput = 1;
constexpr int kWrongUsage = 2;

int Complain(std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  fmt::print(stderr, "cadre: error: {}\n", message);
  return kWrongInput;
}

// A mapped file that another program cuts short takes its pages with it.
void ExplainLostPages() {
  struct sigaction action = {};
  action.sa_handler = [](int) {
    static constexpr char kMessage[] =
        "cadre: error: a model file was cut short, or its disk failed, while it was in use\n";
    // Of several threads, one speaks.
    static std::atomic_flag said = ATOMIC_FLAG_INIT;
    if (said.test_and_set()) {
      while (true) pause();
    }
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
    _exit(kWrongInput);
  };
  sigaction(SIGBUS, &action, nullptr);
}

int Run(int argc, char** argv) {
  CLI::App app("Mixture-of-Experts language models of the Mixtral family, on this machine.",
               "cadre");
  app.set_version_flag("--version", CADRE_VERSION);
  app.footer(
      "MODEL is a Hugging Face folder, a .gguf file, or the name of a bundled model.\n"
      "Example: cadre generate nano -p \"Once upon a time\"\n"
      "'cadre COMMAND --help' says more.");
  AddInspectCommand(app);
  AddTokenizeCommand(app);
  AddLogitsCommand(app);
  AddGenerateCommand(app);
  AddChatCommand(app);
  AddServeCommand(app);
  AddPullCommand(app);
  AddImatrixCommand(app);
  AddQuantizeCommand(app);
  AddPerplexityCommand(app);
  AddEvalCommand(app);
  AddStudyCommand(app);
  AddPlanCommand(app);
  AddBenchCommand(app);
  AddTrainCommand(app);
  AddSftCommand(app);
  AddDpoCommand(app);
  AddDistillCommand(app);
  AddUpcycleCommand(app);
  AddReportCommand(app);
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) {
      fmt::print(stderr, "{}", app.help());
      return kWrongUsage;
    }
    FlushOutput();
    return 0;
  } catch (const CLI::ParseError& error) {  // also --help and --version, which are no errors
    return app.exit(error) == 0 ? 0 : kWrongUsage;
  } catch (const std::bad_alloc&) {
    return Complain("out of memory");
  } catch (const std::exception& error) {
    return Complain(error.what());
  }
}

}  // namespace
}  // namespace cadre

int main(int argc, char** argv) {
  cadre::ExplainLostPages();
  return cadre::Run(argc, argv);
}
