// cadre chat: a conversation in the terminal, or turns from a pipe, one per line.
#include <memory>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/fetching.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/output.h"
#include "cli/session.h"
#include "engine/generator.h"

namespace cadre {
namespace {

constexpr const char* kHelp =
    "/reset  start the conversation over\n"
    "/exit   leave (also Ctrl-D)\n"
    "/help   this\n"
    "Ctrl-C stops the answer.\n";

struct ChatCommandOptions {
  SharedOptions shared;
  ModelOptions run;
  SamplerConfig sampler{.temperature = 0.7};
  std::string model;
  std::string system;
  bool safe_prompt = false;
  int64_t max_tokens = 1024;
  std::vector<std::string> stops;
};

class Conversation {
 public:
  explicit Conversation(const ChatCommandOptions& options)
      : options_(options),
        session_(options.model, TextNeed::kChat, options.shared, options.run),
        generator_(MakeGenerator()) {
    Reset();
  }

  void Reset() {
    messages_.clear();
    if (!options_.system.empty())
      messages_.push_back({.role = Role::kSystem, .content = options_.system});
  }

  // Streams the answer and remembers both sides; what fails or gets no answer is forgotten. Throws
  // Error.
  void Say(const std::string& text) {
    messages_.push_back({.role = Role::kUser, .content = text});
    std::string answer;
    try {
      answer = Answer();
    } catch (const Error&) {
      messages_.pop_back();
      throw;
    }
    if (answer.empty()) {
      messages_.pop_back();
    } else {
      messages_.push_back({.role = Role::kAssistant, .content = answer});
    }
    if (!answer.ends_with('\n')) Print("\n");
  }

 private:
  Generator MakeGenerator() {
    // Turns add up to as much text as the context holds.
    session_.FitContext(session_.OneSequence(session_.context_length(), Sequence::kChunk), 1, 0);
    return {session_.model(),
            session_.experts(),
            session_.device(),
            session_.tokenizer(),
            {options_.run.Sequence(), session_.context_length()}};
  }

  std::string Answer() {
    GenerateRequest request;
    ChatOptions chat_options;
    chat_options.safe_prompt = options_.safe_prompt;
    request.prompt_ids =
        EncodeChat(session_.tokenizer(), session_.chat_version(), messages_, {}, chat_options);
    request.sampler = options_.sampler;
    request.sampler.seed = options_.shared.seed;
    request.max_tokens = options_.max_tokens;
    request.stops = options_.stops;
    request.leading_space = LeadingSpace::kStrip;
    request.cancelled = &Interrupt::flag();
    const auto result =
        generator_.Generate(request, [](const TokenEvent& event) { Print(event.text); });
    log::info("{}: {} prompt tokens ({} kept from before), {} generated at {:.1f}/s",
              Name(result.finish_reason), result.prompt_tokens, result.reused_tokens,
              result.ids.size(), result.generated_tokens_per_s());
    if (session_.has_budget()) LogFetching(session_.experts().stats());
    return result.text;
  }

  const ChatCommandOptions& options_;
  ModelSession session_;
  Generator generator_;
  std::vector<Message> messages_;
};

// Returns false when the person wants to leave.
bool Obey(const std::string& line, Conversation& conversation) {
  if (line == "/exit") return false;
  if (line == "/reset") {
    conversation.Reset();
    fmt::print(stderr, "(the conversation starts over)\n");
  } else if (line == "/help") {
    fmt::print(stderr, "{}", kHelp);
  } else {
    fmt::print(stderr, "{} is no command; /help lists them\n", Printable(line));
  }
  return true;
}

// A line to send, or one that begins with a slash; nothing at the end.
std::optional<std::string> NextLine(LineEditor& editor) {
  while (true) {
    const Interrupt interrupt;
    auto line = editor.Read();
    if (Interrupt::flag()) {
      fmt::print(stderr, "\n(Ctrl-D or /exit leaves)\n");
      continue;
    }
    if (!line || line->find_first_not_of(" \t") != std::string::npos) return line;
  }
}

void Chat(const ChatCommandOptions& options) {
  Conversation conversation(options);
  LineEditor editor("> ");
  if (editor.interactive())
    fmt::print(stderr, "{}: /help lists the commands\n", Printable(options.model, 200));
  while (const auto line = NextLine(editor)) {
    if (line->starts_with('/')) {
      if (!Obey(*line, conversation)) return;
      continue;
    }
    const Interrupt interrupt;
    try {
      conversation.Say(*line);
    } catch (const Error& error) {
      if (!editor.interactive()) throw;
      fmt::print(stderr, "cadre: error: {}\n", error.what());
    }
  }
  if (editor.interactive()) Print("\n");
}

}  // namespace

void AddChatCommand(CLI::App& app) {
  CLI::App* command = app.add_subcommand("chat", "Talk with a model");
  command->footer(
      "Example: cadre chat nano --system \"Answer in one sentence.\"\n"
      "         printf 'Hello\\nAnd now?\\n' | cadre chat nano --temperature 0\n"
      "Lines that begin with a slash are commands: /help lists them.");
  auto options = std::make_shared<ChatCommandOptions>();
  AddModel(*command, options->model);
  command->add_option("--system", options->system,
                      "What the model is told before the conversation");
  command->add_flag("--safe-prompt", options->safe_prompt,
                    "Put Mistral's safety text before everything");
  command->add_option("-n,--max-tokens", options->max_tokens, "Most tokens of one answer")
      ->check(AtLeast(1))
      ->capture_default_str();
  AddSamplerOptions(*command, options->sampler);
  command
      ->add_option("--stop", options->stops,
                   "End an answer before this text; may be given more than once")
      ->allow_extra_args(false);
  AddModelOptions(*command, options->run);
  AddMemoryOptions(*command, options->run);
  AddSharedOptions(*command, options->shared);
  command->callback([options] { Chat(*options); });
}

}  // namespace cadre
