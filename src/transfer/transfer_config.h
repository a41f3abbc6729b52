// What `cadre distill` and `cadre upcycle` are told. Keys, settings and refusals as in
// train/config_keys.h.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "train/run_config.h"
#include "transfer/divergence.h"
#include "transfer/reshape.h"

namespace cadre {

// Text or conversations, and steps of them.
struct TextConfig : RunConfig {
  std::string data_folder;
  bool chat = false;            // conversations, of which only answers are learnt
  double held_back = 0;         // share of the prompts that is measured; of conversations
  bool skip_bad_lines = false;  // of conversations
  std::vector<std::string> train_files;
  std::map<std::string, std::vector<std::string>> valid_files;  // by group
  int64_t batch_tokens = 4096;
  int64_t segment_tokens = 512;
  int64_t micro_tokens = 4096;      // rows that run at once, unless one sequence is longer
  int64_t validate_tokens = 16384;  // per group; 0: all
};

// What a student begins as.
enum class StudentInit {
  kMerged,  // the teacher, each layer's FFN the mean of its experts
  kCopied,  // the teacher, each layer's FFN drawn at random
  kRandom,  // drawn at random
  kModel,   // another model
};

// How experts count in a merged student's FFN.
enum class MergeWeights {
  kEqual,
  kFrequency,  // as often as the teacher's router chooses them on data.train
};

// A model trained on the same tokens without the teacher, to say what the teacher was worth.
enum class DistillBaseline {
  kNone,
  kSame,    // that begins as the student does
  kRandom,  // that is drawn at random
};

struct DistillConfig : TextConfig {
  std::string teacher;             // a path
  bool round_activations = false;  // of the teacher: as its types like them best
  DistillLoss loss;
  StudentInit init = StudentInit::kMerged;
  std::string student_model;  // a path; with kModel
  MergeWeights merge = MergeWeights::kFrequency;
  int64_t merge_tokens = 16384;
  // 0: the teacher's; hidden_dim: as many as its token meets.
  struct Shape {
    int64_t dim = 0, hidden_dim = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
  } shape;
  double init_sigma = 0.02;
  DistillBaseline baseline = DistillBaseline::kNone;
};

struct UpcycleConfig : TextConfig {
  std::string model;  // a path; dense
  RouterConfig router;
  ExpertVariation variation;
  bool baseline = false;  // the dense model is trained on the same tokens too
};

DistillConfig ParseDistillConfig(const Json& json, const std::vector<std::string>& settings,
                                 const std::string& name);
UpcycleConfig ParseUpcycleConfig(const Json& json, const std::vector<std::string>& settings,
                                 const std::string& name);

// Key and what it means with its default, in order.
std::vector<std::pair<std::string, std::string>> DistillConfigKeys();
std::vector<std::pair<std::string, std::string>> UpcycleConfigKeys();

}  // namespace cadre
