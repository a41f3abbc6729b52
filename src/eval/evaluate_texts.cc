#include "eval/evaluate_texts.h"

#include <cmath>
#include <map>

#include "base/clock.h"
#include "base/error.h"

namespace cadre {
namespace {

using Figure = EvaluationResult::Figure;

struct AnsweredItem {
  std::map<std::string, double> values;
  bool is_cut = false;
};

OrderedJson TextLine(const Task& task, size_t index, const EvalItem& item,
                     const PromptEncoder::Prompt& prompt, const std::vector<GeneratedText>& samples,
                     const TextScore& score) {
  OrderedJson line = {{"task", task.name}, {"index", index}};
  if (!item.id.empty()) line["id"] = item.id;
  if (!item.group.empty()) line["group"] = item.group;
  line["prompt_ids"] = prompt.ids;
  OrderedJson texts = OrderedJson::array();
  for (size_t i = 0; i < samples.size(); ++i) {
    texts.push_back({{"ids", samples[i].ids},
                     {"text", samples[i].text},
                     {"finish", Name(samples[i].reason)},
                     {"answer", score.answers[i]}});
    if (!score.results.empty()) texts.back()["result"] = score.results[i];
  }
  line["samples"] = std::move(texts);
  line["expected"] = item.answers;
  line["correct"] = score.values.front().value;
  OrderedJson values = OrderedJson::object();
  for (const auto& [name, value] : score.values)
    values[name] = std::isnan(value) ? OrderedJson() : OrderedJson(value);
  line["values"] = std::move(values);
  if (prompt.is_cut) line["cut"] = true;
  return line;
}

AnsweredItem ParseTextLine(const Json& line, size_t index, const std::string& name) {
  const Fields fields(line, name);
  if (fields.Number("index", 0, INT64_MAX) != static_cast<int64_t>(index))
    fields.Fail("index", fmt::format("{}", index).c_str());
  const Json& values = fields.Value("values");
  if (!values.is_object() || values.empty()) fields.Fail("values", "an object of numbers");
  AnsweredItem item{.values = {}, .is_cut = JsonBool(line, "cut", false, name)};
  for (const auto& [key, value] : values.items()) {
    if (!value.is_number() && !value.is_null()) fields.Fail("values", "an object of numbers");
    item.values[key] = value.is_null() ? NAN : value.get<double>();
  }
  return item;
}

std::vector<std::string> TextsOf(const std::vector<GeneratedText>& samples) {
  std::vector<std::string> texts;
  for (const auto& sample : samples) texts.push_back(sample.text);
  return texts;
}

class TextEvaluation {
 public:
  TextEvaluation(const Benchmark& benchmark, const PromptEncoder& encoder, TextGenerator& generator,
                 const TextsOptions& options)
      : task_(*benchmark.task),
        items_(*benchmark.items),
        shots_(*benchmark.shots),
        encoder_(encoder),
        generator_(generator),
        options_(options) {}

  EvaluationResult Run() {
    KeepRecord();
    const Stopwatch watch;
    result_.is_whole = generator_.Run(
        answered_.size(), items_.size(), [&](size_t i) { return Ask(i); },
        [&](size_t i, std::vector<GeneratedText> samples) { Take(i, samples); },
        options_.cancelled);
    result_.seconds = watch.Seconds();
    Summarise();
    return std::move(result_);
  }

 private:
  GenerationPrompt Ask(size_t i) {
    auto prompt = EncodePrompt(i);
    GenerationPrompt asked{.ids = prompt.ids,
                           .stops = task_.writing->stops,
                           .max_tokens = options_.max_tokens,
                           .samples = options_.samples,
                           .temperature = options_.temperature,
                           .top_p = options_.top_p,
                           .seed = PromptSeed(options_.seed, i)};
    prompts_[i] = std::move(prompt);
    return asked;
  }

  PromptEncoder::Prompt EncodePrompt(size_t i) const {
    try {
      return encoder_.EncodePrompt(shots_.Before(i) + items_[i].contexts.front(),
                                   options_.max_tokens);
    } catch (const Error& error) {
      throw Error("{}: item {}: {}", task_.name, i + 1, error.what());
    }
  }

  void Take(size_t i, const std::vector<GeneratedText>& samples) {
    const TextScore score = Score(i, samples);
    CADRE_CHECK(score.answers.size() == samples.size() && !score.values.empty());
    const auto prompt = prompts_.extract(i);
    if (options_.record != nullptr) {
      options_.record->Append({TextLine(task_, i, items_[i], prompt.mapped(), samples, score)});
    }
    AnsweredItem item{.values = {}, .is_cut = prompt.mapped().is_cut};
    for (const auto& [name, value] : score.values) item.values[name] = value;
    SetNames(score);
    answered_.push_back(std::move(item));
    if (options_.on_progress) options_.on_progress(std::ssize(answered_), std::ssize(items_));
  }

  TextScore Score(size_t i, const std::vector<GeneratedText>& samples) const {
    const auto texts = TextsOf(samples);
    return options_.score ? options_.score(items_[i], texts)
                          : task_.writing->score(items_[i], texts);
  }

  void SetNames(const TextScore& score) {
    if (!names_.empty()) return;
    for (const auto& value : score.values) names_.push_back(value.name);
  }

  void KeepRecord() {
    if (options_.record == nullptr || options_.record->kept().empty()) return;
    const auto& kept = options_.record->kept();
    const std::string& path = options_.record->path();
    if (kept.size() > items_.size())
      throw Error("{}: has {} items but there are {}", path, kept.size(), items_.size());
    for (size_t i = 0; i < kept.size(); ++i)
      answered_.push_back(ParseTextLine(kept[i], i, fmt::format("{}:{}", path, i + 2)));
    result_.items_kept = std::ssize(kept);
    CheckSameModel(kept.size() - 1, kept.back(), path);
  }

  // Another model, or other settings, would write otherwise.
  void CheckSameModel(size_t last, const Json& line, const std::string& path) {
    const auto take = [&](size_t, const std::vector<GeneratedText>& samples) {
      const std::string name = fmt::format("{}:{}", path, last + 2);
      const Json& before = Fields(line, name).Value("samples");
      bool is_same = before.is_array() && before.size() == samples.size();
      for (size_t i = 0; is_same && i < samples.size(); ++i) {
        const Fields sample(before[i], name);
        is_same = sample.Text("text") == samples[i].text && sample.Value("ids") == samples[i].ids;
      }
      if (!is_same) {
        throw Error(
            "{}: its last item is now answered otherwise: it is of another model, device "
            "or setting",
            path);
      }
      SetNames(Score(last, samples));
    };
    generator_.Run(
        last, last + 1, [&](size_t i) { return Ask(i); }, take, options_.cancelled);
    prompts_.clear();
  }

  void Summarise() {
    result_.items = std::ssize(answered_);
    for (const AnsweredItem& item : answered_) result_.items_cut += item.is_cut ? 1 : 0;
    std::vector<size_t> all(answered_.size());
    std::map<std::string, std::vector<size_t>> groups;
    std::vector<std::string> order;
    for (size_t i = 0; i < all.size(); ++i) {
      all[i] = i;
      if (items_[i].group.empty()) continue;
      if (!groups.contains(items_[i].group)) order.push_back(items_[i].group);
      groups[items_[i].group].push_back(i);
    }
    result_.figures = FiguresOf(all);
    for (const auto& name : order)
      result_.groups.push_back({name, std::ssize(groups[name]), FiguresOf(groups[name])});
  }

  std::vector<Figure> FiguresOf(const std::vector<size_t>& items) const {
    std::vector<Figure> figures;
    for (const auto& name : names_) {
      RunningMean mean;
      for (const size_t i : items) {
        const auto value = answered_[i].values.find(name);
        if (value == answered_[i].values.end())
          throw Error("{}: item {} has no value of {}", task_.name, i + 1, name);
        if (!std::isnan(value->second)) mean.Add(value->second);
      }
      figures.push_back({name, mean.result(), task_.writing->counts_in_shares, mean.count()});
    }
    return figures;
  }

  const Task& task_;
  const std::vector<EvalItem>& items_;
  const Shots& shots_;
  const PromptEncoder& encoder_;
  TextGenerator& generator_;
  const TextsOptions& options_;
  std::map<size_t, PromptEncoder::Prompt> prompts_;  // asked and not taken
  std::vector<AnsweredItem> answered_;               // the first items, in their order
  std::vector<std::string> names_;                   // of the values
  EvaluationResult result_;
};

}  // namespace

EvaluationResult EvaluateTexts(const Benchmark& benchmark, const PromptEncoder& encoder,
                               TextGenerator& generator, const TextsOptions& options) {
  CADRE_CHECK(benchmark.task->writing.has_value());
  return TextEvaluation(benchmark, encoder, generator, options).Run();
}

}  // namespace cadre
