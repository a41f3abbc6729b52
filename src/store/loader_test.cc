#include "store/loader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/testing.h"
#include "store/expert_slots.h"
#include "store/testing.h"

namespace cadre {
namespace {

using base_testing::ErrorOf;
using store_testing::Faults;
using store_testing::FaultyIo;
using store_testing::ModelFile;
using ::testing::HasSubstr;

constexpr int kDepth = 4;

class LoaderTest : public ::testing::Test {
 protected:
  LoaderTest() { Start(std::make_unique<FaultyIo>(faults_, kDepth)); }

  void Start(std::unique_ptr<DiskIo> io) {
    loader_.reset();
    loader_ = std::make_unique<Loader>(files_, std::move(io), *device_,
                                       LoaderOptions{.piece_bytes = kPieceBytes, .depth = kDepth});
  }
  const ExpertWeights& Expert(size_t i) { return file_.model().weights.layers[1].experts[i]; }

  // A load of that expert's three matrices into memory of the test's own.
  void Describe(size_t expert, Load& load, Buffer<std::byte>& memory) {
    const ExpertWeights& e = Expert(expert);
    memory.Resize(e.w1.bytes() + e.w2.bytes() + e.w3.bytes());
    std::byte* to = memory.data();
    for (const Weight* w : {&e.w1, &e.w2, &e.w3}) {
      load.matrices[static_cast<size_t>(load.num_matrices++)] = {
          .shape = *w, .from = *files_.Find(w->data), .to = to};
      to += w->bytes();
    }
  }
  bool Holds(size_t expert, const Buffer<std::byte>& memory) {
    const ExpertWeights& e = Expert(expert);
    const std::byte* at = memory.data();
    for (const Weight* w : {&e.w1, &e.w2, &e.w3}) {
      if (std::memcmp(at, w->data, static_cast<size_t>(w->bytes())) != 0) return false;
      at += w->bytes();
    }
    return true;
  }
  void ExpectLoads(size_t expert) {
    Load load;
    Buffer<std::byte> memory;
    Describe(expert, load, memory);
    loader_->Start(load, Urgency::kNeeded);
    loader_->Wait(load);
    EXPECT_TRUE(Holds(expert, memory));
  }
  std::string ErrorOfLoading() {
    Load load;
    Buffer<std::byte> memory;
    Describe(0, load, memory);
    return ErrorOf([&] {
      loader_->Start(load, Urgency::kNeeded);
      loader_->Wait(load);
    });
  }

  // Whether a read at this place of the file is one of the load's.
  static bool Belongs(uint64_t offset, const Load& load) {
    for (const auto& matrix : load.matrices) {
      const uint64_t begin = matrix.from.offset / 4096 * 4096;
      const auto bytes = static_cast<uint64_t>(matrix.shape.bytes());
      if (offset >= begin && offset < matrix.from.offset + bytes) return true;
    }
    return false;
  }

  static constexpr size_t kPieceBytes = 6 * 4096;  // 64 rows of 64 floats, 16 of 200

  ModelFile file_;
  WeightFiles files_{file_.loaded().checkpoint()};
  std::unique_ptr<Device> device_ = MakeReferenceDevice();
  Faults faults_;
  std::unique_ptr<Loader> loader_;
};

TEST_F(LoaderTest, BringsMatricesThatLieAnywhere) {
  for (size_t expert = 0; expert < 6; ++expert) ExpectLoads(expert);
  EXPECT_GT(faults_.reads, 6 * 3 * 2);  // each matrix in pieces
}

TEST_F(LoaderTest, BringsThemWithTheKernelsOwnQueueAndWithThreads) {
  if (auto uring = TryUringIo(kDepth)) {
    Start(std::move(uring));
    for (size_t expert = 0; expert < 6; ++expert) ExpectLoads(expert);
  }
  const auto denied = [](int) { return std::unique_ptr<DiskIo>(); };
  auto io = MakeDiskIo(kDepth, denied);
  EXPECT_STREQ(io->name(), "threads");
  Start(std::move(io));
  for (size_t expert = 0; expert < 6; ++expert) ExpectLoads(expert);
}

TEST_F(LoaderTest, GoesOnAfterShortReads) {
  for (const size_t longest : {size_t{8192}, size_t{5000}, size_t{4096}, size_t{1000}}) {
    faults_.longest = longest;
    ExpectLoads(2);
  }
}

TEST_F(LoaderTest, ReadsThroughThePageCacheWhereDirectReadsAreRefused) {
  faults_.error_of_direct = EINVAL;
  ExpectLoads(3);
  EXPECT_FALSE(files_.is_direct(0));
}

TEST_F(LoaderTest, AnErrorNamesTheFileAndTheByteAndIsNotForGood) {
  faults_.error = EIO;
  const std::string error = ErrorOfLoading();
  EXPECT_THAT(error, HasSubstr(file_.path() + ": cannot be read at byte "));
  EXPECT_THAT(error, HasSubstr("Input/output error"));
  faults_.error = 0;
  ExpectLoads(0);
}

TEST_F(LoaderTest, ReadsAgainWhenTheKernelSaysSo) {
  faults_.error = EAGAIN;
  Load load;
  Buffer<std::byte> memory;
  Describe(1, load, memory);
  loader_->Start(load, Urgency::kNeeded);
  faults_.WaitForReads(20);
  faults_.error = 0;
  loader_->Wait(load);
  EXPECT_TRUE(Holds(1, memory));
}

TEST_F(LoaderTest, AFileThatWasCutIsSaidToBe) {
  const auto whole = std::filesystem::file_size(file_.path());
  std::filesystem::resize_file(file_.path(), whole / 4);
  EXPECT_THAT(ErrorOfLoading(), HasSubstr(file_.path() + ": "));
}

TEST_F(LoaderTest, AFileThatWasChangedIsNotUsed) {
  {
    std::fstream file(file_.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('x');
  }
  // Whatever the file system's clock made of the time of writing.
  std::filesystem::last_write_time(
      file_.path(), std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
  EXPECT_THAT(ErrorOfLoading(), HasSubstr("was changed while the model was running"));
}

TEST_F(LoaderTest, WhatIsNeededGoesBeforeWhatIsGuessed) {
  Load guess, need;
  Buffer<std::byte> guess_memory, need_memory;
  Describe(4, guess, guess_memory);
  Describe(5, need, need_memory);
  faults_.Close();
  loader_->Start(guess, Urgency::kGuessed);
  faults_.WaitForReads(2);  // as many pieces as guesses may have under way
  loader_->Start(need, Urgency::kNeeded);
  faults_.Open();
  loader_->Wait(need);
  const auto offsets = faults_.Offsets();
  loader_->Wait(guess);
  EXPECT_TRUE(Holds(4, guess_memory));
  EXPECT_TRUE(Holds(5, need_memory));
  // The last pieces of what is needed leave room for guesses.
  size_t needed = 0;
  for (size_t i = 2; i < offsets.size() && Belongs(offsets[i], need); ++i) ++needed;
  EXPECT_GE(needed, 8u);  // of 12
}

TEST_F(LoaderTest, WhatIsReadForLaterGoesAfterGuesses) {
  Load first, guess, behind;
  Buffer<std::byte> first_memory, guess_memory, behind_memory;
  Describe(1, first, first_memory);
  Describe(3, guess, guess_memory);
  Describe(5, behind, behind_memory);
  faults_.Close();
  loader_->Start(first, Urgency::kGuessed);
  faults_.WaitForReads(2);
  loader_->Start(behind, Urgency::kBehind);
  loader_->Start(guess, Urgency::kGuessed);
  faults_.Open();
  for (Load* load : {&first, &guess, &behind}) loader_->Wait(*load);
  EXPECT_TRUE(Holds(3, guess_memory));
  EXPECT_TRUE(Holds(5, behind_memory));
  const auto offsets = faults_.Offsets();
  const auto begun = std::ranges::find_if(offsets, [&](auto at) { return Belongs(at, behind); });
  EXPECT_EQ(begun - offsets.begin(), 24);  // 12 pieces each
  EXPECT_TRUE(std::none_of(begun, offsets.end(), [&](auto at) { return Belongs(at, guess); }));
}

TEST_F(LoaderTest, MeasuresHowFastNeededBytesCome) {
  EXPECT_EQ(loader_->NeededRate(), 0);
  Load load;
  Buffer<std::byte> memory;
  Describe(0, load, memory);
  loader_->Start(load, Urgency::kGuessed);
  loader_->Wait(load);
  EXPECT_EQ(loader_->NeededRate(), 0);  // guesses are read at leisure
  faults_.delay_ms = 20;
  const Stopwatch watch;
  loader_->Start(load, Urgency::kNeeded);
  loader_->Wait(load);
  const double seconds = watch.Seconds();
  EXPECT_EQ(loader_->BytesLeft(load), 0);
  const auto bytes = static_cast<double>(memory.size());
  EXPECT_GE(loader_->NeededRate(), bytes / seconds);
  EXPECT_LE(loader_->NeededRate(), bytes / 0.02);
}

TEST_F(LoaderTest, KnowsWhatIsLeftOfALoad) {
  Load load;
  Buffer<std::byte> memory;
  Describe(0, load, memory);
  faults_.Close();
  loader_->Start(load, Urgency::kNeeded);
  EXPECT_EQ(loader_->BytesLeft(load), memory.size());
  faults_.Open();
  loader_->Wait(load);
  EXPECT_EQ(loader_->BytesLeft(load), 0);
}

TEST_F(LoaderTest, APromotedGuessIsThere) {
  Load guess;
  Buffer<std::byte> memory;
  Describe(4, guess, memory);
  faults_.Close();
  loader_->Start(guess, Urgency::kGuessed);
  faults_.WaitForReads(2);
  loader_->Promote(guess);
  faults_.Open();
  loader_->Wait(guess);
  EXPECT_TRUE(Holds(4, memory));
  ExpectLoads(1);
}

TEST_F(LoaderTest, NothingIsWrittenAfterALoadIsGivenUp) {
  for (int i = 0; i < 50; ++i) {
    Buffer<std::byte> memory;
    Load load;
    Describe(4, load, memory);
    loader_->Start(load, i % 2 == 0 ? Urgency::kGuessed : Urgency::kNeeded);
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200 * i));
    loader_->Cancel(load);
    EXPECT_FALSE(loader_->IsDone(load));
    memory.Zero();
    // The memory, and the load itself, go now; sanitizers look whether anyone still uses them.
  }
  ExpectLoads(0);
}

TEST_F(LoaderTest, EndsWhileReadsAreUnderWay) {
  Load load;
  Buffer<std::byte> memory;
  Describe(2, load, memory);
  faults_.delay_ms = 5;
  loader_->Start(load, Urgency::kNeeded);
  loader_.reset();
}

}  // namespace
}  // namespace cadre
