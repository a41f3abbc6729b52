#include "cli/session.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/model_path.h"
#include "cpu/cpu_device.h"

namespace cadre {
namespace {

OpenedModel Open(const std::string& model, TextNeed need, const SharedOptions& shared,
                 const ModelOptions& options) {
  log::Start(shared.log_level);
  OpenedModel opened = OpenModel(ResolveModel(model), need);
  for (const auto& warning : opened.warnings) log::warn("{}", warning);
  if (!options.lora.empty()) opened.model.AddAdapters(options.lora);
  if (options.experts > 0) opened.model.SetExpertsPerToken(options.experts);
  const int64_t trained = opened.model.model().config.context_length;
  if (options.context > trained) {
    log::warn(
        "--context is {} but the model was trained for {}: text beyond that may make no sense",
        options.context, trained);
  }
  return opened;
}

}  // namespace

std::unique_ptr<Device> MakeDevice(const SharedOptions& options, ThreadPool& threads) {
  return MakeCpuDevice(options.isa.empty() ? DetectIsa() : ParseIsa(options.isa), threads);
}

ModelSession::ModelSession(const std::string& model, TextNeed need, const SharedOptions& shared,
                           const ModelOptions& options)
    : threads_(shared.threads),
      device_(MakeDevice(shared, threads_)),
      opened_(Open(model, need, shared, options)),
      experts_(opened_.model.model().weights),
      context_length_(options.context > 0 ? options.context : config().context_length) {
  log::info("{} on {} threads ({})", model, threads_.num_threads(), device_->name());
  if (!options.no_pack && options.Sequence().activation == ActivationType::kRounded) Pack();
}

void ModelSession::Pack() {
  const Stopwatch watch;
  if (opened_.model.Pack(*device_)) {
    log::info("weights packed in {:.1f} s", watch.Seconds());
  } else {
    log::warn("there is no memory to pack the weights: they are used as they are, more slowly");
  }
}

std::vector<int32_t> ModelSession::EncodePrompt(const std::string& text) const {
  std::vector<int32_t> ids;
  if (tokenizer().vocabulary().add_bos && tokenizer().bos_id() >= 0)
    ids.push_back(tokenizer().bos_id());
  const auto encoded = tokenizer().Encode(text);
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  return ids;
}

}  // namespace cadre
