#include "hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <exception>
#include <utility>

#include "base/error.h"

namespace cadre {
namespace {

constexpr long kConnectTimeoutS = 30;
// A transfer slower than this for this long is cut, and tried again by the caller.
constexpr long kLeastBytesPerS = 1024;
constexpr long kSlowTimeoutS = 30;
constexpr long kMaxRedirects = 10;
constexpr size_t kMaxAnswerBytes = size_t{64} << 20;

// libcurl wants this once, before any other use and before threads.
void InitialiseOnce() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw Error("libcurl: {}", curl_easy_strerror(code));
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

std::string_view Trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\r' || c == '\n' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

struct HttpClient::State {
  CURL* curl = nullptr;
  char message[CURL_ERROR_SIZE] = {};
  std::function<bool()> stopped;
  // Of the request that runs.
  const std::function<bool(std::span<const std::byte>)>* take = nullptr;
  bool ranged = false;
  uint64_t wanted = 0;            // bytes still to come of a range
  std::string* answer = nullptr;  // of a POST
  HttpResult result;
  std::exception_ptr thrown;  // by `take`: libcurl is C and must not be unwound

  // What all requests have in common.
  void Begin(const std::string& url, const std::string& token) {
    result = {};
    message[0] = '\0';
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectTimeoutS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "cadre");
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &State::OnHeader);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, this);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &State::OnProgress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, this);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (token.empty()) return;
    // As an option, not a header of ours: libcurl then keeps it from hosts it is redirected to.
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, token.c_str());
  }

  void End(CURLcode code) {
    result.status = static_cast<int>(Status());
    char* last = nullptr;
    if (curl_easy_getinfo(curl, CURLINFO_EFFECTIVE_URL, &last) == CURLE_OK && last != nullptr) {
      const std::string_view url(last);
      const size_t host = url.find("://");
      result.location = std::string(
          host == url.npos ? url
                           : url.substr(0, url.find('/', host + 3)));  // no query: it may sign
    }
    if (code != CURLE_OK && result.problem.empty())
      result.problem = message[0] != '\0' ? message : curl_easy_strerror(code);
  }

  long Status() const {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
  }

  static size_t OnHeader(char* data, size_t size, size_t count, void* self) {
    auto& state = *static_cast<State*>(self);
    const std::string_view line(data, size * count);
    if (line.starts_with("HTTP/")) state.result.headers.clear();  // the answer after a redirect
    const size_t colon = line.find(':');
    if (colon != line.npos && state.result.headers.size() < 200) {
      state.result.headers[Lower(Trimmed(line.substr(0, colon)))] =
          std::string(Trimmed(line.substr(colon + 1)));
    }
    return size * count;
  }

  static size_t OnBody(char* data, size_t size, size_t count, void* self) {
    auto& state = *static_cast<State*>(self);
    const size_t bytes = size * count;
    const long status = state.Status();
    if (status != (state.ranged ? 206 : 200)) return bytes;  // an error's page is of no use
    if (state.ranged && bytes > state.wanted) {
      state.result.problem = "the server sent more than was asked for";
      return 0;
    }
    state.wanted -= state.ranged ? bytes : 0;
    try {
      return (*state.take)(std::as_bytes(std::span(data, bytes))) ? bytes : 0;
    } catch (...) {
      state.thrown = std::current_exception();
      return 0;
    }
  }

  static size_t OnAnswer(char* data, size_t size, size_t count, void* self) {
    auto& state = *static_cast<State*>(self);
    const size_t bytes = size * count;
    if (state.answer->size() + bytes > kMaxAnswerBytes) {
      state.result.problem = "the answer is too long";
      return 0;
    }
    state.answer->append(data, bytes);
    return bytes;
  }

  static int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    const auto& state = *static_cast<State*>(self);
    return state.stopped && state.stopped() ? 1 : 0;
  }
};

HttpClient::HttpClient(std::function<bool()> stopped) : state_(std::make_unique<State>()) {
  InitialiseOnce();
  state_->stopped = std::move(stopped);
  state_->curl = curl_easy_init();
  if (state_->curl == nullptr) throw Error("libcurl: no handle");
}

HttpClient::~HttpClient() { curl_easy_cleanup(state_->curl); }

HttpResult HttpClient::Get(const HttpGet& request,
                           const std::function<bool(std::span<const std::byte>)>& take) {
  State& s = *state_;
  s.take = &take;
  s.ranged = request.range.has_value();
  s.wanted = s.ranged ? request.range->second - request.range->first : 0;
  s.Begin(request.url, request.token);
  curl_easy_setopt(s.curl, CURLOPT_REDIR_PROTOCOLS_STR,
                   request.url.starts_with("https:") ? "https" : "http,https");
  curl_easy_setopt(s.curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(s.curl, CURLOPT_MAXREDIRS, kMaxRedirects);
  curl_easy_setopt(s.curl, CURLOPT_LOW_SPEED_LIMIT, kLeastBytesPerS);
  curl_easy_setopt(s.curl, CURLOPT_LOW_SPEED_TIME, kSlowTimeoutS);
  curl_easy_setopt(s.curl, CURLOPT_BUFFERSIZE, 512L << 10);
  curl_easy_setopt(s.curl, CURLOPT_WRITEFUNCTION, &State::OnBody);
  curl_easy_setopt(s.curl, CURLOPT_WRITEDATA, &s);
  const std::string range =
      s.ranged ? fmt::format("{}-{}", request.range->first, request.range->second - 1) : "";
  if (s.ranged) curl_easy_setopt(s.curl, CURLOPT_RANGE, range.c_str());

  const CURLcode code = curl_easy_perform(s.curl);
  if (s.thrown) std::rethrow_exception(std::exchange(s.thrown, nullptr));
  s.End(code);
  if (s.result.problem.empty() && s.ranged && s.result.status == 206 && s.wanted > 0)
    s.result.problem = "the answer ended early";
  return std::move(s.result);
}

HttpResult HttpClient::Post(const HttpPost& request, std::string& answer) {
  State& s = *state_;
  answer.clear();
  s.answer = &answer;
  s.Begin(request.url, request.token);
  curl_slist* headers = curl_slist_append(nullptr, "Content-Type: application/json");
  curl_easy_setopt(s.curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(s.curl, CURLOPT_POSTFIELDSIZE_LARGE,
                   static_cast<curl_off_t>(request.json.size()));
  curl_easy_setopt(s.curl, CURLOPT_POSTFIELDS, request.json.data());
  curl_easy_setopt(s.curl, CURLOPT_TIMEOUT_MS, static_cast<long>(1000 * request.timeout_s));
  curl_easy_setopt(s.curl, CURLOPT_WRITEFUNCTION, &State::OnAnswer);
  curl_easy_setopt(s.curl, CURLOPT_WRITEDATA, &s);
  const CURLcode code = curl_easy_perform(s.curl);
  curl_slist_free_all(headers);
  s.End(code);
  return std::move(s.result);
}

}  // namespace cadre
