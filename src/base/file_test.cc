#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/folders.h"
#include "base/huge_memory.h"
#include "base/mapped_file.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  FileTest() : folder_(fs::temp_directory_path() / fmt::format("cadre-file-test-{}", getpid())) {
    fs::create_directories(folder_);
  }
  ~FileTest() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(FileTest, CommittedFileIsReadBackWhole) {
  const auto path = folder_ / "a";
  const std::string text(3'000'000, 'x');
  WriteFileAtomically(path, text);
  EXPECT_EQ(MappedFile(path).text(), text);
}

TEST_F(FileTest, UncommittedFileLeavesTheOldOneAndNoTemporary) {
  const auto path = folder_ / "a";
  WriteFileAtomically(path, "old");
  {
    AtomicFile file(path);
    file.Write("new");
  }
  EXPECT_EQ(MappedFile(path).text(), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(FileTest, AnUnfinishedFileIsKeptAndGoneOnWith) {
  const auto path = (folder_ / "a").string();
  const std::string text(2'500'000, 'x');
  {
    AtomicFile file(path, "work");
    EXPECT_EQ(file.kept_bytes(), 0u);
    file.Write("head");
    file.Write(text);
    EXPECT_EQ(file.size(), text.size() + 4);
  }
  EXPECT_FALSE(fs::exists(path));
  {
    AtomicFile file(path, "work");
    EXPECT_EQ(file.kept_bytes(), text.size() + 4);
    EXPECT_TRUE(file.KeptBeginWith("headxx"));
    EXPECT_FALSE(file.KeptBeginWith("heat"));
    EXPECT_THROW(AtomicFile(path, "work"), Error) << "two at a time";
    file.ContinueAt(6);
    EXPECT_EQ(file.size(), 6u);
    file.Write("tail");
    file.Commit();
  }
  EXPECT_EQ(MappedFile(path).text(), "headxxtail");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(FileTest, OnlyWhatWasSyncedIsKept) {
  const auto path = (folder_ / "a").string();
  { AtomicFile(path, "work").Write("0123456789"); }
  // As if the machine had stopped: the file is there, but the note says less, or is gone.
  std::ofstream(path + ".partial.synced") << "4\nwork";
  {
    AtomicFile file(path, "work");
    EXPECT_EQ(file.kept_bytes(), 4u);
    EXPECT_FALSE(file.KeptBeginWith("01234"));
  }
  std::ofstream(path + ".partial.synced") << "400\nwork";
  EXPECT_EQ(AtomicFile(path, "work").kept_bytes(), 10u);
  fs::remove(path + ".partial.synced");
  EXPECT_EQ(AtomicFile(path, "work").kept_bytes(), 0u);
}

TEST_F(FileTest, OtherWorkKeepsNothingOfIt) {
  const auto path = (folder_ / "a").string();
  { AtomicFile(path, "work").Write("0123456789"); }
  {
    const AtomicFile other(path, "other work");
    EXPECT_EQ(other.kept_bytes(), 0u);
  }
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(FileTest, NothingIsNotedAfterAWriteThatFailed) {
  const auto path = (folder_ / "a").string();
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, SIG_IGN);
  {
    AtomicFile file(path, "work");
    file.Write(std::string(100'000, 'x'));
    // The kernel takes a part of what comes, then nothing: a disk that fills up.
    const rlimit small{1'500'000, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    EXPECT_THROW(
        {
          file.Write(std::string(3'000'000, 'y'));
          file.Seal();
        },
        Error);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  }
  signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(AtomicFile(path, "work").kept_bytes(), 0u);
}

TEST_F(FileTest, NoLinkIsFollowed) {
  const auto victim = folder_ / "victim";
  WriteFileAtomically(victim, "precious");
  fs::create_symlink(victim, folder_ / "a.partial");
  EXPECT_THROW(AtomicFile(folder_ / "a", "work"), Error);
  fs::create_symlink(victim, fmt::format("{}.tmp-{}", (folder_ / "b").string(), getpid()));
  WriteFileAtomically(folder_ / "b", "text");
  EXPECT_EQ(MappedFile(victim).text(), "precious");
  EXPECT_FALSE(fs::is_symlink(folder_ / "b"));
}

TEST_F(FileTest, ASealedFileWaitsForItsName) {
  const auto path = (folder_ / "a").string();
  {
    AtomicFile file(path, "work");
    file.Write("whole");
    file.Seal();
    EXPECT_FALSE(fs::exists(path));
  }
  AtomicFile file(path, "work");
  EXPECT_EQ(file.kept_bytes(), 5u);
  file.ContinueAt(5);
  file.Commit();
  EXPECT_EQ(MappedFile(path).text(), "whole");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(FileTest, WithoutContinueAtTheKeptBytesAreLost) {
  const auto path = (folder_ / "a").string();
  { AtomicFile(path, "work").Write("0123456789"); }
  AtomicFile file(path, "work");
  file.Write("ab");
  file.Commit();
  EXPECT_EQ(MappedFile(path).text(), "ab");
}

TEST_F(FileTest, FoldersAreMadeOrTheReasonIsSaid) {
  CreateFolders((folder_ / "x" / "y").string());
  EXPECT_TRUE(fs::is_directory(folder_ / "x" / "y"));
  WriteFileAtomically(folder_ / "file", "abc");
  EXPECT_THROW(CreateFolders((folder_ / "file").string()), Error);
  EXPECT_THROW(CreateFolders((folder_ / "file" / "below").string()), Error);
  EXPECT_GT(BytesOnDisk(folder_ / "file"), 0u);
  EXPECT_EQ(BytesOnDisk(folder_ / "nothing"), 0u);
  EXPECT_NO_THROW(CheckRoom(folder_.string(), 1));
  EXPECT_THROW(CheckRoom(folder_.string(), uint64_t{1} << 60), Error);
}

TEST_F(FileTest, HugeMemoryIsZeroAndMovable) {
  HugeMemory memory(5'000'000);
  EXPECT_EQ(memory.data()[4'999'999], std::byte{0});
  memory.data()[7] = std::byte{9};
  HugeMemory other = std::move(memory);
  EXPECT_EQ(other.data()[7], std::byte{9});
  EXPECT_EQ(other.size(), 5'000'000u);
  EXPECT_EQ(HugeMemory(0).data(), nullptr);
  EXPECT_GT(AvailableMemory(), 0u);
}

TEST_F(FileTest, EmptyAndMissingAndFolders) {
  WriteFileAtomically(folder_ / "empty", "");
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
  EXPECT_THROW(MappedFile(folder_ / "missing"), Error);
  EXPECT_THROW(MappedFile{folder_.string()}, Error);
  EXPECT_THROW(AtomicFile(folder_ / "no" / "folder"), Error);
}

}  // namespace
}  // namespace cadre
