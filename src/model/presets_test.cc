#include "model/presets.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace cadre {
namespace {

TEST(Preset, HasThePublishedNumbersOfParameters) {
  EXPECT_EQ(Preset("mixtral-8x7b").TotalParameters(), 46'702'792'704);
  EXPECT_EQ(Preset("mixtral-8x7b").ActiveParameters(), 12'879'925'248);
  EXPECT_EQ(Preset("mixtral-8x22b").TotalParameters(), 140'630'071'296);
  EXPECT_EQ(Preset("mistral-7b").TotalParameters(), 7'248'023'552);
  EXPECT_EQ(Preset("llama-2-7b").TotalParameters(), 6'738'415'616);
  EXPECT_EQ(Preset("llama-2-70b").TotalParameters(), 68'976'648'192);
  for (const auto& name : PresetNames()) EXPECT_TRUE(SuspiciousSettings(Preset(name)).empty());
  EXPECT_THROW(Preset("gpt-2"), Error);
}

}  // namespace
}  // namespace cadre
