#include "cli/judge.h"

#include <chrono>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/interrupt.h"

namespace cadre {
namespace {

constexpr int kMaxTokens = 2048;
constexpr int kTries = 4;
constexpr std::string_view kPath = "/chat/completions";

std::string Endpoint(std::string url) {
  if (!url.starts_with("http://") && !url.starts_with("https://"))
    throw Error("--judge is {} but must begin with http:// or https://", Printable(url));
  while (url.ends_with('/')) url.pop_back();
  return url.ends_with(kPath) ? url : url + std::string(kPath);
}

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line) || line.empty()) throw Error("{}: holds no key", path);
  while (line.ends_with('\r') || line.ends_with(' ')) line.pop_back();
  return line;
}

// The message of an error's body, else its beginning.
std::string Complaint(const std::string& body) {
  constexpr size_t kMost = 200;
  const Json json = Json::parse(body, nullptr, false);
  if (json.is_object()) {
    const Json error = json.value("error", Json(json));
    if (error.is_object() && error.contains("message") && error["message"].is_string())
      return Printable(error["message"].get<std::string>());
  }
  return Printable(body.substr(0, kMost));
}

// choices[0].message.content
std::string ContentOf(const std::string& body, const std::string& url) {
  const Json json = ParseJson(body, url);
  const auto at = Json::json_pointer("/choices/0/message/content");
  if (!json.contains(at) || !json[at].is_string())
    throw Error("{}: answers without choices[0].message.content: {}", url,
                Printable(body.substr(0, 200)));
  return json[at].get<std::string>();
}

bool IsWorthAnotherTry(const HttpResult& result) {
  return !result.problem.empty() || result.status == 429 || result.status >= 500;
}

}  // namespace

Judge::Judge(JudgeOptions options)
    : url_(Endpoint(std::move(options.url))),
      model_(std::move(options.model)),
      key_(options.key_file.empty() ? "" : FirstLine(options.key_file)),
      client_([] { return Interrupt::flag().load(); }) {}

std::string Judge::Ask(const JudgePrompt& prompt) {
  const OrderedJson body = {{"model", model_},
                            {"messages",
                             {{{"role", "system"}, {"content", prompt.system}},
                              {{"role", "user"}, {"content", prompt.user}}}},
                            {"temperature", 0},
                            {"max_tokens", kMaxTokens}};
  const HttpPost request{.url = url_,
                         .token = key_,
                         .json = body.dump(-1, ' ', false, OrderedJson::error_handler_t::replace)};
  for (int wait_s = 1, attempt = 1;; ++attempt, wait_s *= 4) {
    std::string answer;
    const HttpResult result = client_.Post(request, answer);
    if (result.ok()) return ContentOf(answer, url_);
    const std::string said = result.problem.empty()
                                 ? fmt::format("status {}: {}", result.status, Complaint(answer))
                                 : result.problem;
    if (!IsWorthAnotherTry(result) || attempt == kTries || Interrupt::flag())
      throw Error("{}: the judge gives no answer: {}", url_, said);
    log::warn("the judge gives no answer ({}): asked again in {} s", said, wait_s);
    std::this_thread::sleep_for(std::chrono::seconds(wait_s));
  }
}

}  // namespace cadre
