#include "formats/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/mapped_file.h"

namespace cadre {
namespace {

namespace fs = std::filesystem;

class NpyTest : public testing::Test {
 protected:
  NpyTest() : path_(fs::temp_directory_path() / fmt::format("cadre-npy-test-{}.npy", getpid())) {}
  ~NpyTest() override { fs::remove(path_); }

  std::string MessageOf(const std::string& bytes) const {
    WriteFileAtomically(path_, bytes);
    try {
      ReadNpy(path_);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  std::string path_;
};

TEST_F(NpyTest, MatrixIsReadBackAlsoWhenItsRowsLieApart) {
  const std::vector<float> values = {1, 2, 9, 3, 4, 9, 5, 6, 9};
  WriteNpy(path_, {values.data(), 3, 2, 3});
  const auto matrix = ReadNpy(path_);
  EXPECT_EQ(matrix.rows, 3);
  EXPECT_EQ(matrix.cols, 2);
  EXPECT_THAT(matrix.values, testing::ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(fs::file_size(path_), 128U + 24U);  // data starts at a multiple of 64
}

TEST_F(NpyTest, MatrixWithoutRowsIsReadBack) {
  WriteNpy(path_, {nullptr, 0, 7});
  EXPECT_EQ(ReadNpy(path_).cols, 7);
}

TEST_F(NpyTest, EveryOtherArrayIsRefused) {
  const std::vector<float> values(4);
  WriteNpy(path_, {values.data(), 2, 2});
  const std::string good(MappedFile(path_).text());
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string changed = good;
    changed.replace(changed.find(from), from.size(), to);
    return changed;
  };
  using testing::HasSubstr;
  EXPECT_EQ(MessageOf(good), "no error");
  EXPECT_THAT(MessageOf(with("NUMPY", "NUMPX")), HasSubstr("not an .npy file"));
  EXPECT_THAT(MessageOf(with("<f4", ">f4")), HasSubstr("must describe"));
  EXPECT_THAT(MessageOf(with("False", "True ")), HasSubstr("must describe"));
  EXPECT_THAT(MessageOf(with("(2, 2)", "(2,)  ")), HasSubstr("must describe"));
  EXPECT_THAT(MessageOf(with("(2, 2)", "(2, 3)")), HasSubstr("2 x 3 values need 24"));
  EXPECT_THAT(MessageOf(with("(2, 2), }                   ", "(99999999999, 9999999999), }")),
              HasSubstr("overflows"));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(MessageOf(good.substr(0, size)), "no error") << size;
  }
}

}  // namespace
}  // namespace cadre
