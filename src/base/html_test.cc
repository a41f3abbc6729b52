#include "base/html.h"

#include <gtest/gtest.h>

namespace cadre {
namespace {

TEST(Html, EscapesWhatEndsATextOrAnAttribute) {
  EXPECT_EQ(Html("a <b> & \"c\" 'd'"), "a &lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
}

TEST(Html, LeavesTheRestAsItIs) {
  EXPECT_EQ(Html("/models/größe.gguf\n"), "/models/größe.gguf\n");
  EXPECT_EQ(Html(""), "");
}

}  // namespace
}  // namespace cadre
