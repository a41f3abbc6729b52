// What the commands that run a model start from: threads, device, opened model, and its experts: in
// memory, or fetched within --memory. The one place that picks a device.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/thread_pool.h"
#include "cli/shared_options.h"
#include "engine/open.h"
#include "model/experts.h"
#include "store/fitted_model.h"

namespace cadre {

// The device that --isa and --threads ask for. Throws Error when the machine lacks it.
std::unique_ptr<Device> MakeDevice(const SharedOptions& options, ThreadPool& threads);

// Starts logging, opens the model, applies the options and logs what looks wrong.
class ModelSession {
 public:
  ModelSession(const std::string& model, TextNeed need, const SharedOptions& shared,
               const ModelOptions& options);
  ModelSession(const ModelSession&) = delete;
  ModelSession& operator=(const ModelSession&) = delete;

  // With --memory: shares it out for a run with these needs and reads what every token wants; to be
  // called once, before model and experts are used. Without it: nothing. Throws Error when the
  // memory is too little.
  void Fit(const RunNeeds& needs);
  // The same for sequences whose length is not known: with a context as --context says, else as
  // long as there is room for in a part of the memory. spare_pages: beside those of a sequence.
  // kv_bytes: what all keys and values get; 0: what is there.
  void FitContext(RunNeeds needs, int64_t sequences, int64_t spare_pages, int64_t kv_bytes = 0);
  // Gives the fitted model's memory back.
  void Unfit();

  const ModelConfig& config() const { return opened_.model.model().config; }
  // The model as it lies in its files, also while it is fitted.
  const LoadedModel& loaded() const { return opened_.model; }
  const Tokenizer& tokenizer() const { return *opened_.tokenizer; }
  ChatVersion chat_version() const { return *opened_.chat_version; }
  const Model& model() const;
  ExpertSource& experts();
  Device& device() { return *device_; }
  // What --context says, else the model, or what there is room for.
  int64_t context_length() const { return context_length_; }
  bool has_budget() const { return options_.memory > 0; }
  // Of keys and values, by Fit; 0: nothing bounds them.
  int64_t kv_pages() const { return fitted_ ? fitted_->plan().kv_pages : 0; }
  int64_t kv_page_bytes() const;

  // Keys and values of one sequence that grows to this length, run in steps of step_tokens.
  int64_t PagesOf(int64_t positions, int64_t step_tokens) const;
  // The needs of one that begins with a prompt.
  RunNeeds OneSequence(int64_t positions, int64_t prompt_tokens) const;
  // BOS, where the vocabulary wants one, and the text.
  std::vector<int32_t> EncodePrompt(const std::string& text) const;

 private:
  void Pack();
  const SharedOptions& shared_;
  const ModelOptions& options_;
  ThreadPool threads_;
  std::unique_ptr<Device> device_;
  OpenedModel opened_;
  ResidentExperts resident_;
  int64_t context_length_;
  // Of the thread that reads.
  std::unique_ptr<ThreadPool> packer_threads_;
  std::unique_ptr<Device> packer_;
  std::optional<LoadedModel> low_bit_;
  std::optional<FittedModel> fitted_;
};

}  // namespace cadre
