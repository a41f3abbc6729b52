// cadre serve: one model behind the Mistral and OpenAI API, with a web page.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run_needs.h"
#include "cli/session.h"
#include "engine/engine.h"
#include "server/api.h"
#include "server/http_server.h"
#include "server/web_page.h"

namespace cadre {
namespace {

struct ServeOptions {
  SharedOptions shared;
  ModelOptions run;
  HttpServerConfig http;
  std::string model;
  std::string name;
  std::vector<std::string> aliases;
  int64_t parallel = 32;
  int64_t queue = 256;
  int64_t step_tokens = 512;
  uint64_t kv_bytes = 0;
  bool no_prefix_cache = false;
  bool no_speculation = false;
  double drain_s = 30;
};

// SIGINT and SIGTERM as something to wait for. Threads started later inherit that they are blocked.
class EndSignals {
 public:
  EndSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGINT);
    sigaddset(&set_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  void Wait() const {
    int signal = 0;
    sigwait(&set_, &signal);
  }
  // From here on the next one ends the process at once.
  void EndAtNext() const {
    std::thread([set = set_] {
      int signal = 0;
      sigwait(&set, &signal);
      _exit(128 + signal);
    }).detach();
  }

 private:
  sigset_t set_;
};

// The name that clients see: "models/Mixtral-8x7B-Instruct-v0.1.gguf" is
// Mixtral-8x7B-Instruct-v0.1.
std::string NameOf(const std::string& model) {
  std::filesystem::path path(model);
  if (!path.has_filename()) path = path.parent_path();
  const std::string name =
      path.extension() == ".gguf" ? path.stem().string() : path.filename().string();
  return name.empty() || name == "." || name == ".." ? "cadre" : name;
}

ApiConfig MakeApiConfig(const ServeOptions& options, const ModelSession& session) {
  ApiConfig config;
  config.model = &session.config();
  config.tokenizer = &session.tokenizer();
  config.chat_version = session.chat_version();
  config.model_id = options.name.empty() ? NameOf(options.model) : options.name;
  config.aliases = options.aliases;
  config.created = std::chrono::duration_cast<std::chrono::seconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  return config;
}

EngineConfig MakeEngineConfig(const ServeOptions& options, const ModelSession& session) {
  EngineConfig config;
  config.sequence = options.run.Sequence();
  config.context_length = session.context_length();
  config.max_running = options.parallel;
  config.max_queued = options.queue;
  config.kv_bytes = session.has_budget() ? session.kv_pages() * session.kv_page_bytes()
                                         : static_cast<int64_t>(options.kv_bytes);
  // More would need room for more activations.
  config.max_experts = session.has_budget() ? session.config().router.top_k : 0;
  config.step_tokens = options.step_tokens;
  config.prefix_cache = !options.no_prefix_cache;
  config.speculation = !options.no_speculation;
  return config;
}

void Serve(const ServeOptions& options) {
  const EndSignals signals;
  ModelSession session(options.model, TextNeed::kChat, options.shared, options.run);
  session.FitContext(ManySequences(session.config(), options.parallel, options.step_tokens),
                     options.parallel, 1, static_cast<int64_t>(options.kv_bytes));
  Engine engine(session.model(), session.experts(), session.device(), session.tokenizer(),
                MakeEngineConfig(options, session));
  Api api(MakeApiConfig(options, session), engine);
  HttpServer server(options.http, [&](HttpRequest request, std::shared_ptr<HttpReply> reply) {
    if (request.method == "GET" || request.method == "HEAD") {
      if (auto page = FindWebFile(request.path, request.if_none_match))
        return reply->Respond(std::move(*page));
    }
    api.Handle(std::move(request), std::move(reply));
  });
  Print(fmt::format("listening on {}\n", server.url()));
  log::info("{} requests share a step, {} wait", options.parallel, options.queue);

  signals.Wait();
  signals.EndAtNext();
  log::info("finishing {} requests", engine.stats().running + engine.stats().queued);
  engine.Drain(options.drain_s);
  server.Drain(2);
  api.Stop();
}

void AddHttpOptions(CLI::App& command, HttpServerConfig& http) {
  command.add_option("--host", http.host, "Address to listen on")->capture_default_str();
  command.add_option("--port", http.port, "Port; 0: any free one")->capture_default_str();
  command.add_option("--api-key-file", http.api_key_file,
                     "Keys that clients must present, one a line; without, everyone may ask");
  auto* cert =
      command.add_option("--tls-cert", http.tls_cert_file, "Certificate chain (PEM), for https");
  auto* key = command.add_option("--tls-key", http.tls_key_file, "The certificate's key (PEM)");
  cert->needs(key);
  key->needs(cert);
  command.add_flag("--insecure", http.insecure,
                   "Without keys, listen where other machines can reach");
  command
      .add_option("--allow-origin", http.allow_origins,
                  "Web pages of this origin may call, as https://example.org; may be given more "
                  "than once; *: any")
      ->allow_extra_args(false);
}

}  // namespace

void AddServeCommand(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("serve", "Answer the Mistral and OpenAI API, with a web page");
  command->footer(
      "Example: cadre serve nano --port 8080\n"
      "         curl localhost:8080/v1/completions -H 'Content-Type: application/json' \\\n"
      "           -d '{\"model\": \"nano\", \"prompt\": \"Once upon a time\", \"max_tokens\": "
      "32}'\n"
      "The page is at the address that is printed. SIGTERM lets the requests in progress end.");
  auto options = std::make_shared<ServeOptions>();
  AddModel(*command, options->model);
  AddHttpOptions(*command, options->http);
  command->add_option("--name", options->name,
                      "The model's name to clients; default: its file's or folder's");
  command
      ->add_option("--alias", options->aliases,
                   "Another name that clients may ask for; may be given more than once")
      ->allow_extra_args(false);
  command->add_option("--parallel", options->parallel, "Requests that share a step")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--queue", options->queue, "Requests that may wait; more get status 429")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  command
      ->add_option("--step-tokens", options->step_tokens,
                   "Most tokens of a step: long prompts are cut, so that others need not wait")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--kv-memory", options->kv_bytes,
                   "Memory for keys and values, as 4G, with --memory as a part of it; default: "
                   "what --parallel requests may need, at most a quarter of what is free")
      ->transform(CLI::AsSizeValue(true));
  command->add_flag("--no-prefix-cache", options->no_prefix_cache,
                    "Do not keep what was computed for common beginnings of prompts");
  command->add_flag("--no-speculation", options->no_speculation,
                    "Do not guess tokens from earlier text (the answers are the same)");
  command
      ->add_option("--drain", options->drain_s,
                   "Seconds that requests in progress get to end after SIGTERM")
      ->check(AtLeast(0))
      ->capture_default_str();
  AddModelOptions(*command, options->run);
  AddMemoryOptions(*command, options->run);
  AddSharedOptions(*command, options->shared);
  command->callback([options] { Serve(*options); });
}

}  // namespace cadre
