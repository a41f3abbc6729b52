#include "cli/session.h"

#include <malloc.h>

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/model_path.h"
#include "cli/run_needs.h"
#include "cpu/cpu_device.h"

namespace cadre {
namespace {

int64_t Pages(int64_t positions) {
  return std::max<int64_t>(1, (positions + kKvBlock - 1) / kKvBlock);
}

// Large pieces go back to the system as soon as they are freed, whatever was freed before: what the
// process has must be what the plan says.
void KeepHeapSmall() { mallopt(M_MMAP_THRESHOLD, 256 << 10); }

OpenedModel Open(const std::string& model, TextNeed need, const SharedOptions& shared,
                 const ModelOptions& options) {
  log::Start(shared.log_level);
  options.Misses();
  if (options.memory > 0) KeepHeapSmall();
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
    : shared_(shared),
      options_(options),
      threads_(shared.threads),
      device_(MakeDevice(shared, threads_)),
      opened_(Open(model, need, shared, options)),
      resident_(opened_.model.model().weights),
      context_length_(options.context > 0 ? options.context : config().context_length) {
  log::info("{} on {} threads ({})", model, threads_.num_threads(), device_->name());
  if (!has_budget() && options.packs()) Pack();
}

const Model& ModelSession::model() const {
  CADRE_CHECK(fitted_ || !has_budget());
  return fitted_ ? fitted_->model() : opened_.model.model();
}

ExpertSource& ModelSession::experts() {
  CADRE_CHECK(fitted_ || !has_budget());
  if (fitted_) return fitted_->experts();
  return resident_;
}

void ModelSession::Fit(const RunNeeds& needs) {
  if (!has_budget()) return;
  packer_threads_ = std::make_unique<ThreadPool>(1);
  packer_ = MakeDevice(shared_, *packer_threads_);
  if (!options_.low_bit.empty()) low_bit_ = LoadedModel::Load(ResolveModel(options_.low_bit));
  fitted_.emplace(
      opened_.model, *device_, *packer_, needs,
      FitOptions{.budget = static_cast<int64_t>(options_.memory),
                 .kv_type = options_.Sequence().kv_type,
                 .form = options_.packs() ? KeptForm::kPacked : KeptForm::kStored,
                 .max_guesses = options_.guesses,
                 .policy = options_.cache == "lru" ? CachePolicy::kLru : CachePolicy::kFrequency,
                 .misses = options_.Misses(),
                 .low_bit = low_bit_ ? &*low_bit_ : nullptr});
}

void ModelSession::Unfit() {
  fitted_.reset();
  low_bit_.reset();
}

int64_t ModelSession::kv_page_bytes() const {
  return config().kv_shape(options_.Sequence().kv_type).page_bytes();
}

int64_t ModelSession::PagesOf(int64_t positions, int64_t step_tokens) const {
  return cadre::PagesOf(config(), positions, step_tokens);
}

RunNeeds ModelSession::OneSequence(int64_t positions, int64_t prompt_tokens) const {
  return cadre::OneSequence(config(), positions, prompt_tokens);
}

void ModelSession::FitContext(RunNeeds needs, int64_t sequences, int64_t spare_pages,
                              int64_t kv_bytes) {
  constexpr int64_t kLeastContext = 2 * kKvBlock;
  const auto one = [&](int64_t context) { return Pages(context) + spare_pages; };
  const bool is_asked_for = options_.context > 0;
  needs.least_pages =
      one(is_asked_for ? context_length_ : std::min(context_length_, kLeastContext));
  needs.most_pages = sequences * one(context_length_);
  if (has_budget() && kv_bytes > 0) {
    const int64_t pages = kv_bytes / kv_page_bytes();
    if (pages < needs.least_pages) {
      throw Error("--kv-memory is {} bytes but a context of {} tokens takes {}", kv_bytes,
                  is_asked_for ? context_length_ : std::min(context_length_, kLeastContext),
                  needs.least_pages * kv_page_bytes());
    }
    needs.least_pages = needs.most_pages = pages;
  }
  Fit(needs);
  if (!fitted_ || kv_pages() >= one(context_length_)) return;
  context_length_ = (kv_pages() - spare_pages) * kKvBlock;
  log::info("this memory has room for a context of {} tokens", context_length_);
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
