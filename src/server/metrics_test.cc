#include "server/metrics.h"

#include <gtest/gtest.h>

#include <regex>

namespace cadre {
namespace {

bool Has(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(Metrics, TellsCountersGaugesAndExperts) {
  EngineStats stats;
  stats.running = 3;
  stats.generated_tokens = 1234;
  stats.expert_tokens = {1, 2, 3, 4, 5, 6};
  const std::string text = ApiMetrics().Print(stats, "a\"b", 2);
  EXPECT_TRUE(Has(text, "cadre_requests_running 3"));
  EXPECT_TRUE(Has(text, "# TYPE cadre_requests_running gauge"));
  EXPECT_TRUE(Has(text, "cadre_generated_tokens_total 1234"));
  EXPECT_TRUE(Has(text, "# TYPE cadre_generated_tokens_total counter"));
  EXPECT_TRUE(Has(text, "cadre_expert_tokens_total{layer=\"1\",expert=\"2\"} 6"));
  EXPECT_TRUE(Has(text, "cadre_model_info{model=\"a\\\"b\"} 1"));
}

TEST(Metrics, TellsWhatFetchingExpertsCost) {
  EngineStats stats;
  EXPECT_EQ(ApiMetrics().Print(stats, "m", 2).find("cadre_expert_hits"), std::string::npos);
  stats.experts = {.slots = 12, .bytes_read = 4096, .stall_s = 0.5, .layers = {{}, {}}};
  stats.experts.layers[1] = {.hits = 7, .misses = 5, .begun = 3, .foreseen = 9, .unforeseen = 2};
  const std::string text = ApiMetrics().Print(stats, "m", 2);
  EXPECT_TRUE(Has(text, "cadre_expert_slots 12"));
  EXPECT_TRUE(Has(text, "cadre_expert_read_bytes_total 4096"));
  EXPECT_TRUE(Has(text, "cadre_expert_stall_seconds_total 0.5"));
  EXPECT_TRUE(Has(text, "cadre_expert_hits_total{layer=\"0\"} 0"));
  EXPECT_TRUE(Has(text, "cadre_expert_hits_total{layer=\"1\"} 7"));
  EXPECT_TRUE(Has(text, "cadre_expert_misses_total{layer=\"1\"} 5"));
  EXPECT_TRUE(Has(text, "cadre_expert_begun_total{layer=\"1\"} 3"));
  EXPECT_TRUE(Has(text, "cadre_expert_foreseen_total{layer=\"1\"} 9"));
  EXPECT_TRUE(Has(text, "cadre_expert_unforeseen_total{layer=\"1\"} 2"));
}

TEST(Metrics, CountsIntoCumulativeBuckets) {
  ApiMetrics metrics;
  metrics.ObserveFirstToken(0.004);
  metrics.ObserveFirstToken(0.03);
  metrics.ObserveFirstToken(10000);
  const std::string text = metrics.Print({}, "m", 0);
  EXPECT_TRUE(Has(text, "cadre_time_to_first_token_seconds_bucket{le=\"0.005\"} 1"));
  EXPECT_TRUE(Has(text, "cadre_time_to_first_token_seconds_bucket{le=\"0.05\"} 2"));
  EXPECT_TRUE(Has(text, "cadre_time_to_first_token_seconds_bucket{le=\"600\"} 2"));
  EXPECT_TRUE(Has(text, "cadre_time_to_first_token_seconds_bucket{le=\"+Inf\"} 3"));
  EXPECT_TRUE(Has(text, "cadre_time_to_first_token_seconds_count 3"));
}

TEST(Metrics, CountsAnswersByRouteAndStatus) {
  ApiMetrics metrics;
  metrics.CountResponse("/v1/models", 200);
  metrics.CountResponse("/v1/models", 200);
  metrics.CountResponse("/v1/models", 404);
  const std::string text = metrics.Print({}, "m", 0);
  EXPECT_TRUE(Has(text, "cadre_http_responses_total{route=\"/v1/models\",status=\"200\"} 2"));
  EXPECT_TRUE(Has(text, "cadre_http_responses_total{route=\"/v1/models\",status=\"404\"} 1"));
}

TEST(Metrics, IsWhatPrometheusReads) {
  ApiMetrics metrics;
  metrics.CountResponse("/v1/models", 200);
  metrics.ObserveRequest(0.5);
  EngineStats stats;
  stats.expert_tokens = {1, 2};
  stats.experts = {.slots = 1, .layers = {{}}};
  std::istringstream lines(metrics.Print(stats, "m", 1));
  const std::regex pattern(
      R"((# (HELP|TYPE) [a-z_]+ .+)|([a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+))");
  for (std::string line; std::getline(lines, line);)
    EXPECT_TRUE(std::regex_match(line, pattern)) << line;
}

}  // namespace
}  // namespace cadre
