#include "server/http_request_parser.h"

#include <boost/beast/core/buffer_traits.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <optional>
#include <utility>

#include "base/error.h"

namespace cadre {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;

// A body that takes memory for the bytes that came, never for those that were announced.
struct CountedBody {
  struct value_type {
    std::string bytes;
    std::atomic<size_t>* all = nullptr;
    size_t max_all = 0;
  };

  class reader {
   public:
    template <bool kIsRequest, class Fields>
    reader(http::header<kIsRequest, Fields>&, value_type& body) : body_(body) {}

    void init(const boost::optional<std::uint64_t>&, error_code& error) { error = {}; }

    template <class Buffers>
    size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      const size_t size = boost::beast::buffer_bytes(buffers);
      if (body_.all->fetch_add(size) + size > body_.max_all) {
        *body_.all -= size;
        error = make_error_code(boost::system::errc::not_enough_memory);
        return 0;
      }
      for (const auto buffer : boost::beast::buffers_range_ref(buffers)) {
        body_.bytes.append(static_cast<const char*>(buffer.data()), buffer.size());
      }
      return size;
    }

    void finish(error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

using Parser = http::request_parser<CountedBody>;

std::string Text(boost::beast::string_view text) { return {text.data(), text.size()}; }

int StatusOf(const error_code& error) {
  if (error == http::error::header_limit) return 431;
  if (error == http::error::body_limit) return 413;
  if (error == http::error::bad_version) return 505;
  if (error == boost::system::errc::not_enough_memory) return 503;
  return 400;
}

}  // namespace

struct HttpRequestParser::State {
  std::optional<Parser> parser;

  void Drop(std::atomic<size_t>& all_bodies) {
    if (parser) all_bodies -= parser->get().body().bytes.size();
    parser.reset();
  }
};

HttpRequestParser::HttpRequestParser(const HttpLimits& limits, std::atomic<size_t>& all_bodies)
    : limits_(limits), all_bodies_(all_bodies), state_(std::make_unique<State>()) {
  Reset();
}

HttpRequestParser::~HttpRequestParser() { state_->Drop(all_bodies_); }

void HttpRequestParser::Reset() {
  state_->Drop(all_bodies_);
  Parser& parser = state_->parser.emplace();
  parser.header_limit(static_cast<std::uint32_t>(limits_.header_bytes));
  parser.body_limit(limits_.body_bytes);
  parser.get().body() = {.bytes = {}, .all = &all_bodies_, .max_all = limits_.all_bodies_bytes};
  head_ = {};
  head_bytes_ = 0;
  head_done_ = done_ = false;
  status_ = 0;
  problem_.clear();
}

void HttpRequestParser::Fail(int status, std::string problem) {
  status_ = status;
  problem_ = std::move(problem);
}

void HttpRequestParser::FailWith(int status, const std::string& reason) {
  switch (status) {
    case 413:
      return Fail(413, fmt::format("the request body has more than {} bytes", limits_.body_bytes));
    case 431:
      return Fail(431,
                  fmt::format("the request header has more than {} bytes", limits_.header_bytes));
    case 503:
      return Fail(503, "too many bodies at once: try again");
    case 505:
      return Fail(505, "the HTTP version must be 1.0 or 1.1");
    default:
      return Fail(status, fmt::format("malformed request: {}", reason));
  }
}

size_t HttpRequestParser::Feed(std::string_view bytes) {
  CADRE_CHECK(!failed() && !done_);
  Parser& parser = *state_->parser;
  size_t taken = 0;
  bool stuck = false;  // at a line that is not complete yet
  while (taken < bytes.size() && !parser.is_done() && !stuck) {
    const std::string_view rest = bytes.substr(taken);
    error_code error;
    const size_t now = parser.put(boost::asio::const_buffer(rest.data(), rest.size()), error);
    taken += now;
    if (!head_done_) head_bytes_ += now;
    stuck = error == http::error::need_more;
    if (error && !stuck) {
      FailWith(StatusOf(error), error.message());
      return taken;
    }
    if (parser.is_header_done() && !head_done_) {
      head_done_ = true;
      ReadHead();
      break;
    }
  }
  const size_t line_bytes = stuck ? bytes.size() - taken : 0;
  if (line_bytes + (head_done_ ? 0 : head_bytes_) > limits_.header_bytes ||
      head_bytes_ > limits_.header_bytes) {
    FailWith(431, "");
  }
  done_ = !failed() && parser.is_done();
  return taken;
}

void HttpRequestParser::ReadHead() {
  const auto& message = state_->parser->get();
  const auto field = [&](const auto& name) { return Text(message[name]); };
  head_ = {.method = Text(message.method_string()),
           .target = Text(message.target()),
           .http11 = message.version() == 11,
           .keep_alive = message.keep_alive(),
           .expects_continue = boost::beast::iequals(message[http::field::expect], "100-continue"),
           .host = field(http::field::host),
           .origin = field(http::field::origin),
           .fetch_site = field("Sec-Fetch-Site"),
           .authorization = field(http::field::authorization),
           .request_id = field("X-Request-Id"),
           .content_type = field(http::field::content_type),
           .accept = field(http::field::accept),
           .if_none_match = field(http::field::if_none_match),
           .preflight_method = field(http::field::access_control_request_method),
           .preflight_headers = field(http::field::access_control_request_headers)};
  if (message.count(http::field::host) > 1) return Fail(400, "two Host headers");
  if (head_.http11 && message.count(http::field::host) == 0) return Fail(400, "no Host header");
  if (message.count(http::field::authorization) > 1) {
    return Fail(400, "two Authorization headers");
  }
  const auto encodings = message.count(http::field::transfer_encoding);
  if (encodings > 0 &&
      (encodings > 1 || !head_.http11 ||
       !boost::beast::iequals(message[http::field::transfer_encoding], "chunked"))) {
    return Fail(400, "the Transfer-Encoding must be chunked, once, of HTTP/1.1");
  }
}

size_t HttpRequestParser::body_bytes() const { return state_->parser->get().body().bytes.size(); }

std::string HttpRequestParser::TakeBody() {
  std::string& bytes = state_->parser->get().body().bytes;
  all_bodies_ -= bytes.size();
  return std::exchange(bytes, {});
}

}  // namespace cadre
