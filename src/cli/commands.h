// The commands of the program, one file each. Add...Command registers a subcommand with its
// options; its callback does the work and throws Error for wrong input (exit 1) or CLI::ParseError
// for wrong usage (exit 2).
#pragma once

#include <CLI/CLI.hpp>

namespace cadre {

void AddInspectCommand(CLI::App& app);
void AddTokenizeCommand(CLI::App& app);
void AddLogitsCommand(CLI::App& app);
void AddGenerateCommand(CLI::App& app);
void AddChatCommand(CLI::App& app);
void AddServeCommand(CLI::App& app);
void AddPullCommand(CLI::App& app);
void AddQuantizeCommand(CLI::App& app);
void AddPerplexityCommand(CLI::App& app);
void AddEvalCommand(CLI::App& app);
void AddStudyCommand(CLI::App& app);
void AddImatrixCommand(CLI::App& app);
void AddBenchCommand(CLI::App& app);
void AddPlanCommand(CLI::App& app);
void AddTrainCommand(CLI::App& app);
void AddSftCommand(CLI::App& app);
void AddDpoCommand(CLI::App& app);
void AddDistillCommand(CLI::App& app);
void AddUpcycleCommand(CLI::App& app);
void AddReportCommand(CLI::App& app);

}  // namespace cadre
