#include "transfer/transfer_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/testing.h"
#include "model/testing.h"
#include "transfer/student_shape.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using ::testing::HasSubstr;

const Json kDistill = {{"teacher", "nano"}, {"data", {{"train", {"a.jsonl"}}}}};
const Json kUpcycle = {{"model", "dense"}, {"data", {{"train", {"a.jsonl"}}}}};

TEST(TransferConfig, HasDefaultsForWhatIsNotSaid) {
  const DistillConfig distill = ParseDistillConfig(kDistill, {}, "c.json");
  EXPECT_EQ(distill.loss.divergence, Divergence::kForwardKl);
  EXPECT_EQ(distill.loss.weight, 0.5);
  EXPECT_EQ(distill.init, StudentInit::kMerged);
  EXPECT_EQ(distill.merge, MergeWeights::kFrequency);
  EXPECT_EQ(distill.baseline, DistillBaseline::kNone);
  const UpcycleConfig upcycle = ParseUpcycleConfig(kUpcycle, {"upcycle.noise=0.1"}, "c.json");
  EXPECT_EQ(upcycle.router.num_experts, 8);
  EXPECT_EQ(upcycle.router.top_k, 2);
  EXPECT_EQ(upcycle.variation.noise, 0.1);
  EXPECT_EQ(upcycle.optimiser.balance_coefficient, 0.02);
  EXPECT_FALSE(upcycle.baseline);
}

TEST(TransferConfig, NamesTheKeyOfWhatIsWrong) {
  const auto distill = [](const std::vector<std::string>& settings) {
    return ErrorOf([&] { ParseDistillConfig(kDistill, settings, "c.json"); });
  };
  const auto upcycle = [](const std::vector<std::string>& settings) {
    return ErrorOf([&] { ParseUpcycleConfig(kUpcycle, settings, "c.json"); });
  };
  EXPECT_THAT(distill({"teacher="}), HasSubstr("teacher names no model"));
  EXPECT_THAT(distill({"distill.loss=l2"}), HasSubstr("must be \"forward_kl\" or \"reverse_kl\""));
  EXPECT_THAT(distill({"distill.weight=1.5"}),
              HasSubstr("distill.weight: is 1.5 but must be from"));
  EXPECT_THAT(distill({"distill.temperature=0"}), HasSubstr("distill.temperature"));
  EXPECT_THAT(distill({"student.init=model"}), HasSubstr("student.model names none"));
  EXPECT_THAT(distill({"student.model=m"}), HasSubstr("student.init is not model"));
  EXPECT_THAT(distill({"baseline=random"}), HasSubstr("baseline needs data.valid"));
  EXPECT_THAT(distill({"data.held_back=0.1"}), HasSubstr("is for data.format chat"));
  EXPECT_EQ(distill({"data.format=chat", "data.held_back=0.1", "baseline=same"}), "");
  EXPECT_THAT(distill({"data.train=[]"}), HasSubstr("data.train names no file"));
  EXPECT_THAT(distill({"data.train=[]", "train.steps=0"}), HasSubstr("student.merge=equal"));
  EXPECT_THAT(distill({"data.valid={\"a\":[]}"}), HasSubstr("group 'a' of data.valid"));
  EXPECT_THAT(distill({"upcycle.noise=1"}),
              HasSubstr("unknown key 'upcycle.noise' (cadre distill --help lists all)"));
  EXPECT_THAT(upcycle({"model="}), HasSubstr("model names no model"));
  EXPECT_THAT(upcycle({"upcycle.experts=1"}), HasSubstr("upcycle.experts"));
  EXPECT_THAT(upcycle({"upcycle.experts_per_token=9"}), HasSubstr("must not be above"));
  EXPECT_THAT(upcycle({"upcycle.experts_per_token=1"}),
              HasSubstr("router.norm_topk_prob must be false"));
  EXPECT_EQ(upcycle({"upcycle.experts_per_token=1", "router.norm_topk_prob=false"}), "");
  EXPECT_EQ(upcycle({"data.train=[]", "train.steps=0"}), "");
}

TEST(TransferConfig, AStudentTakesWhatItsBeginningAllows) {
  ModelConfig teacher = model_testing::TinyConfig();
  teacher.sliding_window = 32;
  const auto shape = [&](const std::vector<std::string>& settings) {
    return StudentShape(ParseDistillConfig(kDistill, settings, "c.json"), teacher);
  };
  const ModelConfig merged = shape({});
  EXPECT_TRUE(merged.router.dense());
  EXPECT_EQ(merged.hidden_dim, teacher.hidden_dim);
  EXPECT_EQ(merged.architecture, "mistral");  // it has a window
  EXPECT_EQ(shape({"student.init=copied"}).hidden_dim, 2 * teacher.hidden_dim);
  EXPECT_EQ(shape({"student.init=copied", "student.hidden_dim=7"}).hidden_dim, 7);
  const ModelConfig random =
      shape({"student.init=random", "student.dim=32", "student.layers=1", "student.heads=4"});
  EXPECT_EQ(random.dim, 32);
  EXPECT_EQ(random.num_layers, 1);
  EXPECT_EQ(random.head_dim, 8);
  EXPECT_EQ(random.vocab_size, teacher.vocab_size);
  EXPECT_THAT(ErrorOf([&] { shape({"student.dim=32"}); }),
              HasSubstr("are for student.init random"));
  EXPECT_THAT(ErrorOf([&] { shape({"student.hidden_dim=5"}); }), HasSubstr("the teacher's width"));
  EXPECT_THAT(ErrorOf([&] {
                shape({"student.init=random", "student.heads=3"});
              }),
              HasSubstr("student: "));
}

TEST(TransferConfig, DocumentsEveryKey) {
  for (const auto& keys : {DistillConfigKeys(), UpcycleConfigKeys()}) {
    for (const auto& [key, text] : keys) EXPECT_FALSE(text.empty()) << key;
  }
}

}  // namespace
}  // namespace cadre
