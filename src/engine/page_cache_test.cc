#include "engine/page_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <list>
#include <numeric>

#include "base/random.h"

namespace cadre {
namespace {

constexpr KvShape kShape = {KvType::kF32, 1, 1, 2};

// Every position's key says which ids stand up to there, so that a page in the wrong place shows.
uint64_t Mark(uint64_t before, int32_t id) {
  return before * 6364136223846793005u + static_cast<uint64_t>(id) + 7;
}

std::byte* Place(const PageCache::Chain& chain, int64_t position) {
  std::byte* page = chain.view().pages[static_cast<size_t>(position / kKvBlock)];
  return page + position % kKvBlock * 8;
}

std::vector<int32_t> Ids(int64_t count, int32_t first = 0) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

// Runs all of ids that the chain has not yet.
void Fill(PageCache::Chain& chain, std::span<const int32_t> ids) {
  const int64_t begin = chain.committed();
  ASSERT_TRUE(chain.Reserve(std::ssize(ids)));
  uint64_t mark = 1;
  for (int64_t p = 0; p < std::ssize(ids); ++p) {
    mark = Mark(mark, ids[static_cast<size_t>(p)]);
    if (p >= begin) std::memcpy(Place(chain, p), &mark, sizeof mark);
  }
  chain.Commit(ids.subspan(static_cast<size_t>(begin)));
}

void ExpectSound(const PageCache::Chain& chain, std::span<const int32_t> ids, int64_t from = 0) {
  uint64_t mark = 1;
  for (int64_t p = 0; p < chain.committed(); ++p) {
    mark = Mark(mark, ids[static_cast<size_t>(p)]);
    if (p < from) continue;
    uint64_t found = 0;
    std::memcpy(&found, Place(chain, p), sizeof found);
    ASSERT_EQ(found, mark) << "position " << p;
  }
}

TEST(PageCache, ALaterRequestBeginsWithWhatIsKnown) {
  PageCache cache(kShape, 10, true);
  const auto ids = Ids(600);
  {
    PageCache::Chain first(cache);
    EXPECT_EQ(first.Begin(ids, 600, 0), 0);
    Fill(first, ids);
    EXPECT_EQ(cache.used(), 3);
  }
  EXPECT_EQ(cache.used(), 0);
  EXPECT_EQ(cache.kept(), 3);
  EXPECT_EQ(cache.KnownPrefix(ids), 600);
  PageCache::Chain second(cache);
  EXPECT_EQ(second.Begin(ids, 599, 0), 599);  // the last token is to be run
  ExpectSound(second, ids);
  Fill(second, ids);
  ExpectSound(second, ids);
}

TEST(PageCache, WholePagesAreSharedAndAPartIsCopied) {
  PageCache cache(kShape, 10, true);
  auto ids = Ids(600);
  PageCache::Chain first(cache);
  first.Begin(ids, 599, 0);
  Fill(first, ids);
  auto other = ids;
  other[550] = 7777;  // in the third page
  PageCache::Chain second(cache);
  EXPECT_EQ(second.Begin(other, 599, 0), 550);
  EXPECT_EQ(cache.used(), 4);
  EXPECT_EQ(first.view().pages[1], second.view().pages[1]);
  EXPECT_NE(first.view().pages[2], second.view().pages[2]);
  Fill(second, other);
  ExpectSound(first, ids);
  ExpectSound(second, other);
}

TEST(PageCache, EqualBlocksBehindDifferentBeginningsAreNotConfused) {
  PageCache cache(kShape, 10, true);
  auto a = Ids(512), b = Ids(512);
  b[0] = 99;
  PageCache::Chain first(cache);
  first.Begin(a, 511, 0);
  Fill(first, a);
  PageCache::Chain second(cache);
  EXPECT_EQ(second.Begin(b, 511, 0), 0);
  Fill(second, b);
  ExpectSound(second, b);
}

TEST(PageCache, TheLeastRecentlyUsedGoFirstAndAParentAfterItsChildren) {
  PageCache cache(kShape, 4, true);
  const auto a = Ids(512), b = Ids(512, 10000), c = Ids(256, 20000);
  for (const auto& ids : {a, b, a}) {
    PageCache::Chain chain(cache);
    chain.Begin(ids, 512, 0);
    Fill(chain, ids);
  }
  PageCache::Chain chain(cache);
  chain.Begin(c, 255, 0);
  Fill(chain, c);
  EXPECT_EQ(cache.KnownPrefix(a), 512);
  EXPECT_EQ(cache.KnownPrefix(b), 256);
}

TEST(PageCache, NoPageIsTakenFromARequest) {
  PageCache cache(kShape, 2, true);
  const auto ids = Ids(512), other = Ids(300, 5000);
  PageCache::Chain first(cache), second(cache);
  first.Begin(ids, 511, 0);
  Fill(first, ids);
  EXPECT_EQ(cache.available(), 0);
  EXPECT_FALSE(second.Reserve(1));
  ExpectSound(first, ids);
  first.Release();
  EXPECT_TRUE(second.Reserve(300));
  Fill(second, other);
  EXPECT_FALSE(second.Reserve(513));
  ExpectSound(second, other);
}

TEST(PageCache, KeepsNothingWhenTold) {
  PageCache cache(kShape, 4, false);
  const auto ids = Ids(300);
  {
    PageCache::Chain chain(cache);
    chain.Begin(ids, 299, 0);
    Fill(chain, ids);
  }
  EXPECT_EQ(cache.kept(), 0);
  EXPECT_EQ(cache.KnownPrefix(ids), 0);
}

TEST(PageCache, BehindAWindowPagesAreLetGoAndABeginningNeedsOnlyTheSeenOnes) {
  PageCache cache(kShape, 3, true);
  const auto ids = Ids(2000);
  PageCache::Chain chain(cache);
  chain.Begin(ids, 1999, 100);
  for (int64_t end = 50; end <= 2000; end += 50) {
    Fill(chain, std::span(ids).first(static_cast<size_t>(end)));
    chain.ReleaseBefore(end - 100 + 1);
    EXPECT_LE(cache.used(), 2);
  }
  ExpectSound(chain, ids, 1901);
  chain.Release();
  PageCache::Chain again(cache);
  const int64_t known = again.Begin(ids, 1999, 100);
  EXPECT_GE(known, 1792);
  ExpectSound(again, ids, known - 99);
}

// Many requests that come, grow, end and share beginnings at random; at the end nothing is held.
TEST(PageCache, HoldsUnderRandomUse) {
  for (const int64_t window : {0, 1, 200, 300}) {
    Random random(static_cast<uint64_t>(window) + 3);
    PageCache cache(kShape, 12, true);
    struct Use {
      explicit Use(PageCache& pages) : chain(pages) {}
      PageCache::Chain chain;
      std::vector<int32_t> ids;
    };
    std::list<Use> uses;
    for (int step = 0; step < 3000; ++step) {
      if (random.NextBelow(3) == 0 && uses.size() < 4) {
        auto& use = uses.emplace_back(cache);
        int32_t id = 0;
        for (uint64_t i = 0, n = 1 + random.NextBelow(700); i < n; ++i) {
          if (random.NextBelow(200) == 0)
            id += 1000 * static_cast<int32_t>(1 + random.NextBelow(2));
          use.ids.push_back(id++);
        }
        const int64_t known = use.chain.Begin(use.ids, std::ssize(use.ids) - 1, window);
        ExpectSound(use.chain, use.ids, window > 0 ? std::max<int64_t>(0, known - window + 1) : 0);
      }
      if (uses.empty()) continue;
      auto it = std::next(uses.begin(), static_cast<int64_t>(random.NextBelow(uses.size())));
      const int64_t end = std::min(
          std::ssize(it->ids), it->chain.committed() + static_cast<int64_t>(random.NextBelow(300)));
      if (random.NextBelow(10) == 0 || it->chain.committed() == std::ssize(it->ids) ||
          !it->chain.Reserve(end)) {
        uses.erase(it);
        continue;
      }
      Fill(it->chain, std::span(it->ids).first(static_cast<size_t>(end)));
      if (window > 0) it->chain.ReleaseBefore(end - window + 1);
      ExpectSound(it->chain, it->ids, window > 0 ? std::max<int64_t>(0, end - window + 1) : 0);
      ASSERT_LE(cache.used() + cache.kept(), 12);
    }
    uses.clear();
    EXPECT_EQ(cache.used(), 0);
  }
}

}  // namespace
}  // namespace cadre
