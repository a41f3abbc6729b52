// What the commands that run a model start from: threads, device, opened model. The one place that
// picks a device.
#pragma once

#include <memory>
#include <string>

#include "base/thread_pool.h"
#include "cli/shared_options.h"
#include "engine/open.h"
#include "model/experts.h"

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

  const Model& model() const { return opened_.model.model(); }
  const ModelConfig& config() const { return model().config; }
  const Tokenizer& tokenizer() const { return *opened_.tokenizer; }
  ChatVersion chat_version() const { return *opened_.chat_version; }
  ExpertSource& experts() { return experts_; }
  Device& device() { return *device_; }
  // What --context says, else the model.
  int64_t context_length() const { return context_length_; }

  // BOS, where the vocabulary wants one, and the text.
  std::vector<int32_t> EncodePrompt(const std::string& text) const;

 private:
  void Pack();
  ThreadPool threads_;
  std::unique_ptr<Device> device_;
  OpenedModel opened_;
  ResidentExperts experts_;
  int64_t context_length_;
};

}  // namespace cadre
