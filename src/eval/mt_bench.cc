#include "eval/mt_bench.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/clock.h"
#include "base/error.h"

namespace cadre {
namespace {

using Figure = EvaluationResult::Figure;

// Questions whose turns are answered side by side; what is in the making when a run is stopped is
// lost.
constexpr size_t kTogether = 16;
constexpr size_t kMaxTurns = 2;

struct Turn {
  std::vector<int32_t> prompt_ids;
  GeneratedText answer;
};

struct Dialogue {
  std::vector<Turn> turns;
  // [judged turns] none: the judge gave no rating
  std::vector<std::optional<double>> ratings;
  std::vector<std::string> judgments;
};

// Without ratings there is no score.
Figure FigureOf(std::string name, const RunningMean& ratings) {
  const MeanAndError none = {NAN, NAN};
  return {std::move(name), ratings.count() > 0 ? ratings.result() : none, false, ratings.count()};
}

class MtBench {
 public:
  MtBench(const std::vector<MtBenchQuestion>& questions, const Tokenizer& tokenizer,
          ChatVersion version, TextGenerator& generator, const MtBenchOptions& options)
      : questions_(questions),
        tokenizer_(tokenizer),
        version_(version),
        generator_(generator),
        options_(options) {}

  EvaluationResult Run() {
    KeepRecord();
    const Stopwatch watch;
    result_.is_whole = true;
    while (done_.size() < questions_.size() && result_.is_whole) {
      const size_t begin = done_.size();
      const size_t end = std::min(begin + kTogether, questions_.size());
      block_.assign(end - begin, {});
      result_.is_whole = Answer(begin, end, 0) && Answer(begin, end, 1) && Judge(begin, end);
    }
    result_.seconds = watch.Seconds();
    Summarise();
    return std::move(result_);
  }

 private:
  // Turn `turn` of the questions that have it.
  bool Answer(size_t begin, size_t end, size_t turn) {
    std::vector<size_t> asked;
    for (size_t i = begin; i < end; ++i) {
      if (questions_[i].turns.size() > turn) asked.push_back(i);
    }
    const auto prompt = [&](size_t a) { return Ask(asked[a], begin, turn); };
    const auto take = [&](size_t a, std::vector<GeneratedText> texts) {
      block_[asked[a] - begin].turns[turn].answer = std::move(texts.front());
    };
    return generator_.Run(0, asked.size(), prompt, take, options_.cancelled);
  }

  GenerationPrompt Ask(size_t index, size_t begin, size_t turn) {
    const MtBenchQuestion& question = questions_[index];
    auto& turns = block_[index - begin].turns;
    std::vector<Message> messages;
    for (size_t t = 0; t <= turn; ++t) {
      messages.push_back({.role = Role::kUser, .content = question.turns[t]});
      if (t < turn) messages.push_back({.role = Role::kAssistant, .content = turns[t].answer.text});
    }
    turns.push_back({.prompt_ids = EncodeChat(tokenizer_, version_, messages), .answer = {}});
    const auto& ids = turns.back().prompt_ids;
    const int64_t room = generator_.context_length() - std::ssize(ids);
    if (room < 1) {
      throw Error("question {}: turn {} begins with {} tokens but the context has {}", question.id,
                  turn + 1, ids.size(), generator_.context_length());
    }
    return {.ids = ids,
            .stops = {},
            .max_tokens = std::min(options_.max_tokens, room),
            .temperature = options_.temperature.value_or(MtBenchTemperature(question.category)),
            .seed = PromptSeed(options_.seed, kMaxTurns * index + turn),
            .leading_space = LeadingSpace::kStrip};
  }

  bool Judge(size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (options_.cancelled != nullptr && *options_.cancelled) return false;
      Dialogue& dialogue = block_[i - begin];
      if (options_.judge) JudgeTurns(questions_[i], dialogue);
      if (options_.record != nullptr) options_.record->Append({Line(i, dialogue)});
      done_.push_back(std::move(dialogue.ratings));
      if (options_.on_progress) options_.on_progress(std::ssize(done_), std::ssize(questions_));
    }
    return true;
  }

  void JudgeTurns(const MtBenchQuestion& question, Dialogue& dialogue) {
    std::vector<std::string> answers;
    for (const Turn& turn : dialogue.turns) {
      answers.push_back(turn.answer.text);
      dialogue.judgments.push_back(
          options_.judge(MakeJudgePrompt(question.turns, answers, question.references)));
      dialogue.ratings.push_back(ParseRating(dialogue.judgments.back()));
    }
  }

  OrderedJson Line(size_t index, const Dialogue& dialogue) const {
    const MtBenchQuestion& question = questions_[index];
    OrderedJson turns = OrderedJson::array(), judgments = OrderedJson::array();
    for (const Turn& turn : dialogue.turns) {
      turns.push_back({{"prompt_ids", turn.prompt_ids},
                       {"ids", turn.answer.ids},
                       {"text", turn.answer.text},
                       {"finish", Name(turn.answer.reason)}});
    }
    for (size_t t = 0; t < dialogue.ratings.size(); ++t) {
      const auto& rating = dialogue.ratings[t];
      judgments.push_back({{"turn", t + 1},
                           {"rating", rating ? OrderedJson(*rating) : OrderedJson()},
                           {"text", dialogue.judgments[t]}});
    }
    return {{"task", "mt_bench"},        {"index", index},
            {"id", question.id},         {"group", question.category},
            {"turns", std::move(turns)}, {"judgments", std::move(judgments)}};
  }

  void KeepRecord() {
    if (options_.record == nullptr) return;
    const auto& kept = options_.record->kept();
    const std::string& path = options_.record->path();
    if (kept.size() > questions_.size())
      throw Error("{}: has {} items but there are {}", path, kept.size(), questions_.size());
    for (size_t i = 0; i < kept.size(); ++i) {
      const std::string name = fmt::format("{}:{}", path, i + 2);
      const Fields line(kept[i], name);
      if (line.Text("id") != questions_[i].id) line.Fail("id", questions_[i].id.c_str());
      done_.emplace_back();
      for (const auto& judgment : line.Value("judgments")) {
        const Fields fields(judgment, name);
        done_.back().push_back(fields.Has("rating")
                                   ? std::optional(JsonNumber(judgment, "rating", 0, name))
                                   : std::nullopt);
      }
    }
    result_.items_kept = std::ssize(done_);
    if (!kept.empty()) CheckSameModel(kept.size() - 1, kept.back(), path);
  }

  // Another model, or other settings, would answer the last question otherwise.
  void CheckSameModel(size_t last, const Json& line, const std::string& path) {
    block_.assign(1, {});
    if (!Answer(last, last + 1, 0)) return;
    const std::string name = fmt::format("{}:{}", path, last + 2);
    const Json& turns = Fields(line, name).Value("turns");
    if (turns.is_array() && !turns.empty() &&
        Fields(turns[0], name).Text("text") == block_[0].turns[0].answer.text)
      return;
    throw Error(
        "{}: its last item is now answered otherwise: it is of another model, device or "
        "setting",
        path);
  }

  void Summarise() {
    result_.items = std::ssize(done_);
    std::vector<size_t> all;
    std::map<std::string, std::vector<size_t>> groups;
    std::vector<std::string> order;
    for (size_t i = 0; i < done_.size(); ++i) {
      all.push_back(i);
      const std::string& category = questions_[i].category;
      if (!groups.contains(category)) order.push_back(category);
      groups[category].push_back(i);
    }
    result_.figures = FiguresOf(all);
    for (const auto& name : order)
      result_.groups.push_back({name, std::ssize(groups[name]), FiguresOf(groups[name])});
  }

  std::vector<Figure> FiguresOf(const std::vector<size_t>& items) const {
    RunningMean all, turns[kMaxTurns];
    for (const size_t i : items) {
      for (size_t t = 0; t < done_[i].size() && t < kMaxTurns; ++t) {
        if (!done_[i][t]) continue;
        all.Add(*done_[i][t]);
        turns[t].Add(*done_[i][t]);
      }
    }
    std::vector<Figure> figures = {FigureOf("score", all)};
    for (size_t t = 0; t < kMaxTurns; ++t)
      figures.push_back(FigureOf(fmt::format("score_turn_{}", t + 1), turns[t]));
    return figures;
  }

  const std::vector<MtBenchQuestion>& questions_;
  const Tokenizer& tokenizer_;
  const ChatVersion version_;
  TextGenerator& generator_;
  const MtBenchOptions& options_;
  std::vector<Dialogue> block_;                           // in the making
  std::vector<std::vector<std::optional<double>>> done_;  // [questions][turns] ratings
  EvaluationResult result_;
};

}  // namespace

double MtBenchTemperature(const std::string& category) {
  static const std::map<std::string, double> temperatures = {
      {"writing", 0.7}, {"roleplay", 0.7}, {"extraction", 0}, {"math", 0},
      {"coding", 0},    {"reasoning", 0},  {"stem", 0.1},     {"humanities", 0.1}};
  const auto found = temperatures.find(category);
  return found == temperatures.end() ? 0.7 : found->second;
}

EvaluationResult EvaluateMtBench(const std::vector<MtBenchQuestion>& questions,
                                 const Tokenizer& tokenizer, ChatVersion version,
                                 TextGenerator& generator, const MtBenchOptions& options) {
  return MtBench(questions, tokenizer, version, generator, options).Run();
}

}  // namespace cadre
