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

TEST_F(FileTest, EmptyAndMissingAndFolders) {
  WriteFileAtomically(folder_ / "empty", "");
  EXPECT_TRUE(MappedFile(folder_ / "empty").bytes().empty());
  EXPECT_THROW(MappedFile(folder_ / "missing"), Error);
  EXPECT_THROW(MappedFile{folder_.string()}, Error);
  EXPECT_THROW(AtomicFile(folder_ / "no" / "folder"), Error);
}

}  // namespace
}  // namespace cadre
