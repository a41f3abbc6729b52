// cadre distill: a dense student learns from a teacher.
#include "transfer/distill.h"

#include "cli/commands.h"
#include "cli/model_path.h"
#include "cli/output.h"
#include "cli/training_command.h"

namespace cadre {

void AddDistillCommand(CLI::App& app) {
  AddTrainingCommand(
      app, "distill", "Teach a dense model what a sparse one knows",
      "Example: cadre distill --set teacher=nano --set data.folder=corpus --set "
      "'data.train=[\"en.train.jsonl.zst\"]' --set\n"
      "'data.valid={\"en\": [\"en.valid.jsonl.zst\"]}' --set baseline=random --out runs/student\n\n"
      "The loss of a token is distill.weight * temperature^2 * divergence(teacher, student) + (1 - "
      "distill.weight) *\n"
      "cross-entropy; that of a step is the mean over its tokens. The teacher may be any model, "
      "quantised or not; it is run only.\nData are text as for cadre train, encoded by the "
      "teacher's tokenizer, which the student keeps.\n\n"
      "Leaves in --out: metrics.jsonl (a line per step), checkpoints/, best/ (the model of the "
      "best "
      "validation), and at the end\n"
      "model/ (a Hugging Face folder), NAME.gguf and report.json: teacher, student and baseline on "
      "data.valid with loss, perplexity,\n"
      "divergence from the teacher and share of tokens with the same first choice, and "
      "gain_retained, which is (baseline -\nstudent) / (baseline - teacher) of the losses. A "
      "baseline leaves the same in baseline/. A killed run goes on with --resume\nand ends in the "
      "same weights.",
      DistillConfigKeys(),
      [](const Json& json, const std::vector<std::string>& settings, const std::string& name,
         const RunControl& options, Device& device, BackwardOps& ops) {
        DistillConfig config = ParseDistillConfig(json, settings, name);
        config.teacher = ResolveModel(config.teacher);
        if (!config.student_model.empty())
          config.student_model = ResolveModel(config.student_model);
        const TransferOutcome outcome = Distill(config, options, device, ops);
        if (!options.on_metrics) Print(outcome.table);
        return outcome.done;
      });
}

}  // namespace cadre
