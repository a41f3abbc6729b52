#include "bench/bench_serve_client.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"

namespace cadre::bench {
namespace {

namespace http = boost::beast::http;
using boost::asio::ip::tcp;
using boost::beast::error_code;

int64_t Count(const Json& usage, const char* key) {
  const auto found = usage.find(key);
  return found != usage.end() && found->is_number_integer() ? found->get<int64_t>() : -1;
}

// What events and whole answers say, added to a result.
class AnswerReader {
 public:
  explicit AnswerReader(ServeResult& result) : result_(result) {}

  void Add(std::string_view bytes, double now_s) {
    rest_ += bytes;
    if (!streams_) return;
    size_t begin = 0;
    for (size_t end; (end = rest_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      std::string_view line(rest_.data() + begin, end - begin);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (!line.starts_with("data:")) continue;
      line.remove_prefix(5);
      if (line.starts_with(' ')) line.remove_prefix(1);
      if (line.starts_with("[DONE]")) {
        done_ = true;
      } else {
        Read(line, now_s);
      }
    }
    rest_.erase(0, begin);
  }

  void set_streams(bool streams) { streams_ = streams; }

  void End(double now_s) {
    if (!streams_) return Read(rest_, now_s);
    if (!done_ && result_.problem.empty()) result_.problem = "the stream ended without [DONE]";
  }

 private:
  void Read(std::string_view json, double now_s) {
    const Json event = Json::parse(json, nullptr, false);
    if (!event.is_object()) {
      result_.problem = "an answer is no JSON object";
      return;
    }
    if (const auto error = event.find("error"); error != event.end() && !error->is_null()) {
      result_.problem = error->is_object() ? error->value("message", "error") : "error";
    }
    if (const auto usage = event.find("usage"); usage != event.end() && usage->is_object()) {
      result_.prompt_tokens = Count(*usage, "prompt_tokens");
      result_.completion_tokens = Count(*usage, "completion_tokens");
    }
    const auto choices = event.find("choices");
    if (choices == event.end() || !choices->is_array() || choices->empty()) return;
    AddText((*choices)[0], now_s);
  }

  void AddText(const Json& choice, double now_s) {
    if (!choice.is_object()) return;
    const Json* from = &choice;
    for (const char* inner : {"delta", "message"}) {
      if (const auto found = choice.find(inner); found != choice.end()) from = &*found;
    }
    const auto text =
        from->is_object() ? from->find(from == &choice ? "text" : "content") : from->end();
    if (text == from->end() || !text->is_string() || text->get_ref<const std::string&>().empty()) {
      return;
    }
    result_.text += text->get_ref<const std::string&>();
    if (result_.num_pieces++ == 0) {
      result_.first_token_s = now_s;
    } else {
      result_.gaps_s.push_back(static_cast<float>(now_s - last_s_));
    }
    last_s_ = now_s;
  }

  ServeResult& result_;
  std::string rest_;
  bool streams_ = false;
  bool done_ = false;
  double last_s_ = 0;
};

// The requests that are left, and their results.
struct Work {
  const ServeTarget& target;
  const std::vector<std::string>& bodies;
  std::vector<ServeResult> results;
  tcp::resolver::results_type addresses;
  size_t next = 0;
};

// One client: asks the next request as long as there is one.
class Client : public std::enable_shared_from_this<Client> {
 public:
  Client(boost::asio::io_context& context, Work& work) : stream_(context), work_(work) {}

  void AskNext() {
    if (work_.next == work_.bodies.size()) return;
    index_ = work_.next++;
    watch_ = Stopwatch();
    reused_ = stream_.socket().is_open();
    if (reused_) return Ask();
    Connect();
  }

 private:
  ServeResult& result() { return work_.results[index_]; }

  void Connect() {
    stream_.expires_after(Timeout());
    stream_.async_connect(work_.addresses, [self = shared_from_this()](error_code error, auto) {
      if (error) return self->Fail(error);
      error_code ignored;
      self->stream_.socket().set_option(tcp::no_delay(true), ignored);
      self->Ask();
    });
  }

  std::chrono::milliseconds Timeout() const {
    return std::chrono::milliseconds(static_cast<int64_t>(work_.target.timeout_s * 1000));
  }

  void Ask() {
    request_ = {http::verb::post, work_.target.path, 11, work_.bodies[index_]};
    request_.set(http::field::host, work_.target.host + ":" + work_.target.port);
    request_.set(http::field::content_type, "application/json");
    if (!work_.target.key.empty()) {
      request_.set(http::field::authorization, "Bearer " + work_.target.key);
    }
    request_.prepare_payload();
    result() = {};
    reader_.emplace(result());
    parser_.emplace();
    parser_->body_limit(uint64_t{1} << 30);
    stream_.expires_after(Timeout());
    http::async_write(stream_, request_, [self = shared_from_this()](error_code error, size_t) {
      if (error) return self->Fail(error);
      http::async_read_header(self->stream_, self->buffer_, *self->parser_,
                              [self](error_code failed, size_t) { self->OnHeader(failed); });
    });
  }

  void OnHeader(error_code error) {
    if (error) return Fail(error);
    const auto& answer = parser_->get();
    result().status = static_cast<int>(answer.result_int());
    reader_->set_streams(answer[http::field::content_type].starts_with("text/event-stream"));
    Read();
  }

  void Read() {
    if (parser_->is_done()) return End();
    parser_->get().body() = {.data = bytes_, .size = sizeof(bytes_), .more = true};
    http::async_read_some(stream_, buffer_, *parser_,
                          [self = shared_from_this()](error_code error, size_t) {
                            if (error && error != http::error::need_buffer) {
                              return self->Fail(error);
                            }
                            const size_t size = sizeof(bytes_) - self->parser_->get().body().size;
                            self->reader_->Add({self->bytes_, size}, self->watch_.Seconds());
                            self->Read();
                          });
  }

  void End() {
    result().seconds = watch_.Seconds();
    reader_->End(result().seconds);
    if (result().status != 200 && result().problem.empty()) result().problem = "an error";
    if (!parser_->get().keep_alive()) Hangup();
    AskNext();
  }

  void Fail(error_code error) {
    Hangup();
    if (std::exchange(reused_, false) && result().status == 0 &&
        error != boost::beast::error::timeout) {
      return Connect();  // the server had ended the connection meanwhile: once more
    }
    result().seconds = watch_.Seconds();
    result().problem = error.message();
    AskNext();
  }

  void Hangup() {
    error_code ignored;
    stream_.socket().close(ignored);
    buffer_.clear();
  }

  boost::beast::tcp_stream stream_;
  Work& work_;
  size_t index_ = 0;
  Stopwatch watch_;
  bool reused_ = false;
  http::request<http::string_body> request_;
  std::optional<http::response_parser<http::buffer_body>> parser_;
  std::optional<AnswerReader> reader_;
  boost::beast::flat_buffer buffer_;
  char bytes_[8192];
};

}  // namespace

ServeTarget ParseServeUrl(const std::string& url, const std::string& endpoint) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) {
    throw Error("--url {} must be http://host:port", Printable(url));
  }
  std::string rest = url.substr(kScheme.size());
  const size_t slash = rest.find('/');
  std::string path = slash == std::string::npos ? "" : rest.substr(slash);
  rest = rest.substr(0, slash);
  while (path.ends_with('/')) path.pop_back();
  if (path.ends_with("/v1")) path.resize(path.size() - 3);
  const size_t colon = rest.rfind(':');
  const bool has_port = colon != std::string::npos && !rest.ends_with(']');
  std::string host = rest.substr(0, has_port ? colon : rest.size());
  if (host.empty()) throw Error("--url {} must be http://host:port", Printable(url));
  return {.host = host,
          .port = has_port ? rest.substr(colon + 1) : "80",
          .path = path + endpoint,
          .key = {}};
}

std::vector<ServeResult> AskAll(const ServeTarget& target, const std::vector<std::string>& bodies,
                                int concurrency) {
  boost::asio::io_context context(1);
  Work work{.target = target, .bodies = bodies, .results = {}, .addresses = {}};
  work.results.resize(bodies.size());
  std::string host = target.host;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  error_code error;
  work.addresses = tcp::resolver(context).resolve(host, target.port, error);
  if (error) throw Error("{} port {}: {}", target.host, target.port, error.message());
  const size_t num_clients = std::min(bodies.size(), static_cast<size_t>(concurrency));
  for (size_t i = 0; i < num_clients; ++i) std::make_shared<Client>(context, work)->AskNext();
  context.run();
  return std::move(work.results);
}

}  // namespace cadre::bench
