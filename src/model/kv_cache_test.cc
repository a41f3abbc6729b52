#include "model/kv_cache.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>

namespace cadre {
namespace {

const KvShape kShape = {.type = KvType::kF32, .num_layers = 2, .num_kv_heads = 3, .head_dim = 8};

size_t NumPages(const KvCache& cache) { return cache.view().pages.size(); }

TEST(KvShape, CountsItsBytes) {
  EXPECT_EQ(kShape.page_bytes(), 2 * 3 * 2 * 8 * 256 * 4);
  KvShape q8 = kShape;
  q8.type = KvType::kQ8;
  EXPECT_EQ(q8.page_bytes(), 2 * 3 * 2 * (8 * 256 + 256 * 4));
}

TEST(KvCache, ReservesWholePages) {
  KvPagePool pool(kShape);
  KvCache cache(pool);
  cache.Reserve(0);
  EXPECT_EQ(NumPages(cache), 0u);
  cache.Reserve(1);
  EXPECT_EQ(NumPages(cache), 1u);
  cache.Reserve(kKvBlock);
  EXPECT_EQ(NumPages(cache), 1u);
  cache.Reserve(kKvBlock + 1);
  EXPECT_EQ(NumPages(cache), 2u);
  cache.Reserve(5);  // never shrinks
  EXPECT_EQ(NumPages(cache), 2u);
  EXPECT_EQ(pool.bytes(), 2 * kShape.page_bytes());
}

TEST(KvCache, KeepsItsPagesWhileItGrows) {
  KvPagePool pool(kShape);
  KvCache cache(pool);
  cache.Reserve(1);
  std::byte* const first = cache.view().pages[0];
  first[0] = std::byte{42};
  cache.Reserve(40 * kKvBlock);
  EXPECT_EQ(cache.view().pages[0], first);
  EXPECT_EQ(first[0], std::byte{42});
  const auto pages = cache.view().pages;
  EXPECT_EQ(std::set<std::byte*>(pages.begin(), pages.end()).size(), 40u);
}

TEST(KvCache, AlignsPagesForTheKernels) {
  KvPagePool pool(kShape);
  KvCache cache(pool);
  cache.Reserve(1000);
  for (std::byte* page : cache.view().pages) EXPECT_EQ(reinterpret_cast<uintptr_t>(page) % 64, 0u);
}

TEST(KvCache, ReleasesOnlyPagesWhollyBeforeTheWindow) {
  KvPagePool pool(kShape);
  KvCache cache(pool);
  cache.Reserve(4 * kKvBlock);
  cache.ReleaseBefore(-3);
  cache.ReleaseBefore(kKvBlock - 1);
  EXPECT_NE(cache.view().pages[0], nullptr);
  cache.ReleaseBefore(2 * kKvBlock + 1);
  EXPECT_EQ(cache.view().pages[0], nullptr);
  EXPECT_EQ(cache.view().pages[1], nullptr);
  EXPECT_NE(cache.view().pages[2], nullptr);
  EXPECT_EQ(NumPages(cache), 4u);         // positions keep their place
  cache.ReleaseBefore(2 * kKvBlock + 9);  // nothing is given back twice
  cache.Reserve(6 * kKvBlock);
  EXPECT_EQ(pool.bytes(), 4 * kShape.page_bytes());
  cache.ReleaseBefore(100 * kKvBlock);
  for (std::byte* page : cache.view().pages) EXPECT_EQ(page, nullptr);
}

TEST(KvCache, TruncatesToTheNeededPages) {
  KvPagePool pool(kShape);
  KvCache cache(pool);
  cache.Reserve(4 * kKvBlock);
  cache.Truncate(2 * kKvBlock + 1);
  EXPECT_EQ(NumPages(cache), 3u);
  cache.Truncate(2 * kKvBlock);
  EXPECT_EQ(NumPages(cache), 2u);
  cache.Truncate(9 * kKvBlock);
  EXPECT_EQ(NumPages(cache), 2u);
  cache.Truncate(0);
  EXPECT_EQ(NumPages(cache), 0u);
}

TEST(KvCache, ReusesPagesBeforeMemoryGrows) {
  KvPagePool pool(kShape);
  {
    KvCache first(pool);
    first.Reserve(3 * kKvBlock);
  }
  KvCache second(pool), third(pool);
  second.Reserve(2 * kKvBlock);
  third.Reserve(kKvBlock);
  EXPECT_EQ(pool.bytes(), 3 * kShape.page_bytes());
  third.Reserve(2 * kKvBlock);
  EXPECT_EQ(pool.bytes(), 4 * kShape.page_bytes());
  std::set<std::byte*> pages;
  for (const auto* cache : {&second, &third})
    pages.insert(cache->view().pages.begin(), cache->view().pages.end());
  EXPECT_EQ(pages.size(), 4u);  // no page belongs to two sequences
}

TEST(KvCache, ReusesReleasedPagesAfterTruncating) {
  KvPagePool pool(kShape);
  KvCache cache(pool);
  cache.Reserve(4 * kKvBlock);
  cache.ReleaseBefore(2 * kKvBlock);
  cache.Truncate(0);
  cache.Reserve(4 * kKvBlock);
  EXPECT_EQ(pool.bytes(), 4 * kShape.page_bytes());
  const auto pages = cache.view().pages;
  EXPECT_EQ(std::set<std::byte*>(pages.begin(), pages.end()).size(), 4u);
}

TEST(KvCache, MovesWithItsPages) {
  KvPagePool pool(kShape);
  KvCache cache(pool);
  cache.Reserve(kKvBlock);
  std::byte* const page = cache.view().pages[0];
  KvCache moved(std::move(cache));
  EXPECT_EQ(moved.view().pages[0], page);
  EXPECT_EQ(NumPages(cache), 0u);  // NOLINT: what is left behind is empty, and says so
}

}  // namespace
}  // namespace cadre
