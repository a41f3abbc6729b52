// The Mistral and OpenAI API over one engine: parses what comes, asks the engine, answers in both
// dialects' shapes at once. Knows nothing of sockets and keys, which are the transport's.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/answer_constraint.h"
#include "server/answer_json.h"
#include "server/api_config.h"
#include "server/exchange.h"
#include "server/http.h"
#include "server/metrics.h"
#include "server/work_queue.h"

namespace cadre {

// A path as clients may ask for it; "{id}" at its end stands for the rest of a path.
struct ApiRoute {
  const char* method;  // GET or POST; HEAD is answered as GET
  const char* path;
};

// Thread-safe. Order of farewells: Engine::Drain, then the transport, then this, then the engine.
class Api {
 public:
  // `config` is completed by the engine's context length. The engine must outlive this.
  Api(ApiConfig config, Engine& engine);
  ~Api();  // as Stop

  // An HttpHandler: never blocks; answers later, on other threads. A path that is none of the
  // routes gets 404, a route with another method 405.
  void Handle(HttpRequest request, std::shared_ptr<HttpReply> reply);

  // Ends the threads; what still comes from the engine is dropped.
  void Stop();

  static std::span<const ApiRoute> Routes();
  const ApiConfig& config() const { return config_; }

 private:
  void Answer(const HttpRequest& request, Exchange& exchange);
  void AnswerGet(const HttpRequest& request, Exchange& exchange);
  void AnswerPost(const HttpRequest& request, Exchange& exchange);
  void Chat(const OrderedJson& body, Exchange& exchange);
  void Fim(const OrderedJson& body, Exchange& exchange);
  void Complete(const OrderedJson& body, Exchange& exchange);
  void Embed(const OrderedJson& body, Exchange& exchange);
  void Moderate(const OrderedJson& body, Exchange& exchange);
  AnswerHead MakeHead(const char* id_prefix) const;

  ApiConfig config_;
  Engine& engine_;
  ConstraintSource constraints_;
  std::shared_ptr<ApiMetrics> metrics_;
  std::shared_ptr<WorkQueue> parsing_;    // of requests
  std::shared_ptr<WorkQueue> rendering_;  // of answers: never waits behind a compile
};

}  // namespace cadre
