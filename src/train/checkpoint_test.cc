#include "train/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/testing.h"
#include "formats/safetensors.h"
#include "train/testing.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;
using base_testing::ErrorOf;
using base_testing::TempFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using train_testing::SameState;
using train_testing::TinyRun;

const std::string kFingerprint = R"({"seed":1,"train.lr":0.003})";

class Checkpoints : public ::testing::Test {
 protected:
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path_))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  std::string RestoreError(Trainer& trainer, const std::string& fingerprint = kFingerprint) const {
    return ErrorOf([&] { checkpoints_.Restore(trainer, fingerprint); });
  }

  TempFolder folder_;
  const std::string path_ = folder_ / "checkpoints";
  const TrainingCheckpoints checkpoints_{path_};
};

TEST_F(Checkpoints, GiveBackWeightsMomentsAndStep) {
  TinyRun run, other;
  run.Step();
  run.Step();
  checkpoints_.Save(run.trainer, kFingerprint);
  EXPECT_FALSE(SameState(run.trainer, other.trainer));
  EXPECT_TRUE(checkpoints_.Restore(other.trainer, kFingerprint));
  EXPECT_TRUE(SameState(run.trainer, other.trainer));
  EXPECT_EQ(other.trainer.step(), 2);
}

TEST_F(Checkpoints, RememberHowValidationsWent) {
  TinyRun run;
  checkpoints_.Save(run.trainer, kFingerprint,
                    {.best_score = 1.0 / 3, .best_step = 7, .worse_since = 2});
  RunProgress progress;
  ASSERT_TRUE(checkpoints_.Restore(run.trainer, kFingerprint, &progress));
  EXPECT_EQ(progress.best_score, 1.0 / 3);
  EXPECT_EQ(progress.best_step, 7);
  EXPECT_EQ(progress.worse_since, 2);
  checkpoints_.Save(run.trainer, kFingerprint);
  RunProgress none;
  ASSERT_TRUE(checkpoints_.Restore(run.trainer, kFingerprint, &none));
  EXPECT_EQ(none.best_step, 0);
}

TEST_F(Checkpoints, AreNoneBeforeTheFirst) {
  TinyRun run, untouched;
  EXPECT_FALSE(checkpoints_.Any());
  EXPECT_FALSE(checkpoints_.Restore(run.trainer, kFingerprint));
  EXPECT_TRUE(SameState(run.trainer, untouched.trainer));
  checkpoints_.Save(run.trainer, kFingerprint);
  EXPECT_TRUE(checkpoints_.Any());
}

TEST_F(Checkpoints, KeepTheNewestTwo) {
  TinyRun run;
  for (const int64_t step : {8, 9, 10, 100}) {
    run.trainer.set_step(step);
    checkpoints_.Save(run.trainer, kFingerprint);
  }
  EXPECT_THAT(Files(), ElementsAre("step-00000010.safetensors", "step-00000100.safetensors"));
  TinyRun other;
  checkpoints_.Restore(other.trainer, kFingerprint);
  EXPECT_EQ(other.trainer.step(), 100);
}

// Of WSD: a run of `steps` whose rate falls from step `stable` on.
Schedule Falling(int64_t stable, int64_t steps) {
  return {.warmup_steps = 0,
          .steps = steps,
          .kind = ScheduleKind::kWsd,
          .decay_steps = steps - stable,
          .decay = DecayShape::kLinear};
}

class Decays : public Checkpoints {
 protected:
  void SaveAll(const std::vector<int64_t>& steps, const Schedule& schedule) const {
    TinyRun run;
    for (const int64_t step : steps) {
      run.trainer.set_step(step);
      TrainingCheckpoints(path_, schedule)
          .Save(run.trainer, kFingerprint, {.best_score = 1, .best_step = 3});
    }
  }
  int64_t Restored(const Schedule& schedule, RunProgress* progress = nullptr) const {
    TinyRun run;
    TrainingCheckpoints(path_, schedule).Restore(run.trainer, kFingerprint, progress);
    return run.trainer.step();
  }
};

TEST_F(Decays, KeepTheEndOfTheStablePhase) {
  SaveAll({40, 60, 80, 90, 95, 100}, Falling(80, 100));
  EXPECT_THAT(Files(), ElementsAre("step-00000080.safetensors", "step-00000095.safetensors",
                                   "step-00000100.safetensors"));
}

TEST_F(Decays, GoOnWithoutAChange) {
  SaveAll({80, 90}, Falling(80, 100));
  RunProgress progress;
  EXPECT_EQ(Restored(Falling(80, 100), &progress), 90);
  EXPECT_EQ(progress.best_step, 3);
}

TEST_F(Decays, GoBackToWhereAnotherDecayIsTheSame) {
  SaveAll({80, 90, 100}, Falling(80, 100));
  RunProgress progress;
  EXPECT_EQ(Restored(Falling(150, 200), &progress), 80);
  EXPECT_EQ(progress.best_step, 0);  // of weights that are no more
  EXPECT_THAT(Files(), ElementsAre("step-00000080.safetensors"));
  EXPECT_EQ(Restored(Falling(150, 200)), 80);
}

TEST_F(Decays, GoOnFromTheStablePhaseWithAnyDecayToCome) {
  SaveAll({40, 60}, Falling(80, 100));
  RunProgress progress;
  EXPECT_EQ(Restored(Falling(60, 65), &progress), 60);
  EXPECT_EQ(progress.best_step, 3);
  EXPECT_EQ(Restored(Falling(50, 65)), 40);
}

TEST_F(Decays, RefuseADecayThatShouldHaveBegun) {
  SaveAll({60, 70}, Falling(80, 100));
  TinyRun run;
  EXPECT_THAT(ErrorOf([&] {
                TrainingCheckpoints(path_, Falling(50, 80)).Restore(run.trainer, kFingerprint);
              }),
              AllOf(HasSubstr("beyond step 50"), HasSubstr("train.decay_steps")));
  EXPECT_EQ(Files().size(), 2u);
}

TEST_F(Checkpoints, RemoveWhatKilledRunsLeft) {
  TinyRun run;
  fs::create_directories(path_);
  WriteFileAtomically(path_ + "/step-00000005.safetensors.tmp-4711", "half a file");
  EXPECT_FALSE(checkpoints_.Any());  // an unfinished file is none
  checkpoints_.Save(run.trainer, kFingerprint);
  EXPECT_THAT(Files(), ElementsAre("step-00000000.safetensors"));
}

TEST_F(Checkpoints, NameTheSettingThatDiffers) {
  TinyRun run;
  checkpoints_.Save(run.trainer, kFingerprint);
  EXPECT_THAT(RestoreError(run.trainer, R"({"seed":1,"train.lr":0.5})"),
              HasSubstr("was made with another train.lr"));
  EXPECT_THAT(RestoreError(run.trainer, R"({"seed":1})"), HasSubstr("another train.lr"));
  EXPECT_THAT(RestoreError(run.trainer, R"({"model.dim":8,"seed":1,"train.lr":0.003})"),
              HasSubstr("another model.dim"));
  EXPECT_THAT(RestoreError(run.trainer, "nonsense"),
              HasSubstr("step-00000000.safetensors: was made with another"));
}

TEST_F(Checkpoints, RefuseAnotherModel) {
  TinyRun run;
  checkpoints_.Save(run.trainer, kFingerprint);
  ModelConfig larger = run.config;
  larger.vocab_size += 16;
  TinyRun other({}, larger);
  EXPECT_THAT(RestoreError(other.trainer),
              AllOf(HasSubstr("step-00000000.safetensors"), HasSubstr("does not fit the model")));
}

TEST_F(Checkpoints, RefuseATruncatedFile) {
  TinyRun run;
  checkpoints_.Save(run.trainer, kFingerprint);
  const std::string path = path_ + "/step-00000000.safetensors";
  const std::string whole(MappedFile(path).text());
  for (const size_t size : {size_t{0}, size_t{5}, size_t{60}, whole.size() / 2, whole.size() - 1}) {
    WriteFileAtomically(path, whole.substr(0, size));
    EXPECT_THAT(RestoreError(run.trainer), HasSubstr("step-00000000.safetensors")) << size;
  }
}

TEST_F(Checkpoints, RefuseFilesThatAreNone) {
  TinyRun run;
  fs::create_directories(path_);
  SafetensorsWriter writer(path_ + "/step-00000001.safetensors");
  writer.Commit();
  EXPECT_THAT(RestoreError(run.trainer), HasSubstr("is not a training checkpoint"));
}

}  // namespace
}  // namespace cadre
