#include "server/metrics.h"

#include <fmt/format.h>

#include <iterator>

#include "base/error.h"

namespace cadre {
namespace {

constexpr std::array kSecondsOfTokens = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                         0.25,  0.5,    1.0,   2.5,  5.0,   10.0};
constexpr std::array kSecondsOfRequests = {0.005, 0.01, 0.025, 0.05, 0.1,  0.25,  0.5,   1.0,
                                           2.5,   5.0,  10.0,  30.0, 60.0, 120.0, 300.0, 600.0};

void Head(const char* name, const char* help, const char* type, std::string& out) {
  fmt::format_to(std::back_inserter(out), "# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
}

void One(const char* name, const char* help, const char* type, double value, std::string& out) {
  Head(name, help, type, out);
  fmt::format_to(std::back_inserter(out), "{} {}\n", name, value);
}

// The value of a label: backslash, quote and newline are escaped.
std::string Label(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return escaped;
}

struct Figure {
  const char* name;
  const char* help;
  const char* type;
  double value;
};

void PrintFigures(const EngineStats& stats, std::string& out) {
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  const Figure figures[] = {
      {"cadre_requests_running", "Requests that share the steps.", "gauge", number(stats.running)},
      {"cadre_requests_queued", "Requests that wait.", "gauge", number(stats.queued)},
      {"cadre_requests_total", "Requests taken by the engine.", "counter", number(stats.requests)},
      {"cadre_requests_refused_total", "Requests refused because the queue was full.", "counter",
       number(stats.refused)},
      {"cadre_requests_finished_total", "Requests answered to the end.", "counter",
       number(stats.finished)},
      {"cadre_requests_cancelled_total", "Requests whose client went.", "counter",
       number(stats.cancelled)},
      {"cadre_requests_failed_total", "Requests that ended in an error.", "counter",
       number(stats.failed)},
      {"cadre_requests_preempted_total", "Times a request gave its pages to others.", "counter",
       number(stats.preempted)},
      {"cadre_steps_total", "Steps of the model.", "counter", number(stats.steps)},
      {"cadre_step_seconds_total", "Time in steps.", "counter", stats.step_s},
      {"cadre_constraint_seconds_total",
       "Time that schemas, patterns and tools took of ended answers, side by side in the steps.",
       "counter", stats.constraint_s},
      {"cadre_prompt_tokens_total", "Tokens of prompts that were run.", "counter",
       number(stats.prompt_tokens)},
      {"cadre_cached_tokens_total", "Tokens of prompts that earlier requests had run.", "counter",
       number(stats.cached_tokens)},
      {"cadre_generated_tokens_total", "Tokens of answers.", "counter",
       number(stats.generated_tokens)},
      {"cadre_drafted_tokens_total", "Tokens guessed by prompt lookup.", "counter",
       number(stats.drafted_tokens)},
      {"cadre_accepted_tokens_total", "Guessed tokens that were right.", "counter",
       number(stats.accepted_tokens)},
      {"cadre_kv_pages", "Pages of keys and values there may be.", "gauge", number(stats.pages)},
      {"cadre_kv_pages_in_use", "Pages of running requests.", "gauge", number(stats.pages_in_use)},
      {"cadre_kv_pages_cached", "Pages kept for later requests.", "gauge",
       number(stats.pages_cached)},
      {"cadre_kv_page_bytes", "Size of a page.", "gauge", number(stats.page_bytes)},
  };
  for (const Figure& figure : figures)
    One(figure.name, figure.help, figure.type, figure.value, out);
}

void PrintExperts(const EngineStats& stats, int64_t num_layers, std::string& out) {
  if (num_layers <= 0 || stats.expert_tokens.empty()) return;
  Head("cadre_expert_tokens_total", "Tokens that chose the expert.", "counter", out);
  const auto num_experts = stats.expert_tokens.size() / static_cast<size_t>(num_layers);
  for (size_t i = 0; num_experts > 0 && i < stats.expert_tokens.size(); ++i) {
    fmt::format_to(std::back_inserter(out),
                   "cadre_expert_tokens_total{{layer=\"{}\",expert=\"{}\"}} {}\n", i / num_experts,
                   i % num_experts, stats.expert_tokens[i]);
  }
}

// Of a model whose experts are fetched; nothing where all are in memory.
void PrintFetching(const ExpertStats& experts, std::string& out) {
  if (experts.slots == 0) return;
  One("cadre_expert_slots", "Experts that have room in memory.", "gauge",
      static_cast<double>(experts.slots), out);
  One("cadre_expert_read_bytes_total", "Bytes of weights read.", "counter",
      static_cast<double>(experts.bytes_read), out);
  One("cadre_expert_stall_seconds_total", "Time in which steps waited for experts to be read.",
      "counter", experts.stall_s, out);
  struct Count {
    const char* name;
    const char* help;
    int64_t ExpertStats::Layer::*value;
  };
  constexpr Count kCounts[] = {
      {"cadre_expert_hits_total", "Needed experts that were in memory.", &ExpertStats::Layer::hits},
      {"cadre_expert_misses_total", "Needed experts that had to be read.",
       &ExpertStats::Layer::misses},
      {"cadre_expert_begun_total", "Of those, experts whose reading a right guess had begun.",
       &ExpertStats::Layer::begun},
      {"cadre_expert_foreseen_total", "Needed experts that had been guessed, in memory or not.",
       &ExpertStats::Layer::foreseen},
      {"cadre_expert_unforeseen_total", "Needed experts that were not among the guesses made.",
       &ExpertStats::Layer::unforeseen},
      {"cadre_expert_choices_total", "Experts chosen, once for each token.",
       &ExpertStats::Layer::choices},
      {"cadre_expert_low_bit_total", "Of those, run with a copy of the expert in fewer bits.",
       &ExpertStats::Layer::low_bit},
      {"cadre_expert_next_best_total", "Of those, given to another expert.",
       &ExpertStats::Layer::next_best},
  };
  for (const Count& count : kCounts) {
    Head(count.name, count.help, "counter", out);
    for (size_t l = 0; l < experts.layers.size(); ++l) {
      fmt::format_to(std::back_inserter(out), "{}{{layer=\"{}\"}} {}\n", count.name, l,
                     experts.layers[l].*count.value);
    }
  }
}

}  // namespace

void Histogram::Observe(double seconds) {
  size_t bucket = 0;
  while (bucket < bounds_.size() && seconds > bounds_[bucket]) ++bucket;
  ++counts_[bucket];
  ++count_;
  sum_ += seconds;
}

void Histogram::Print(const char* name, const char* help, std::string& out) const {
  Head(name, help, "histogram", out);
  uint64_t below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i];
    fmt::format_to(std::back_inserter(out), "{}_bucket{{le=\"{}\"}} {}\n", name, bounds_[i], below);
  }
  fmt::format_to(std::back_inserter(out),
                 "{0}_bucket{{le=\"+Inf\"}} {1}\n{0}_sum {2}\n{0}_count {1}\n", name, count_, sum_);
}

ApiMetrics::ApiMetrics()
    : first_token_(kSecondsOfRequests),
      between_tokens_(kSecondsOfTokens),
      request_(kSecondsOfRequests),
      queue_(kSecondsOfRequests) {}

void ApiMetrics::CountResponse(const std::string& route, int status) {
  const std::lock_guard lock(mutex_);
  ++responses_[{route, status}];
}

void ApiMetrics::ObserveFirstToken(double seconds) {
  const std::lock_guard lock(mutex_);
  first_token_.Observe(seconds);
}

void ApiMetrics::ObserveBetweenTokens(double seconds) {
  const std::lock_guard lock(mutex_);
  between_tokens_.Observe(seconds);
}

void ApiMetrics::ObserveRequest(double seconds) {
  const std::lock_guard lock(mutex_);
  request_.Observe(seconds);
}

void ApiMetrics::ObserveQueue(double seconds) {
  const std::lock_guard lock(mutex_);
  queue_.Observe(seconds);
}

std::string ApiMetrics::Print(const EngineStats& stats, const std::string& model,
                              int64_t num_layers) const {
  std::string out;
  Head("cadre_model_info", "The model that is served.", "gauge", out);
  fmt::format_to(std::back_inserter(out), "cadre_model_info{{model=\"{}\"}} 1\n", Label(model));
  PrintFigures(stats, out);
  PrintExperts(stats, num_layers, out);
  PrintFetching(stats.experts, out);
  const std::lock_guard lock(mutex_);
  Head("cadre_http_responses_total", "Answers by route and status.", "counter", out);
  for (const auto& [key, count] : responses_) {
    fmt::format_to(std::back_inserter(out),
                   "cadre_http_responses_total{{route=\"{}\",status=\"{}\"}} {}\n",
                   Label(key.first), key.second, count);
  }
  first_token_.Print("cadre_time_to_first_token_seconds",
                     "From the request's arrival to its first token.", out);
  between_tokens_.Print("cadre_time_between_tokens_seconds", "Between two tokens of an answer.",
                        out);
  request_.Print("cadre_request_seconds", "From a request's arrival to the end of its answer.",
                 out);
  queue_.Print("cadre_queue_seconds", "That a request waited before its first step.", out);
  return out;
}

}  // namespace cadre
