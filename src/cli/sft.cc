// cadre sft: teaches a model the answers of conversations.
#include "align/sft.h"

#include "cli/commands.h"
#include "cli/model_path.h"
#include "cli/training_command.h"

namespace cadre {

void AddSftCommand(CLI::App& app) {
  AddTrainingCommand(
      app, "sft", "Fine-tune a model on conversations or instructions",
      "Example: cadre sft --set model=nano --set 'data.train=[\"chats.jsonl\"]' --set "
      "data.held_back=0.05 --out runs/sft\n\n"
      "A line of data is one of\n"
      "  {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}, {\"role\": \"assistant\", "
      "\"content\": \"...\"}], \"tools\": [...]}\n"
      "  {\"prompt\": ..., \"completion\": ...}   strings, or lists of messages\n"
      "  {\"instruction\": \"...\", \"input\": \"...\", \"output\": \"...\"}\n"
      "  {\"text\": \"...\"}   plain text\n"
      "Only what the assistant says is learnt, its end included; a message with \"weight\": 0 is "
      "not. The loss of a step is the\nmean over all its learnt tokens.\n\n"
      "Leaves in --out: metrics.jsonl (a line per step), report.html, checkpoints/, best/ (the "
      "model of the "
      "best "
      "validation), and at the end\n"
      "model/ (a Hugging Face folder) and NAME.gguf, both with tokenizer and chat template, and "
      "router-drift.json. A\nkilled run goes on with --resume\nand ends in the same weights.",
      SftConfigKeys(),
      [](const Json& json, const std::vector<std::string>& settings, const std::string& name,
         const RunControl& options, Device& device, BackwardOps& ops) {
        SftConfig config = ParseSftConfig(json, settings, name);
        config.model = ResolveModel(config.model);
        return Sft(config, options, device, ops);
      });
}

}  // namespace cadre
