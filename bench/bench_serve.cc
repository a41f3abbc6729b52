// The load tool: many requests at once to an OpenAI-compatible server (cadre serve, llama-server,
// ...), and how long its users wait for their tokens. Exit 1 when a request fails or a text differs
// from the same request's alone.
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "bench/bench_serve_client.h"

namespace cadre::bench {
namespace {

struct Options {
  std::string url = "http://127.0.0.1:8080";
  std::string model = "default";
  std::string key;
  int requests = 100;
  int concurrency = 10;
  int prompt_tokens = 64;
  std::string prompt_file;
  int max_tokens = 64;
  double temperature = 0.8;
  bool chat = false;
  bool stream = true;
  bool same_prompt = false;
  bool same_seed = false;
  bool ignore_eos = false;
  int check_against_alone = 0;
  std::vector<int> allow_status;
  double timeout_s = 600;
  bool json = false;
};

// About one token a word in every vocabulary of this family.
constexpr std::array kWords = {"the",  "of",   "and",  "in",   "was",   "for",  "with", "that",
                               "from", "they", "have", "this", "which", "one",  "were", "all",
                               "time", "when", "more", "day",  "first", "over", "such", "our"};

std::string Prompt(const Options& options, uint64_t index) {
  Random random(17, options.same_prompt ? 0 : index);
  std::string prompt;
  for (int i = 0; i < options.prompt_tokens; ++i) {
    prompt += i > 0 ? " " : "";
    prompt += kWords[random.NextBelow(kWords.size())];
  }
  return prompt;
}

std::string ReadPrompt(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error("{}: cannot be read", path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> Bodies(const Options& options) {
  const std::string given = options.prompt_file.empty() ? "" : ReadPrompt(options.prompt_file);
  std::vector<std::string> bodies;
  for (int i = 0; i < options.requests; ++i) {
    const auto index = static_cast<uint64_t>(i);
    const std::string prompt = options.prompt_file.empty() ? Prompt(options, index) : given;
    Json body = {{"model", options.model},
                 {"max_tokens", options.max_tokens},
                 {"temperature", options.temperature},
                 {"seed", options.same_seed ? 1 : i + 1},
                 {"stream", options.stream}};
    if (options.stream) body["stream_options"] = {{"include_usage", true}};
    if (options.ignore_eos) {  // as some servers call it, and as others do
      body["ignore_eos"] = true;
      body["min_tokens"] = options.max_tokens;
    }
    if (options.chat) {
      body["messages"] = Json::array({{{"role", "user"}, {"content", prompt}}});
    } else {
      body["prompt"] = prompt;
    }
    bodies.push_back(body.dump());
  }
  return bodies;
}

Json Percentiles(std::vector<double> values) {
  if (values.empty()) return nullptr;
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
  };
  return {{"p50", at(0.5)}, {"p90", at(0.9)}, {"p99", at(0.99)}, {"max", values.back()}};
}

Json Report(const Options& options, const std::vector<ServeResult>& results, double seconds) {
  std::vector<double> first;
  std::vector<double> between;
  std::vector<double> whole;
  std::map<std::string, int> errors;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  bool counted = true;  // by the server, not by pieces
  int failed = 0;
  for (const ServeResult& result : results) {
    const bool allowed = std::find(options.allow_status.begin(), options.allow_status.end(),
                                   result.status) != options.allow_status.end();
    if (!result.problem.empty()) {
      ++errors[result.status == 0     ? result.problem
               : result.status == 200 ? "200: " + result.problem
                                      : std::to_string(result.status)];
      failed += allowed ? 0 : 1;
      continue;
    }
    if (result.num_pieces > 0) first.push_back(result.first_token_s);
    between.insert(between.end(), result.gaps_s.begin(), result.gaps_s.end());
    whole.push_back(result.seconds);
    prompt_tokens += std::max<int64_t>(result.prompt_tokens, 0);
    counted = counted && result.completion_tokens >= 0;
    completion_tokens +=
        result.completion_tokens >= 0 ? result.completion_tokens : result.num_pieces;
  }
  const auto answered = static_cast<double>(whole.size());
  return {{"requests", results.size()},
          {"concurrency", options.concurrency},
          {"answered", whole.size()},
          {"failed", failed},
          {"errors", errors},
          {"seconds", seconds},
          {"requests_per_s", answered / seconds},
          {"prompt_tokens", prompt_tokens},
          {"completion_tokens", completion_tokens},
          {"tokens_counted_by", counted ? "usage" : "pieces"},
          {"completion_tokens_per_s", static_cast<double>(completion_tokens) / seconds},
          {"first_token_s", Percentiles(std::move(first))},
          {"between_tokens_s", Percentiles(std::move(between))},
          {"request_s", Percentiles(std::move(whole))}};
}

void PrintLine(const char* name, const Json& percentiles) {
  if (percentiles.is_null()) return;
  fmt::print("{:<20} p50 {:9.2f} ms  p90 {:9.2f} ms  p99 {:9.2f} ms  max {:9.2f} ms\n", name,
             percentiles["p50"].get<double>() * 1e3, percentiles["p90"].get<double>() * 1e3,
             percentiles["p99"].get<double>() * 1e3, percentiles["max"].get<double>() * 1e3);
}

void Print(const Json& report) {
  fmt::print("{} requests, {} at a time: {} answered in {:.2f} s, {:.1f} requests/s\n",
             report["requests"].get<int>(), report["concurrency"].get<int>(),
             report["answered"].get<int>(), report["seconds"].get<double>(),
             report["requests_per_s"].get<double>());
  fmt::print("{} prompt tokens, {} generated (counted by {}): {:.1f} generated tokens/s\n",
             report["prompt_tokens"].get<int64_t>(), report["completion_tokens"].get<int64_t>(),
             report["tokens_counted_by"].get<std::string>(),
             report["completion_tokens_per_s"].get<double>());
  PrintLine("to the first token", report["first_token_s"]);
  PrintLine("between tokens", report["between_tokens_s"]);
  PrintLine("whole request", report["request_s"]);
  for (const auto& [what, count] : report["errors"].items()) {
    fmt::print("error {}: {} times\n", what, count.get<int>());
  }
  if (report.contains("compared_with_alone")) {
    fmt::print("{} texts compared with the same request alone: {} differ\n",
               report["compared_with_alone"].get<int>(), report["different"].get<int>());
  }
}

int Run(const Options& options) {
  ServeTarget target =
      ParseServeUrl(options.url, options.chat ? "/v1/chat/completions" : "/v1/completions");
  target.key = options.key;
  target.timeout_s = options.timeout_s;
  const std::vector<std::string> bodies = Bodies(options);
  const auto num_alone =
      std::min<size_t>(static_cast<size_t>(options.check_against_alone), bodies.size());
  const std::vector<ServeResult> alone =
      AskAll(target, {bodies.begin(), bodies.begin() + static_cast<std::ptrdiff_t>(num_alone)}, 1);
  const Stopwatch watch;
  const std::vector<ServeResult> results = AskAll(target, bodies, options.concurrency);
  Json report = Report(options, results, watch.Seconds());
  int different = 0;
  for (size_t i = 0; i < num_alone; ++i) {
    const bool same = alone[i].problem.empty() && results[i].problem.empty() &&
                      alone[i].text == results[i].text && alone[i].num_pieces > 0;
    different += same ? 0 : 1;
  }
  if (num_alone > 0) {
    report["compared_with_alone"] = num_alone;
    report["different"] = different;
  }
  if (options.json) {
    fmt::print("{}\n", report.dump());
  } else {
    Print(report);
  }
  return different > 0 || report["failed"] > 0 ? 1 : 0;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("How an OpenAI-compatible server holds under load");
  app.add_option("--url", options.url, "http://host:port")->capture_default_str();
  app.add_option("--model", options.model, "Its name there")->capture_default_str();
  app.add_option("--key", options.key, "API key");
  app.add_option("--requests", options.requests)->check(CLI::Range(1, 10'000'000));
  app.add_option("--concurrency", options.concurrency, "At a time")->check(CLI::Range(1, 100'000));
  app.add_option("--prompt-tokens", options.prompt_tokens, "About as many words")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--prompt-file", options.prompt_file, "The prompt of all requests");
  app.add_option("--max-tokens", options.max_tokens)->check(CLI::Range(1, 1'000'000));
  app.add_option("--temperature", options.temperature)->check(CLI::Range(0.0, 2.0));
  app.add_flag("--chat", options.chat, "/v1/chat/completions instead of /v1/completions");
  app.add_flag("--stream,!--no-stream", options.stream, "Stream the answers (default)");
  app.add_flag("--same-prompt", options.same_prompt, "One prompt for all");
  app.add_flag("--same-seed", options.same_seed, "One seed for all");
  app.add_flag("--ignore-eos", options.ignore_eos, "Ask for all of --max-tokens");
  app.add_option("--check-against-alone", options.check_against_alone,
                 "Ask the first N alone before, and compare the texts")
      ->check(CLI::Range(0, 10'000'000));
  app.add_option("--allow-status", options.allow_status, "Statuses that are no failure, as 429");
  app.add_option("--timeout", options.timeout_s, "Seconds for one request")
      ->check(CLI::Range(0.1, 1e6));
  app.add_flag("--json", options.json, "One JSON object on stdout");
  CLI11_PARSE(app, argc, argv);
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  return Run(options);
}

}  // namespace
}  // namespace cadre::bench

int main(int argc, char** argv) {
  try {
    return cadre::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_serve: {}\n", error.what());
    return 1;
  }
}
