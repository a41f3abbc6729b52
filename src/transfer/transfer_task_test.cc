#include "transfer/transfer_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/json.h"
#include "base/testing.h"
#include "engine/save_text.h"
#include "engine/test_model.h"
#include "train/testing.h"
#include "transfer/text_data.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using base_testing::TempFolder;
using ::testing::HasSubstr;
using train_testing::TinyRun;

ModelConfig TinyDense() {
  ModelConfig config = model_testing::TinyConfig();
  config.router = {};
  return config;
}

// Random tokens; of what is held back the first two of five batches are the beginning.
class RandomData : public StepData {
 public:
  void FillBatches(int64_t step, std::vector<TrainingBatch>& batches) override {
    batches.assign(1, train_testing::RandomBatch(TinyDense(), static_cast<uint64_t>(step % 3)));
  }
  void AddMetrics(const StepResult& result, OrderedJson& line) const override {
    line["tokens"] = result.rows;
  }
  std::vector<std::string> Groups() const override { return {"a", "b"}; }
  void ForEachHeldBack(size_t group, bool all,
                       const std::function<void(const TrainingBatch&, bool)>& take) const override {
    for (uint64_t i = 0; i < (all ? 5 : 2); ++i)
      take(train_testing::RandomBatch(TinyDense(), 100 * (group + 1) + i), i < 2);
  }
};

TEST(GainRetained, IsTheShareOfTheTeachersGain) {
  EXPECT_DOUBLE_EQ(*GainRetained(4, 3.5, 2), 0.25);
  EXPECT_DOUBLE_EQ(*GainRetained(4, 2, 2), 1);
  EXPECT_DOUBLE_EQ(*GainRetained(4, 4.5, 2), -0.25);
  EXPECT_FALSE(GainRetained(2, 1, 2));
  EXPECT_FALSE(GainRetained(NAN, 1, 2));
}

TEST(Measure, FindsTheLossesThatTrainingFinds) {
  TinyRun run({}, TinyDense());
  RandomData data;
  ModelScorer scorer(run.trainer.model(), *run.device);
  const auto measured = Measure(scorer, nullptr, data, true, run.device->threads());
  ASSERT_EQ(measured.groups.size(), 2u);
  double nats = 0;
  data.ForEachHeldBack(
      0, true, [&](const TrainingBatch& batch, bool) { nats += run.trainer.Evaluate(batch); });
  EXPECT_EQ(measured.groups[0].second.tokens, 5 * 16);
  EXPECT_NEAR(measured.groups[0].second.loss, nats / (5 * 16), 1e-6);
}

TEST(Measure, ComparesValidationsByTheSameBeginning) {
  TinyRun run({}, TinyDense());
  RandomData data;
  ModelScorer scorer(run.trainer.model(), *run.device);
  const auto all = Measure(scorer, nullptr, data, true, run.device->threads());
  const auto beginning = Measure(scorer, nullptr, data, false, run.device->threads());
  EXPECT_EQ(all.Score(), beginning.Score());
  EXPECT_NE(all.Total().loss, beginning.Total().loss);
  EXPECT_EQ(all.Total().tokens, 2 * 5 * 16);
}

TEST(Measure, AModelBesideItselfIsItsOwnTeacher) {
  TinyRun run;
  RandomData data;
  ModelScorer model(run.trainer.model(), *run.device), teacher(run.trainer.model(), *run.device);
  const Measured total = Measure(model, &teacher, data, true, run.device->threads()).Total();
  EXPECT_NEAR(total.kl, 0, 1e-7);
  EXPECT_EQ(total.top1_agreement, 1);
  EXPECT_NEAR(total.loss, total.teacher_loss, 1e-6);
}

TEST(ModelScorer, RunsARouterWithoutCapacityOrNoise) {
  ModelConfig config = model_testing::TinyConfig();
  config.router.capacity_factor = 0.3;
  config.router.jitter = 0.5f;
  TinyRun run({}, config);
  ModelScorer scorer(run.trainer.model(), *run.device);
  const TrainingBatch batch = train_testing::RandomBatch(config, 4);
  const auto logits = scorer.Logits(batch);
  const auto losses = run.trainer.TokenLosses(batch);
  for (int64_t t = 0; t < logits.rows; ++t) {
    const auto row = logits.row_span(t);
    double sum = 0;
    for (const float logit : row) sum += std::exp(static_cast<double>(logit));
    const auto target = static_cast<size_t>(batch.targets[static_cast<size_t>(t)]);
    EXPECT_NEAR(std::log(sum) - static_cast<double>(row[target]), losses[static_cast<size_t>(t)],
                1e-4);
  }
}

TEST(TransferTask, TellsWhatIsRetainedInEveryValidation) {
  TinyRun teacher, student({}, TinyDense()), baseline({}, TinyDense());
  RandomData data;
  ModelScorer taught(teacher.trainer.model(), *teacher.device);
  ModelScorer base(baseline.trainer.model(), *baseline.device);
  TransferTask task(data, *student.device, {}, taught, &base);
  const auto validation = task.Validate(student.trainer, false);
  ASSERT_TRUE(validation);
  const auto& figures = validation->figures;
  EXPECT_EQ(figures["mean_loss"], validation->score);
  EXPECT_GT(figures["a"]["kl"].get<double>(), 0);
  // The student is the baseline still: nothing is retained, or there was nothing to.
  if (!figures["gain_retained"].is_null()) {
    EXPECT_NEAR(figures["gain_retained"].get<double>(), 0, 1e-6);
  }
  EXPECT_EQ(task.Validate(student.trainer, true)->figures["a"]["tokens"], 5 * 16);
  OrderedJson line;
  std::vector<TrainingBatch> batches;
  task.FillBatches(0, batches);
  task.AddMetrics(student.trainer.Step(batches, 1e-3, task.objective()), line);
  for (const char* key : {"tokens", "cross_entropy", "divergence", "top1_agreement"})
    EXPECT_TRUE(line.contains(key)) << key;
}

TEST(TransferTask, WithoutATeacherLearnsWhatComesNext) {
  TinyRun run({}, TinyDense());
  RandomData data;
  TransferTask task(data, *run.device);
  std::vector<TrainingBatch> batches;
  task.FillBatches(0, batches);
  OrderedJson line;
  const StepResult result = run.trainer.Step(batches, 1e-3, task.objective());
  task.AddMetrics(result, line);
  EXPECT_EQ(line["cross_entropy"], result.objective);
  EXPECT_FALSE(line.contains("divergence"));
  EXPECT_FALSE(task.Validate(run.trainer, false)->figures["a"].contains("kl"));
}

TEST(TextData, GivesTheSameStepsWhateverRunsAtOnce) {
  const TempFolder folder;
  std::ofstream(folder / "a.txt") << std::string(300, 'q') + " and so on " + std::string(90, 'z');
  TextConfig config;
  config.data_folder = folder.path();
  config.train_files = {"a.txt"};
  config.valid_files = {{"v", {"a.txt"}}};
  config.batch_tokens = 64;
  config.segment_tokens = 16;
  config.validate_tokens = 40;
  ThreadPool threads(2);
  const Tokenizer tokenizer(testing_model::SmallVocabulary(), "small");
  config.micro_tokens = 1000;
  TextConfig divided = config;
  divided.micro_tokens = 20;
  TextData whole(config, tokenizer, threads), parts(divided, tokenizer, threads);
  std::vector<TrainingBatch> one, several;
  for (const int64_t step : {0, 7, 3}) {
    whole.FillBatches(step, one);
    parts.FillBatches(step, several);
    ASSERT_EQ(one.size(), 1u);
    EXPECT_GT(several.size(), 1u);
    std::vector<int32_t> ids;
    for (const auto& part : several) ids.insert(ids.end(), part.ids.begin(), part.ids.end());
    EXPECT_EQ(ids, one[0].ids) << step;
    EXPECT_EQ(std::ssize(ids), 64);
  }
  int64_t beginning = 0, all = 0;
  parts.ForEachHeldBack(0, true, [&](const TrainingBatch& batch, bool is_beginning) {
    (is_beginning ? beginning : all) += batch.CountTargets();
  });
  EXPECT_GE(beginning, 40);
  EXPECT_LT(beginning, 60);
  EXPECT_GT(all, 100);
}

// A small model with a vocabulary whose piece `id` is called `name`.
std::string Saved(const std::string& path, int32_t id, const std::string& name) {
  Vocabulary vocabulary = testing_model::SmallVocabulary();
  vocabulary.pieces[static_cast<size_t>(id)].text = name;
  const auto small = testing_model::MakeModel(testing_model::SmallConfig(0, vocabulary.size()));
  model_testing::SaveArenaAsGguf(
      small.config, small.arena, DType::kF32, path,
      [&](GgufWriter& writer) { SetTextMetadata(vocabulary, "", writer); });
  return path;
}

TEST(RequireSameVocabulary, NamesTheFirstTokenThatDiffers) {
  const TempFolder folder;
  const std::string last = testing_model::SmallVocabulary().pieces[280].text;
  const TextModel teacher(Saved(folder / "teacher.gguf", 280, last), false);
  const TextModel same(Saved(folder / "same.gguf", 280, last), false);
  const TextModel other(Saved(folder / "other.gguf", 280, "other"), false);
  EXPECT_EQ(ErrorOf([&] { RequireSameVocabulary(same, teacher); }), "");
  const std::string error = ErrorOf([&] { RequireSameVocabulary(other, teacher); });
  EXPECT_THAT(error, HasSubstr("token 280 is 'other' but must be the"));
  EXPECT_THAT(error, HasSubstr("other.gguf"));
  EXPECT_THAT(error, HasSubstr("teacher.gguf"));
}

}  // namespace
}  // namespace cadre
