#include <memory>

#include "bench/kernel_case.h"
#include "cpu/matmul.h"

namespace cadre::bench {
namespace {

// Blocks of rows are those of cpu/matmul.cc: the larger where there are as many tokens as that.
constexpr int64_t kFewRows = 4, kManyRows = 16;
constexpr int64_t kTokens[] = {1, 4, 16};
constexpr int64_t kRowsToDecode = 4;  // a second-level cache holds them, stored and decoded

int64_t RowsFor(int64_t tokens) { return tokens < kManyRows ? kFewRows : kManyRows; }

double Product(int64_t rows, int64_t tokens) {
  return 2.0 * static_cast<double>(rows * tokens * kCols);
}

// Rows of float weights with some tokens.
class FloatProduct {
 public:
  FloatProduct(const KernelTable& kernels, int64_t tokens)
      : kernels_(kernels),
        tokens_(tokens),
        x_(Normals(tokens * kCols)),
        out_(RowsFor(tokens) * tokens) {}

  void Run(const std::byte* weights) {
    kernels_.float_dots({.weights = weights,
                         .row_bytes = 4 * kCols,
                         .x = x_.data(),
                         .x_stride = kCols,
                         .rows = RowsFor(tokens_),
                         .tokens = tokens_,
                         .cols = kCols,
                         .out = out_.data(),
                         .out_stride = RowsFor(tokens_)});
  }

 private:
  const KernelTable& kernels_;
  int64_t tokens_;
  std::vector<float> x_;
  Buffer<float> out_;
};

Work CachedFloatDots(const KernelTable& kernels, int64_t tokens) {
  auto weights =
      std::make_shared<std::vector<std::byte>>(EncodedRows(DType::kF32, RowsFor(tokens)));
  auto product = std::make_shared<FloatProduct>(kernels, tokens);
  return {{{LimitKind::kFloat, Product(RowsFor(tokens), tokens)}},
          [=] { product->Run(weights->data()); }};
}

Work StreamedFloatDots(Bench& bench) {
  const std::vector<std::byte> weights = EncodedRows(DType::kF32, RowsFor(1));
  bench.read.Fill(weights);
  auto product = std::make_shared<FloatProduct>(bench.kernels, 1);
  return {{{LimitKind::kStream, static_cast<double>(weights.size())},
           {LimitKind::kFloat, Product(RowsFor(1), 1)}},
          [&memory = bench.read, product] { product->Run(memory.Next()); }};
}

// Rows of a quantised type, unpacked, with some rounded tokens.
struct ByteProduct {
  ByteRowsBuffer weights, x;
  Buffer<float> out;
};

Work ByteDotsOf(const KernelTable& kernels, DType type, int64_t tokens) {
  const int64_t rows = RowsFor(tokens);
  auto product = std::make_shared<ByteProduct>();
  product->out.Resize(rows * tokens);
  const ByteDots dots = {
      .weights = product->weights.Reserve(rows, kCols),
      .has_offsets = (kTypesWithOffsets >> static_cast<int>(type) & 1) != 0,
      .x = product->x.Reserve(tokens, kCols),
      .rows = rows,
      .tokens = tokens,
      .out = product->out.data(),
      .out_stride = rows,
  };
  const std::vector<std::byte> encoded = EncodedRows(type, rows);
  for (int64_t r = 0; r < rows; ++r)
    kernels.rows->unpack(type, encoded.data() + r * RowBytes(type, kCols), kCols, dots.weights, r);
  const std::vector<float> x = Normals(tokens * kCols);
  for (int64_t t = 0; t < tokens; ++t)
    kernels.rows->round(x.data() + t * kCols, kCols, ActivationGroup(type), dots.x, t);
  return {{{LimitKind::kInteger, Product(rows, tokens)}},
          [&kernels, dots, product] { kernels.rows->dots(dots); }};
}

// Stored rows to floats or bytes. Counted are the stored bytes and those that they become, scales
// left out.
struct StoredRows {
  StoredRows(DType type, int64_t element_bytes)
      : row_bytes(RowBytes(type, kCols)),
        bytes(static_cast<double>(kRowsToDecode * (row_bytes + element_bytes * kCols))),
        encoded(EncodedRows(type, kRowsToDecode)),
        decoded(kRowsToDecode * kCols) {}

  const std::byte* row(int64_t r) const { return encoded.data() + r * row_bytes; }

  int64_t row_bytes;
  double bytes;
  std::vector<std::byte> encoded;
  ByteRowsBuffer unpacked;
  Buffer<float> decoded;
};

Work DecodeRowOf(const KernelTable& kernels, DType type) {
  auto rows = std::make_shared<StoredRows>(type, 4);
  return {{{LimitKind::kCache, rows->bytes}}, [&kernels, type, rows] {
            const ByteRows unpacked = rows->unpacked.Reserve(1, kCols);
            for (int64_t r = 0; r < kRowsToDecode; ++r)
              kernels.decode_row(type, rows->row(r), kCols, unpacked,
                                 rows->decoded.data() + r * kCols);
          }};
}

Work UnpackRowOf(const KernelTable& kernels, DType type) {
  auto rows = std::make_shared<StoredRows>(type, 1);
  return {{{LimitKind::kCache, rows->bytes}}, [&kernels, type, rows] {
            const ByteRows unpacked = rows->unpacked.Reserve(kRowsToDecode, kCols);
            for (int64_t r = 0; r < kRowsToDecode; ++r)
              kernels.rows->unpack(type, rows->row(r), kCols, unpacked, r);
          }};
}

Work RoundRowIn(const KernelTable& kernels, int64_t group) {
  auto x = std::make_shared<std::vector<float>>(Normals(kRowsToDecode * kCols));
  auto rounded = std::make_shared<ByteRowsBuffer>();
  return {{{LimitKind::kCache, static_cast<double>(5 * std::ssize(*x))}},
          [&kernels, group, x, rounded] {
            const ByteRows rows = rounded->Reserve(kRowsToDecode, kCols);
            for (int64_t r = 0; r < kRowsToDecode; ++r)
              kernels.rows->round(x->data() + r * kCols, kCols, group, rows, r);
          }};
}

}  // namespace

void AddDotCases(Bench& bench, std::vector<KernelCase>& cases) {
  const KernelTable& kernels = bench.kernels;
  for (const int64_t tokens : kTokens) {
    cases.push_back({"float_dots", "F32", tokens, Source::kCache,
                     [&kernels, tokens] { return CachedFloatDots(kernels, tokens); }});
  }
  cases.push_back(
      {"float_dots", "F32", 1, Source::kMemory, [&bench] { return StreamedFloatDots(bench); }});
  for (const DType type : {DType::kQ4_0, DType::kQ4_1}) {  // without offsets, with them
    if (kernels.rows == nullptr) break;
    for (const int64_t tokens : kTokens) {
      cases.push_back({"byte_dots", std::string(Info(type).name), tokens, Source::kCache,
                       [=, &kernels] { return ByteDotsOf(kernels, type, tokens); }});
    }
  }
  for (const DTypeInfo& info : AllDTypes()) {
    const DType type = info.type;
    const std::string name(info.name);
    cases.push_back({"decode_row", name, 0, Source::kCache,
                     [=, &kernels] { return DecodeRowOf(kernels, type); }});
    if (!IsQuantised(type) || kernels.rows == nullptr) continue;
    cases.push_back({"unpack_row", name, 0, Source::kCache,
                     [=, &kernels] { return UnpackRowOf(kernels, type); }});
  }
  if (kernels.rows == nullptr) return;
  for (const int64_t group : {32, 256}) {
    cases.push_back({"round_row", "of " + std::to_string(group), 1, Source::kCache,
                     [=, &kernels] { return RoundRowIn(kernels, group); }});
  }
}

}  // namespace cadre::bench
