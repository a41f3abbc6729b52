#include "server/moderation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/log.h"
#include "server/answer_options.h"
#include "server/fields.h"

namespace cadre {
namespace {

struct Category {
  const char* word;
  const char* meaning;
};

constexpr Category kCategories[] = {
    {"illegal", "breaking the law, or helping somebody to"},
    {"child abuse", "anything that exploits, sexualises or hurts children"},
    {"hate violence harassment",
     "hatred of people for what they are, threats, bullying, praise of violence or of suffering"},
    {"malware", "programs made to damage, disrupt or break into computers"},
    {"physical harm",
     "weapons, warfare, tampering with energy, water or transport, hurting oneself"},
    {"economic harm",
     "gambling, payday loans, pyramid schemes, machines deciding on credit, jobs or benefits"},
    {"fraud", "scams, deception, plagiarism, fake reviews, disinformation, spam"},
    {"adult", "sexual services, pornography, erotic talk; not sex education"},
    {"political", "campaigning or lobbying, in bulk or aimed at particular groups"},
    {"privacy", "tracking, identifying or classifying people, giving away their personal data"},
    {"unqualified law", "legal advice that nobody qualified has checked"},
    {"unqualified financial", "financial advice that nobody qualified has checked"},
    {"unqualified health", "telling people what illness they have or how to cure it"},
};
constexpr const char* kSafe = "not moderated";
constexpr size_t kMaxTexts = 256;

std::string Question(const std::string& text) {
  std::string question = "These are categories of content that must be moderated:\n\n";
  for (const Category& category : kCategories)
    question += fmt::format("- {}: {}.\n", category.word, category.meaning);
  question += fmt::format(
      "\nDecide which one of them the text below belongs to and answer with the name of that "
      "category alone. If it belongs to none of them and is harmless, answer \"{}\".\n\n"
      "Text:\n###\n{}\n###",
      kSafe, text);
  return question;
}

// What a text adds to the end of another, token by token: "word" as it is said first in an answer.
double WordLogprob(const std::vector<int32_t>& word, std::span<const OutputToken> tokens) {
  double sum = 0;
  for (size_t i = 0; i < word.size() && i < tokens.size(); ++i) {
    if (tokens[i].id == word[i]) {
      sum += tokens[i].logprob.value_or(0);
      continue;
    }
    const auto found = std::ranges::find_if(
        tokens[i].top_logprobs, [&](const TokenLogprob& other) { return other.id == word[i]; });
    if (found == tokens[i].top_logprobs.end()) return -std::numeric_limits<double>::infinity();
    return sum + found->logprob;
  }
  return sum;
}

class Moderations : public AnswerWriter {
 public:
  Moderations(const ApiConfig& config, AnswerHead head, size_t num_texts)
      : config_(config), head_(std::move(head)), answers_(num_texts) {}

  void Begin(HttpReply&) override {}

  void Event(size_t index, RequestEvent event, HttpReply&) override {
    Answer& answer = answers_[index];
    answer.text += event.text;
    answer.tokens.insert(answer.tokens.end(), event.tokens.begin(), event.tokens.end());
    if (event.end) usage_.Add(event.end->usage, true);
  }

  void End(HttpReply& reply) override {
    OrderedJson results = OrderedJson::array();
    for (const Answer& answer : answers_) results.push_back(Result(answer));
    const OrderedJson body = {{"id", head_.id},
                              {"model", head_.model},
                              {"results", std::move(results)},
                              {"usage", usage_.Json()}};
    reply.Respond({.body = Dump(body)});
  }

  void Fail(const ApiError& error, HttpReply& reply) override { reply.Respond(error.Response()); }

 private:
  struct Answer {
    std::string text;
    std::vector<OutputToken> tokens;
  };

  OrderedJson Result(const Answer& answer) const {
    const std::vector<double> scores = ModerationScores(*config_.tokenizer, answer.tokens);
    OrderedJson categories = OrderedJson::object();
    OrderedJson category_scores = OrderedJson::object();
    bool flagged = false;
    for (size_t i = 0; i < std::size(kCategories); ++i) {
      std::string name = kCategories[i].word;
      std::ranges::replace(name, ' ', '_');
      const bool chosen = answer.text == kCategories[i].word;
      flagged = flagged || chosen;
      categories[name] = chosen;
      category_scores[name] = scores[i];
    }
    return {{"flagged", flagged},
            {"categories", std::move(categories)},
            {"category_scores", std::move(category_scores)}};
  }

  const ApiConfig& config_;
  const AnswerHead head_;
  std::vector<Answer> answers_;
  UsageSum usage_;
};

}  // namespace

const std::vector<std::string>& ModerationWords() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> all;
    for (const Category& category : kCategories) all.emplace_back(category.word);
    all.emplace_back(kSafe);
    return all;
  }();
  return words;
}

std::vector<std::string> ParseModerationRequest(const OrderedJson& body, const ApiConfig& config) {
  Fields fields(body);
  const std::optional<std::string> model = fields.String("model");  // one dialect leaves it out
  if (model) config.CheckModel(*model);
  if (!config.chat_version) {
    throw ApiError(400,
                   "this is a base model, which has no opinion on texts: use an instruct model",
                   "model", "moderation_not_supported");
  }
  const OrderedJson& input = fields.Required("input");
  if (input.is_string()) return {input.get<std::string>()};
  if (!input.is_array() || input.empty() || input.size() > kMaxTexts) {
    fields.Fail(
        "input",
        fmt::format("is {} but must be a text or a list of 1 to {}", Shown(input), kMaxTexts),
        "string_type");
  }
  std::vector<std::string> texts;
  for (const OrderedJson& text : input) {
    if (!text.is_string()) {
      throw InvalidField(fmt::format("input.{}", texts.size()),
                         "is " + Shown(text) + " but must be a string", "string_type");
    }
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::vector<int32_t> ModerationPrompt(const std::string& text, const ApiConfig& config) {
  const Message message{.role = Role::kUser, .content = Question(text)};
  const std::vector<int32_t> ids =
      EncodeChat(*config.tokenizer, *config.chat_version, {&message, 1});
  CheckPromptFits(ids.size(), config.context_length, "input");
  return ids;
}

std::vector<double> ModerationScores(const Tokenizer& tokenizer,
                                     std::span<const OutputToken> tokens) {
  std::vector<double> scores;
  double sum = 0;
  for (const std::string& word : ModerationWords()) {
    scores.push_back(std::exp(WordLogprob(tokenizer.Encode(word), tokens)));
    sum += scores.back();
  }
  for (double& score : scores) score = sum > 0 ? score / sum : 0;
  return scores;
}

std::unique_ptr<AnswerWriter> MakeModerations(const ApiConfig& config, AnswerHead head,
                                              size_t num_texts) {
  return std::make_unique<Moderations>(config, std::move(head), num_texts);
}

}  // namespace cadre
