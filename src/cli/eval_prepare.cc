#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "cli/eval_command.h"

namespace cadre {
namespace {

std::vector<std::string> Digests(const std::vector<std::string>& files) {
  std::vector<std::string> digests;
  for (const auto& file : files) digests.push_back(Sha256(MappedFile(file).bytes()));
  return digests;
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
    : task(FindTask(command.task)),
      files(FindDataFiles(task, command.data, command.shots_data)),
      items(ReadItems(task, files.items)),
      num_shots(NumShots(command, task, files)) {
  if (command.limit > 0 && command.limit < std::ssize(items))
    items.resize(static_cast<size_t>(command.limit));
  const bool has_pool = num_shots > 0 && !files.shots.empty();
  if (has_pool) pool = ReadItems(task, files.shots);
  shots.emplace(task, items, has_pool ? &pool : nullptr, num_shots, command.shared.seed,
                has_pool ? files.shots.front() : files.items.front());
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
