// What the commands that train have in common: their options, the machine they compute on, and how
// they end.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/json_fwd.h"
#include "cli/shared_options.h"
#include "ops/backward.h"
#include "train/run.h"

namespace cadre {

// One of them: reads its configuration (`name` is the file's, for messages) and trains. Returns
// whether all steps are done.
using TrainingCommand = std::function<bool(
    const Json& json, const std::vector<std::string>& settings, const std::string& name,
    const RunControl& options, Device& device, BackwardOps& ops)>;

// Adds the command. `about` is what its help says before the list of configuration keys.
void AddTrainingCommand(CLI::App& app, const char* name, const char* description,
                        const std::string& about,
                        const std::vector<std::pair<std::string, std::string>>& keys,
                        TrainingCommand run);

}  // namespace cadre
