#include <memory>

#include "bench/kernel_case.h"
#include "tensor/buffer.h"

namespace cadre::bench {
namespace {

constexpr int64_t kHeadDim = 128, kSharedHeads = 4;  // of Mixtral 8x7B
constexpr int64_t kPositions = 4096;

KvShape ShapeOf(KvType type) {
  return {.type = type, .num_layers = 1, .num_kv_heads = 1, .head_dim = kHeadDim};
}

// Rows of one head to the slots of a page, in turn.
class PageOfOneHead {
 public:
  PageOfOneHead(const KernelTable& kernels, KvType type)
      : kernels_(kernels),
        shape_(ShapeOf(type)),
        page_(shape_.page_bytes()),
        rows_(Normals(2 * kHeadDim * kKvBlock)),
        scratch_(kHeadDim) {}

  void StoreAll() {
    for (int64_t slot = 0; slot < kKvBlock; ++slot) {
      const float* k = rows_.data() + 2 * kHeadDim * slot;
      kernels_.store_kv({.type = shape_.type,
                         .head_dim = kHeadDim,
                         .slot = slot,
                         .block_bytes = shape_.block_bytes(),
                         .k = k,
                         .v = k + kHeadDim,
                         .block = page_.data(),
                         .scratch = scratch_.data()});
    }
  }

  const Buffer<std::byte>& page() const { return page_; }
  // Read and written by StoreAll.
  double bytes() const { return 4.0 * static_cast<double>(rows_.size()) + PageBytes(); }
  double PageBytes() const { return static_cast<double>(shape_.page_bytes()); }

 private:
  const KernelTable& kernels_;
  KvShape shape_;
  Buffer<std::byte> page_;
  std::vector<float> rows_;
  Buffer<float> scratch_;
};

// The heads of one token over a sequence, whose pages have gone from the caches since the last one.
struct Attention {
  const std::byte* pages[kPositions / kKvBlock];
  std::vector<float> q = Normals(kSharedHeads * kHeadDim);
  Buffer<float> out{kSharedHeads * kHeadDim};
  Buffer<float> states{2 * kSharedHeads};
  Buffer<float> scratch{AttentionScratch(kSharedHeads, kHeadDim)};
  AttentionRow row{
      q.data(), 0, kPositions, {out.data(), states.data(), states.data() + kSharedHeads}};
};

Work Attend(Bench& bench, KvType type) {
  PageOfOneHead page(bench.kernels, type);
  page.StoreAll();
  bench.read.Fill(page.page().span());
  auto attention = std::make_shared<Attention>();
  const double scores_with_values = 2.0 * 2.0 * kSharedHeads * kPositions * kHeadDim;
  return {{{LimitKind::kStream, page.PageBytes() * kPositions / kKvBlock},
           {LimitKind::kFloat, scores_with_values}},
          [&bench, type, attention] {
            for (const std::byte*& next : attention->pages) next = bench.read.Next();
            bench.kernels.attend({.type = type,
                                  .head_dim = kHeadDim,
                                  .heads = kSharedHeads,
                                  .pages = attention->pages,
                                  .head_offset = 0,
                                  .block_bytes = ShapeOf(type).block_bytes(),
                                  .rows = &attention->row,
                                  .num_rows = 1,
                                  .scratch = attention->scratch.data()});
          }};
}

Work StoreKv(const KernelTable& kernels, KvType type) {
  auto page = std::make_shared<PageOfOneHead>(kernels, type);
  return {{{LimitKind::kCache, page->bytes()}}, [page] { page->StoreAll(); }};
}

}  // namespace

void AddKvCases(Bench& bench, std::vector<KernelCase>& cases) {
  struct NamedType {
    KvType type;
    const char* name;
  };
  constexpr NamedType kTypes[] = {
      {KvType::kF32, "f32"}, {KvType::kF16, "f16"}, {KvType::kBF16, "bf16"}, {KvType::kQ8, "q8"}};
  for (const auto& [type, name] : kTypes) {
    cases.push_back({"attend", name, 1, Source::kMemory,
                     [&bench, type = type] { return Attend(bench, type); }});
  }
  for (const auto& [type, name] : kTypes) {
    cases.push_back({"store_kv", name, 1, Source::kCache,
                     [&kernels = bench.kernels, type = type] { return StoreKv(kernels, type); }});
  }
}

}  // namespace cadre::bench
