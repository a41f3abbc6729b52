#include "engine/batch_step.h"

#include <cmath>

#include "base/error.h"

namespace cadre {
namespace {

// Every row's logits are looked at, not only the last one's.
bool WantsAllRows(const Request& request) { return request.prompt_logprobs || request.embedding; }

bool IsObserved(const Request& request) { return request.routing || request.min_expert_prob > 0; }

float Entropy(std::span<const float> probs) {
  double entropy = 0;
  for (const float p : probs) {
    if (p > 0) entropy -= static_cast<double>(p) * std::log(static_cast<double>(p));
  }
  return static_cast<float>(entropy);
}

}  // namespace

BatchStep::BatchStep(const Model& model, ExpertSource& experts, Device& device,
                     const SequenceConfig& config)
    : model_(&model),
      experts_(&experts),
      device_(&device),
      config_(config),
      activations_(model.config, Activations::Keep::kOneLayer),
      expert_rows_(static_cast<size_t>(model.config.num_layers * model.config.router.num_experts)) {
}

void BatchStep::Gather(const std::vector<StepPart>& plan) {
  ids_.clear();
  positions_.clear();
  sequence_of_row_.clear();
  sequences_.clear();
  wanted_rows_.clear();
  first_wanted_.assign(1, 0);
  first_row_.assign(1, 0);
  top_k_.clear();
  min_prob_.clear();
  bool limits_experts = false;
  for (size_t i = 0; i < plan.size(); ++i) {
    const StepPart& part = plan[i];
    const Request& request = part.request->request;
    const auto begin = part.request->ids.begin() + part.begin();
    ids_.insert(ids_.end(), begin, begin + part.rows);
    ids_.insert(ids_.end(), part.request->drafts.begin(), part.request->drafts.end());
    const int64_t k =
        request.experts_per_token > 0 ? request.experts_per_token : model_->config.router.top_k;
    limits_experts |= k != model_->config.router.top_k || request.min_expert_prob > 0;
    for (int64_t r = 0; r < part.all_rows(); ++r) {
      if (WantsAllRows(request) || (part.samples() && r >= part.rows - 1))
        wanted_rows_.push_back(std::ssize(positions_));
      positions_.push_back(part.begin() + r);
      sequence_of_row_.push_back(static_cast<int32_t>(i));
      top_k_.push_back(static_cast<int32_t>(k));
      min_prob_.push_back(request.min_expert_prob);
    }
    sequences_.push_back(part.request->chain.view());
    first_wanted_.push_back(std::ssize(wanted_rows_));
    first_row_.push_back(std::ssize(positions_));
  }
  if (!limits_experts) {
    top_k_.clear();
    min_prob_.clear();
  }
}

void BatchStep::Run(const std::vector<StepPart>& plan) {
  Gather(plan);
  const int64_t vocab = model_->config.vocab_size;
  logits_.Reserve(std::ssize(wanted_rows_) * vocab);
  const Batch batch{
      .ids = ids_,
      .positions = positions_,
      .sequence_of_row = sequence_of_row_,
      .sequences = sequences_,
      .kv_type = config_.kv_type,
      .wanted_rows = wanted_rows_,
      .router_limits = {.top_k = top_k_, .min_prob = min_prob_},
  };
  const RoutingObserver observer = [&](int64_t, const Routing& routing) { Observe(plan, routing); };
  bool is_observed = false;
  for (const auto& part : plan) is_observed |= IsObserved(part.request->request);
  routing_.assign(is_observed ? ids_.size() : 0, {});
  const ForwardOptions options{.activation = config_.activation,
                               .observer = is_observed ? &observer : nullptr,
                               .dropout = {},
                               .expert_rows = expert_rows_};
  Forward(*model_, *experts_, *device_, batch, options, activations_,
          logits_.AsMat(std::ssize(wanted_rows_), vocab));

  errors_.assign(plan.size(), {});
  device_->threads().ParallelFor(std::ssize(plan), [&](int64_t i, int) {
    try {
      Finish(plan[static_cast<size_t>(i)], static_cast<size_t>(i));
    } catch (const std::exception& error) {
      errors_[static_cast<size_t>(i)] = error.what();
    }
  });
  if (is_observed) GiveRouting(plan);
  for (size_t i = 0; i < plan.size(); ++i) {
    ActiveRequest& request = *plan[i].request;
    if (!errors_[i].empty() && !request.answer.ended())
      request.answer.End(FinishReason::kError, errors_[i]);
    // The drafts that were right are run; so is everything that was known before.
    const int64_t known = plan[i].begin() + plan[i].rows;
    int64_t accepted = 0;
    while (accepted < std::ssize(request.drafts) && known + accepted < std::ssize(request.ids) &&
           request.ids[static_cast<size_t>(known + accepted)] ==
               request.drafts[static_cast<size_t>(accepted)])
      ++accepted;
    if (!request.drafts.empty()) {
      request.draft_record.Add(std::ssize(request.drafts), accepted);
      request.usage.drafted_tokens += std::ssize(request.drafts);
      request.usage.accepted_tokens += accepted;
    }
    const int64_t end = known + accepted;
    request.chain.Commit(std::span(request.ids)
                             .subspan(static_cast<size_t>(plan[i].begin()),
                                      static_cast<size_t>(end - plan[i].begin())));
    const int64_t window = model_->config.sliding_window;
    if (window > 0) request.chain.ReleaseBefore(end - window + 1);
  }
}

// Runs on any thread; touches nothing but the request.
void BatchStep::Finish(const StepPart& part, size_t index) {
  ActiveRequest& request = *part.request;
  const int64_t begin = first_wanted_[index];
  const int64_t end = first_wanted_[index + 1];
  if (begin == end) return;
  const Mat<float> logits = logits_.AsMat(std::ssize(wanted_rows_), model_->config.vocab_size);
  int64_t row = begin;
  if (WantsAllRows(request.request)) {
    TakePrompt(part, logits.Rows(begin, end), activations_.final_h().Rows(begin, end));
    row += part.rows - 1;
  }
  if (!part.samples()) return;
  if (request.request.embedding) return request.answer.End(FinishReason::kStop);
  for (size_t d = 0;; ++d) {
    const bool goes_on = request.answer.Next(logits.row_span(row++), request.ids);
    if (!goes_on || d == request.drafts.size() || request.ids.back() != request.drafts[d]) return;
  }
}

// Of the prompt's rows in this step.
void BatchStep::TakePrompt(const StepPart& part, Mat<float> logits, Mat<const float> hidden) {
  ActiveRequest& request = *part.request;
  if (part.begin() == 0) request.hidden_sum.assign(static_cast<size_t>(model_->config.dim), 0);
  const int64_t rows = std::min(part.rows, request.num_prompt() - part.begin());
  for (int64_t r = 0; r < rows; ++r) {
    if (request.request.prompt_logprobs)
      request.answer.SetPromptLogprobs(part.begin() + r, logits.row_span(r));
    if (!request.request.embedding) continue;
    for (size_t i = 0; i < request.hidden_sum.size(); ++i)
      request.hidden_sum[i] += static_cast<double>(hidden.row(r)[i]);
  }
}

void BatchStep::Observe(const std::vector<StepPart>& plan, const Routing& routing) {
  for (size_t i = 0; i < plan.size(); ++i) {
    ActiveRequest& request = *plan[i].request;
    if (!IsObserved(request.request)) continue;
    for (int64_t r = 0; r < plan[i].all_rows(); ++r) {
      const int64_t row = first_row_[i] + r;
      const auto experts = routing.experts.row_span(row);
      if (r < plan[i].rows) {
        ++request.routed_rows;
        for (const int32_t expert : experts) request.chosen_experts += expert >= 0 ? 1 : 0;
      }
      if (!request.request.routing) continue;
      // As wide as the request may choose, whatever others in the step do.
      const auto k = static_cast<size_t>(top_k_.empty() ? model_->config.router.top_k
                                                        : top_k_[static_cast<size_t>(row)]);
      TokenRouting& token = routing_[static_cast<size_t>(row)];
      const auto gates = routing.gates.row_span(row);
      token.experts.insert(token.experts.end(), experts.begin(),
                           experts.begin() + static_cast<std::ptrdiff_t>(k));
      token.gates.insert(token.gates.end(), gates.begin(),
                         gates.begin() + static_cast<std::ptrdiff_t>(k));
      token.entropy.push_back(Entropy(routing.probs.row_span(row)));
    }
  }
}

void BatchStep::GiveRouting(const std::vector<StepPart>& plan) {
  for (size_t i = 0; i < plan.size(); ++i) {
    ActiveRequest& request = *plan[i].request;
    if (!request.request.routing) continue;
    for (int64_t r = 0; r < plan[i].all_rows(); ++r) {
      const int64_t position = plan[i].begin() + r;
      if (position >= std::ssize(request.ids)) break;
      const bool is_wrong_draft =
          r >= plan[i].rows && request.ids[static_cast<size_t>(position)] !=
                                   request.drafts[static_cast<size_t>(r - plan[i].rows)];
      if (is_wrong_draft) break;
      request.answer.SetRouting(position,
                                std::move(routing_[static_cast<size_t>(first_row_[i] + r)]));
    }
  }
}

}  // namespace cadre
