#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/atomic_file.h"
#include "base/error.h"
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
    AtomicFile file(path, Unfinished::kKeep);
    EXPECT_EQ(file.kept_bytes(), 0u);
    file.Write("head");
    file.Write(text);
    EXPECT_EQ(file.size(), text.size() + 4);
  }
  EXPECT_FALSE(fs::exists(path));
  {
    AtomicFile file(path, Unfinished::kKeep);
    EXPECT_EQ(file.kept_bytes(), text.size() + 4);
    EXPECT_TRUE(file.KeptBeginWith("headxx"));
    EXPECT_FALSE(file.KeptBeginWith("heat"));
    EXPECT_THROW(AtomicFile(path, Unfinished::kKeep), Error) << "two at a time";
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
  { AtomicFile(path, Unfinished::kKeep).Write("0123456789"); }
  // As if the machine had stopped: the file is there, but the note says less, or is gone.
  std::ofstream(path + ".partial.synced") << 4;
  {
    AtomicFile file(path, Unfinished::kKeep);
    EXPECT_EQ(file.kept_bytes(), 4u);
    EXPECT_FALSE(file.KeptBeginWith("01234"));
  }
  std::ofstream(path + ".partial.synced") << 400;
  EXPECT_EQ(AtomicFile(path, Unfinished::kKeep).kept_bytes(), 10u);
  fs::remove(path + ".partial.synced");
  EXPECT_EQ(AtomicFile(path, Unfinished::kKeep).kept_bytes(), 0u);
}

TEST_F(FileTest, WithoutContinueAtTheKeptBytesAreLost) {
  const auto path = (folder_ / "a").string();
  { AtomicFile(path, Unfinished::kKeep).Write("0123456789"); }
  AtomicFile file(path, Unfinished::kKeep);
  file.Write("ab");
  file.Commit();
  EXPECT_EQ(MappedFile(path).text(), "ab");
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
