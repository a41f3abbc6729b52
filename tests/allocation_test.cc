// Contract 3 of ARCHITECTURE.md: Forward makes no heap allocation once it has seen the largest
// step, on each instruction set and for weights of each kind. (The reference device is for
// comparing, not for running: it may allocate.) Counts operator new and aligned_alloc, which is all
// that our containers and buffers use, in this program's every thread.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <numeric>

#include "model/forward.h"
#include "model/kv_cache.h"
#include "tests/devices.h"
#include "tests/random_model.h"

namespace {
std::atomic<int64_t> allocations{0};

void* Allocate(size_t size, size_t alignment) {
  ++allocations;
  void* memory = nullptr;
  if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), size == 0 ? 1 : size) != 0)
    return nullptr;
  return memory;
}

void* AllocateOrThrow(size_t size, size_t alignment) {
  void* memory = Allocate(size, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// Not inlined: g++ sees free() where it expects a delete that belongs to the new beside it.
[[gnu::noinline]] void Free(void* memory) { std::free(memory); }
}  // namespace

void* operator new(size_t size) { return AllocateOrThrow(size, alignof(std::max_align_t)); }
void* operator new(size_t size, std::align_val_t alignment) {
  return AllocateOrThrow(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size) { return AllocateOrThrow(size, alignof(std::max_align_t)); }
void* operator new[](size_t size, std::align_val_t alignment) {
  return AllocateOrThrow(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { Free(memory); }
void operator delete(void* memory, size_t) noexcept { Free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { Free(memory); }
void operator delete[](void* memory) noexcept { Free(memory); }
void operator delete[](void* memory, size_t) noexcept { Free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { Free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { Free(memory); }
// Buffer calls it; the program's own comes before the library's.
extern "C" void* aligned_alloc(size_t alignment, size_t size) noexcept {
  return Allocate(size, alignment);
}

namespace cadre {
namespace {

// A sequence whose steps allocate nothing but in Forward.
class QuietSequence {
 public:
  QuietSequence(const Model& model, Device& device, KvType kv_type, ActivationType activation)
      : model_(model),
        device_(device),
        experts_(model.weights),
        pool_(model.config.kv_shape(kv_type)),
        cache_(pool_),
        kv_type_(kv_type),
        activations_(model.config, Activations::Keep::kOneLayer),
        logits_(kMaxTokens * model.config.vocab_size) {
    options_.activation = activation;
    cache_.Reserve(2 * kKvBlock);
    view_ = cache_.view();
    for (auto* v : {&positions_, &wanted_}) v->resize(kMaxTokens);
    ids_.resize(kMaxTokens);
    sequence_of_row_.resize(kMaxTokens);
  }

  // Runs `count` new tokens and returns how many allocations that took.
  int64_t Step(int64_t count, bool all_wanted) {
    for (int64_t i = 0; i < count; ++i) {
      ids_[static_cast<size_t>(i)] =
          static_cast<int32_t>(random_.NextBelow(static_cast<uint64_t>(model_.config.vocab_size)));
      positions_[static_cast<size_t>(i)] = position_++;
    }
    const auto n = static_cast<size_t>(count);
    const int64_t first_wanted = all_wanted ? 0 : count - 1;
    std::iota(wanted_.begin(), wanted_.end(), first_wanted);
    const Batch batch{.ids = {ids_.data(), n},
                      .positions = {positions_.data(), n},
                      .sequence_of_row = {sequence_of_row_.data(), n},
                      .sequences = {&view_, 1},
                      .kv_type = kv_type_,
                      .wanted_rows = {wanted_.data(), static_cast<size_t>(count - first_wanted)},
                      .router_limits = {}};
    const int64_t before = allocations;
    Forward(model_, experts_, device_, batch, options_, activations_,
            logits_.AsMat(count - first_wanted, model_.config.vocab_size));
    return allocations - before;
  }

 private:
  static constexpr int64_t kMaxTokens = 20;
  const Model& model_;
  Device& device_;
  ResidentExperts experts_;
  KvPagePool pool_;
  KvCache cache_;
  KvSequence view_;
  KvType kv_type_;
  Activations activations_;
  Buffer<float> logits_;
  ForwardOptions options_;
  Random random_{3};
  int64_t position_ = kKvBlock - 45;  // what stands before is zeros
  std::vector<int32_t> ids_, sequence_of_row_;
  std::vector<int64_t> positions_, wanted_;
};

struct Setting {
  std::string device;
  DType weights;
  KvType kv;
};

class Allocation : public ::testing::TestWithParam<Setting> {};

TEST_P(Allocation, ForwardMakesNoneInSteadyState) {
  const Setting& setting = GetParam();
  ModelConfig config = SmallConfig();
  config.router = {.num_experts = 2, .top_k = 1};  // from step to step an expert has none or all
  const RandomModel model(config, setting.weights);
  ThreadPool threads(2);
  const auto device = MakeDevice(setting.device, threads);
  QuietSequence sequence(model.model(), *device, setting.kv, ActivationType::kRounded);
  EXPECT_GT(sequence.Step(20, true), 0)
      << "the largest step may; and if it did not, nothing would be counted";
  EXPECT_EQ(sequence.Step(20, true), 0)
      << "an equal step of other tokens, which choose other experts";
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(sequence.Step(20, false), 0) << "only the last row wanted, into the next page " << i;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(sequence.Step(1, false), 0) << "decoding, step " << i;
  EXPECT_EQ(sequence.Step(13, true), 0) << "a smaller step";
}

std::vector<Setting> Settings() {
  std::vector<Setting> settings;
  for (const auto& device : DeviceNames()) {
    if (device == "reference") continue;
    for (const DType type : {DType::kF32, DType::kBF16, DType::kF16, DType::kQ8_0, DType::kQ4_0,
                             DType::kQ4_K, DType::kQ6_K, DType::kQ2_K, DType::kIQ4_NL}) {
      settings.push_back({device, type, KvType::kF16});
    }
    for (const KvType kv : {KvType::kF32, KvType::kBF16, KvType::kQ8})
      settings.push_back({device, DType::kQ8_0, kv});
  }
  return settings;
}

std::string SettingName(const ::testing::TestParamInfo<Setting>& test) {
  const std::string kv_names[] = {"F32", "F16", "BF16", "Q8"};
  return fmt::format("{}_{}_kv{}", test.param.device, Info(test.param.weights).name,
                     kv_names[static_cast<int>(test.param.kv)]);
}

INSTANTIATE_TEST_SUITE_P(All, Allocation, ::testing::ValuesIn(Settings()), SettingName);

}  // namespace
}  // namespace cadre
