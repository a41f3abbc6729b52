#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "cli/eval_command.h"
#include "eval/bold.h"

namespace cadre {
namespace {

std::vector<std::string> Digests(const std::vector<std::string>& files) {
  std::vector<std::string> digests;
  for (const auto& file : files) digests.push_back(Sha256(MappedFile(file).bytes()));
  return digests;
}

DataFiles FilesOf(const Task& task, const EvalCommand& command) {
  if (task.name == kPassKeyTask) return {};
  if (command.data.empty()) throw CLI::RequiredError("--data");
  return FindDataFiles(task, command.data, command.shots_data);
}

std::vector<EvalItem> ItemsOf(const Task& task, const DataFiles& files) {
  if (task.name == kBoldTask) return ReadBold(files.items);
  return task.read != nullptr ? ReadItems(task, files.items) : std::vector<EvalItem>();
}

// How many examples, and where they come from; without a file of them the items themselves.
int NumShots(const EvalCommand& command, const Task& task, const DataFiles& files) {
  if (task.fixed_shots > 0) {
    if (command.shots.value_or(task.fixed_shots) != task.fixed_shots || !command.shots_data.empty())
      throw Error("{} has {} examples of its own: --shots can be nothing else", task.title,
                  task.fixed_shots);
    return 0;
  }
  const int shots = command.shots.value_or(task.default_shots);
  if (shots == 0 || !files.shots.empty()) return shots;
  if (command.shots) {
    log::warn("examples come out of the items themselves: --shots-data names a file of others");
    return shots;
  }
  log::warn("{} is published with {} examples, but there is no --shots-data: none are shown",
            task.title, shots);
  return 0;
}

}  // namespace

PreparedBenchmark::PreparedBenchmark(const EvalCommand& command)
    : task(FindTask(command.task)), files(FilesOf(task, command)), items(ItemsOf(task, files)) {
  num_shots = NumShots(command, task, files);
  if (command.limit > 0 && command.limit < std::ssize(items))
    items.resize(static_cast<size_t>(command.limit));
  const bool has_pool = num_shots > 0 && !files.shots.empty();
  if (has_pool) pool = ReadItems(task, files.shots);
  const std::string source = files.items.empty() ? "" : files.items.front();
  shots.emplace(task, items, has_pool ? &pool : nullptr, num_shots, command.shared.seed,
                has_pool ? files.shots.front() : source);
  num_items = std::ssize(items);
  if (!task.runs_programs()) return;
  ProgramCheckOptions options;
  options.interpreter = command.python.value_or(options.interpreter);
  options.timeout_s = command.timeout_s.value_or(options.timeout_s);
  checker = std::make_unique<ProgramChecker>(options);
}

void PreparedBenchmark::MakePassKeys(const EvalCommand& command, const ModelSession& session) {
  PassKeyGrid grid = command.pass_keys;
  if (grid.lengths.empty()) grid.lengths = PassKeyLengths(session.context_length());
  items = PassKeyItems(grid, session.tokenizer(), session.context_length(),
                       command.max_tokens.value_or(task.writing->max_tokens), command.shared.seed);
  shots.emplace(task, items, nullptr, 0, 0, "");
  num_items = std::ssize(items);
}

OrderedJson RecordHead(const EvalCommand& command, const PreparedBenchmark& prepared, bool bos,
                       int64_t context) {
  const auto& files = prepared.files;
  return {
      {"record", "cadre eval"},
      {"model", command.model},
      {"task", prepared.task.name},
      {"data_sha256", Digests(files.items)},
      {"items", prepared.items.size()},
      {"shots", prepared.num_shots},
      {"shots_sha256", Digests(prepared.num_shots > 0 ? files.shots : std::vector<std::string>())},
      {"seed", command.shared.seed},
      {"context_tokens", context},
      {"kv", command.run.kv},
      {"activations", command.run.activations},
      {"bos", bos}};
}

}  // namespace cadre
