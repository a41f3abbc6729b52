// cadre pull: downloads a model from a hub.
#include "hub/pull.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/shared_options.h"

namespace cadre {
namespace {

struct PullCommand {
  SharedOptions shared;
  std::string repository;
  std::string to;
  PullOptions pull;
  bool json = false;
};

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// From the environment, else from the file that the hub's own tools write.
std::string FindToken() {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
    if (auto token = Variable(name); !token.empty()) return token;
  std::string file = Variable("HF_TOKEN_PATH");
  if (file.empty() && !Variable("HF_HOME").empty()) file = Variable("HF_HOME") + "/token";
  if (file.empty()) file = Variable("HOME") + "/.cache/huggingface/token";
  std::string token;
  std::ifstream(file) >> token;
  return token;
}

std::string FindHub() {
  std::string hub = Variable("HF_ENDPOINT");
  while (hub.ends_with('/')) hub.pop_back();
  if (hub.empty()) return PullOptions().hub;
  if (!hub.starts_with("http://") && !hub.starts_with("https://"))
    throw Error("HF_ENDPOINT is '{}' but must begin with https:// or http://", Printable(hub));
  return hub;
}

void RunPull(const PullCommand& command) {
  log::Start(command.shared.log_level);
  PullOptions options = command.pull;
  options.hub = FindHub();
  options.download.token = FindToken();
  const Interrupt interrupt;
  options.download.stop = &Interrupt::flag();
  std::unique_ptr<Progress> progress;
  options.download.on_progress = [&](uint64_t done, uint64_t total) {
    if (!progress) progress = std::make_unique<Progress>("pulling", static_cast<int64_t>(total));
    progress->Update(static_cast<int64_t>(done), ShortBytes(static_cast<double>(done)));
  };
  std::string folder = command.to;
  if (folder.empty()) {
    folder = PulledModelFolder();
    if (folder.empty()) throw Error("there is no home folder to put the model in; use --to");
    folder += "/" + command.repository;
  }
  CheckRepositoryName(command.repository);
  const PullResult result = Pull(command.repository, folder, options);
  progress.reset();
  if (!result.done) throw Error("{}: stopped; the same command goes on", command.repository);
  if (command.json) {
    return PrintJson({{"folder", folder},
                      {"commit", result.commit},
                      {"files", result.files},
                      {"bytes", result.bytes}});
  }
  Print(fmt::format("{}: {} files, {}, commit {}\n", folder, result.files.size(),
                    ShortBytes(static_cast<double>(result.bytes)), result.commit.substr(0, 12)));
}

}  // namespace

void AddPullCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("pull", "Download a model, resumable and checked");
  command->footer(
      "Goes on where it was stopped. A token is taken from HF_TOKEN, else from the file that the\n"
      "hub's own tools keep it in; HF_ENDPOINT names another hub.\n"
      "Example: cadre pull mistralai/Mixtral-8x7B-Instruct-v0.1\n"
      "         cadre pull someone/Mixtral-GGUF --include '*Q4_K_M*'");
  auto options = std::make_shared<PullCommand>();
  command->add_option("REPO", options->repository, "OWNER/NAME")->required();
  command->add_option("--revision", options->pull.revision, "Branch, tag or commit")
      ->capture_default_str();
  command->add_option("--to", options->to,
                      "Folder; default: where MODEL finds it again by its name, OWNER/NAME");
  command->add_option("--include", options->pull.include,
                      "Only files that match ('*' and '?'); may be given again");
  command->add_option("--connections", options->pull.download.connections, "At once")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  AddJson(*command, options->json);
  AddSharedOptions(*command, options->shared);
  for (const char* unused : {"--seed", "--isa", "--threads"})
    command->remove_option(command->get_option(unused));
  command->callback([options] { RunPull(*options); });
}

}  // namespace cadre
