#include "eval/likelihood.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "eval/log_sum.h"

namespace cadre {
namespace {

constexpr int64_t kStepRows = 512;     // rows of one Forward
constexpr int64_t kWindowRows = 2048;  // worth being scored together
// A prefix that windows share is made longer only by so many ids at once: items that begin alike by
// chance are not worth a step of a few rows.
constexpr int64_t kWorthSharing = 32;

std::span<const int32_t> Rows(const LikelihoodRequest& request) {
  return std::span(request.ids).first(static_cast<size_t>(request.num_rows()));
}

int64_t CommonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto size = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return std::mismatch(a.begin(), a.begin() + size, b.begin()).first - a.begin();
}

// Rows that all requests of the item have in common.
int64_t TrunkLength(const ItemRequests& item) {
  int64_t length = item.front().num_rows();
  for (const auto& request : item)
    length = std::min(length, CommonPrefix(Rows(item.front()), Rows(request)));
  return length;
}

// The first rows of `item` that are those of `rows` and that nothing is asked of.
int64_t SharedWith(std::span<const int32_t> rows, const ItemRequests& item) {
  int64_t shared = std::min(TrunkLength(item), CommonPrefix(rows, Rows(item.front())));
  for (const auto& request : item) shared = std::min(shared, request.num_given - 1);
  return shared;
}

}  // namespace

struct LikelihoodScorer::Asked {
  const LikelihoodRequest* request = nullptr;
  std::vector<double> log_p = {};    // of each asked id
  std::vector<char> is_greedy = {};  // the same; no vector<bool>: threads write side by side

  explicit Asked(const LikelihoodRequest& of)
      : request(&of),
        log_p(of.ids.size() - static_cast<size_t>(of.num_given)),
        is_greedy(log_p.size()) {}

  Likelihood Sum() const {
    Likelihood sum;
    for (const double value : log_p) sum.log_likelihood += value;
    sum.is_greedy = std::find(is_greedy.begin(), is_greedy.end(), 0) == is_greedy.end();
    return sum;
  }
};

struct LikelihoodScorer::Part {
  const KvBranch* branch = nullptr;
  std::span<const int32_t> ids;  // from position `begin` on
  int64_t begin = 0;
  std::vector<Asked*> asked;  // whom its rows may tell something

  int64_t first_wanted() const {
    int64_t first = std::numeric_limits<int64_t>::max();
    for (const Asked* one : asked) first = std::min(first, one->request->num_given - 1);
    return first;
  }
};

// Items that are scored together.
struct LikelihoodScorer::Window {
  std::vector<std::vector<Asked>> asked;  // [items][requests]
  std::vector<KvBranch> trunks;           // [items]
  std::vector<KvBranch> ends;             // of requests that have one
  std::vector<Part> parts;                // to run next
};

LikelihoodScorer::LikelihoodScorer(const Model& model, ExpertSource& experts, Device& device,
                                   const SequenceConfig& config, int64_t max_kv_bytes)
    : model_(&model),
      experts_(&experts),
      device_(&device),
      config_(config),
      pool_(model.config.kv_shape(config.kv_type)),
      prefix_(pool_),
      activations_(model.config, Activations::Keep::kOneLayer) {
  max_pages_ = max_kv_bytes / pool_.shape().page_bytes();
}

size_t LikelihoodScorer::WindowSize(std::span<const ItemRequests> items) const {
  const auto first = Rows(items.front().front());
  int64_t shared = SharedWith(first, items.front());
  int64_t rows = 0, pages = KvBranch::NumOwnPages(0, shared);
  size_t count = 0;
  for (const ItemRequests& item : items) {
    const int64_t trunk = TrunkLength(item);
    shared = std::min(shared, SharedWith(first, item));
    rows += trunk - shared;
    pages += KvBranch::NumOwnPages(shared, trunk);
    for (const auto& request : item) {
      rows += request.num_rows() - trunk;
      if (request.num_rows() > trunk) pages += KvBranch::NumOwnPages(trunk, request.num_rows());
    }
    if (count > 0 && pages > max_pages_) break;
    ++count;
    if (rows >= kWindowRows) break;
  }
  return count;
}

void LikelihoodScorer::CheckIds(std::span<const ItemRequests> items) const {
  for (const auto& item : items) {
    CADRE_CHECK(!item.empty());
    for (const auto& request : item) {
      CADRE_CHECK(request.num_given > 0 && request.num_given < std::ssize(request.ids));
      for (const int32_t id : request.ids) {
        if (id < 0 || id >= model_->config.vocab_size)
          throw Error("token id is {} but must be from 0 to {}", id, model_->config.vocab_size - 1);
      }
    }
  }
}

// Afterwards prefix_ is a beginning of `prefix`, all of it but for a few ids.
bool LikelihoodScorer::SharePrefix(std::span<const int32_t> prefix,
                                   const std::atomic<bool>* cancelled) {
  const int64_t known = CommonPrefix(prefix_ids_, prefix);
  prefix_.Truncate(known);
  prefix_ids_.resize(static_cast<size_t>(known));
  if (std::ssize(prefix) - known < kWorthSharing) return true;
  prefix_.Reserve(std::ssize(prefix));
  const Part part{.branch = &prefix_,
                  .ids = prefix.subspan(static_cast<size_t>(known)),
                  .begin = known,
                  .asked = {}};
  if (!RunParts({&part, 1}, cancelled)) return false;
  prefix_ids_.assign(prefix.begin(), prefix.end());
  return true;
}

// What the requests of each item have in common, behind the prefix.
void LikelihoodScorer::PlanTrunks(std::span<const ItemRequests> items, Window& window) const {
  const auto prefix = prefix_ids_.size();
  window.trunks.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const auto trunk = static_cast<size_t>(TrunkLength(items[i]));
    KvBranch& branch = window.trunks.emplace_back(prefix_, static_cast<int64_t>(prefix));
    branch.Reserve(static_cast<int64_t>(trunk));
    if (trunk == prefix) continue;
    Part part{.branch = &branch,
              .ids = Rows(items[i].front()).first(trunk).subspan(prefix),
              .begin = static_cast<int64_t>(prefix),
              .asked = {}};
    for (Asked& one : window.asked[i]) part.asked.push_back(&one);
    window.parts.push_back(std::move(part));
  }
}

// What each request has of its own.
void LikelihoodScorer::PlanEnds(std::span<const ItemRequests> items, Window& window) const {
  size_t num_requests = 0;
  for (const auto& item : items) num_requests += item.size();
  window.ends.reserve(num_requests);
  for (size_t i = 0; i < items.size(); ++i) {
    const int64_t trunk = TrunkLength(items[i]);
    for (Asked& one : window.asked[i]) {
      const auto rows = Rows(*one.request);
      if (std::ssize(rows) == trunk) continue;
      KvBranch& branch = window.ends.emplace_back(window.trunks[i], trunk);
      branch.Reserve(std::ssize(rows));
      window.parts.push_back({.branch = &branch,
                              .ids = rows.subspan(static_cast<size_t>(trunk)),
                              .begin = trunk,
                              .asked = {&one}});
    }
  }
}

std::vector<std::vector<Likelihood>> LikelihoodScorer::Score(std::span<const ItemRequests> items,
                                                             const std::atomic<bool>* cancelled) {
  CheckIds(items);
  const auto first = Rows(items.front().front());
  int64_t shared = std::ssize(first);
  for (const auto& item : items) shared = std::min(shared, SharedWith(first, item));
  if (!SharePrefix(first.first(static_cast<size_t>(shared)), cancelled)) return {};

  Window window;
  for (const auto& item : items) window.asked.emplace_back(item.begin(), item.end());
  PlanTrunks(items, window);
  if (!RunParts(window.parts, cancelled)) return {};
  window.parts.clear();
  PlanEnds(items, window);
  if (!RunParts(window.parts, cancelled)) return {};

  std::vector<std::vector<Likelihood>> scores(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    for (const Asked& one : window.asked[i]) scores[i].push_back(one.Sum());
  }
  return scores;
}

std::vector<std::vector<Likelihood>> LikelihoodScorer::ScoreOneByOne(
    std::span<const ItemRequests> items, const std::atomic<bool>* cancelled) {
  CheckIds(items);
  std::vector<std::vector<Likelihood>> scores(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    for (const auto& request : items[i]) {
      Asked one(request);
      KvBranch alone(pool_);
      alone.Reserve(request.num_rows());
      const Part part{.branch = &alone, .ids = Rows(request), .begin = 0, .asked = {&one}};
      if (!RunParts({&part, 1}, cancelled)) return {};
      scores[i].push_back(one.Sum());
    }
  }
  return scores;
}

// As many rows in a step as fit, whosever they are; a part that does not fit goes on in the next.
bool LikelihoodScorer::RunParts(std::span<const Part> parts, const std::atomic<bool>* cancelled) {
  size_t next = 0;
  int64_t row = 0;
  while (next < parts.size()) {
    if (cancelled != nullptr && *cancelled) return false;
    ClearStep();
    while (next < parts.size() && std::ssize(ids_) < kStepRows) {
      const int64_t left = std::ssize(parts[next].ids) - row;
      const int64_t count = std::min(left, kStepRows - std::ssize(ids_));
      AddRows(parts[next], row, count);
      row += count;
      if (count < left) continue;
      ++next;
      row = 0;
    }
    RunStep();
  }
  return true;
}

void LikelihoodScorer::ClearStep() {
  ids_.clear();
  positions_.clear();
  sequence_of_row_.clear();
  sequences_.clear();
  wanted_rows_.clear();
  told_.clear();
}

void LikelihoodScorer::AddRows(const Part& part, int64_t first, int64_t count) {
  const int64_t first_wanted = part.first_wanted();
  for (int64_t row = first; row < first + count; ++row) {
    const int64_t position = part.begin + row;
    if (position >= first_wanted) {
      wanted_rows_.push_back(std::ssize(ids_));
      told_.emplace_back(part.asked);
    }
    ids_.push_back(part.ids[static_cast<size_t>(row)]);
    positions_.push_back(position);
    sequence_of_row_.push_back(static_cast<int32_t>(sequences_.size()));
  }
  sequences_.push_back(part.branch->view());
}

void LikelihoodScorer::RunStep() {
  const int64_t num_wanted = std::ssize(wanted_rows_);
  const int64_t vocab = model_->config.vocab_size;
  logits_.Reserve(num_wanted * vocab);
  const Batch batch{.ids = ids_,
                    .positions = positions_,
                    .sequence_of_row = sequence_of_row_,
                    .sequences = sequences_,
                    .kv_type = config_.kv_type,
                    .wanted_rows = wanted_rows_,
                    .router_limits = {}};
  const ForwardOptions options{
      .activation = config_.activation, .observer = nullptr, .dropout = {}};
  Forward(*model_, *experts_, *device_, batch, options, activations_,
          logits_.AsMat(num_wanted, vocab));
  rows_run_ += std::ssize(ids_);
  device_->threads().ParallelFor(num_wanted, [&](int64_t i, int) { Tell(i); });
}

// Runs on any thread; no two rows tell the same request of the same id.
void LikelihoodScorer::Tell(int64_t wanted) const {
  const auto logits =
      logits_.AsMat(std::ssize(wanted_rows_), model_->config.vocab_size).row_span(wanted);
  const double log_sum = LogSum(logits);
  const auto likeliest = std::max_element(logits.begin(), logits.end()) - logits.begin();
  const auto row = static_cast<size_t>(wanted_rows_[static_cast<size_t>(wanted)]);
  for (Asked* one : told_[static_cast<size_t>(wanted)]) {
    const int64_t index = positions_[row] - (one->request->num_given - 1);
    if (index < 0) continue;
    const int32_t target = one->request->ids[static_cast<size_t>(positions_[row] + 1)];
    one->log_p[static_cast<size_t>(index)] =
        static_cast<double>(logits[static_cast<size_t>(target)]) - log_sum;
    one->is_greedy[static_cast<size_t>(index)] = likeliest == target ? 1 : 0;
  }
}

}  // namespace cadre
