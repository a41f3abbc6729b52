// Vectors of 8 floats and 32 bytes on AVX2 (with FMA and F16C), under the names that every
// simd_*_inl.h gives. Include it only from a *_avx2.cc, and put what uses it into the same pair of
// namespaces: everything here is local to its object file, or the linker could hand AVX2 code to a
// machine without it. No standard library inline functions for the same reason.
#pragma once

#include <immintrin.h>

#include <cstdint>

#define CADRE_ISA avx2

namespace cadre::avx2 {
namespace {

using VecF = __m256;  // kLanes floats
constexpr int64_t kLanes = 8;
constexpr const char* kIsaName = "avx2";
// Register tiles of this ISA: accumulators of a dot product (rows x tokens), score vectors of four
// heads.
constexpr int kTileRows = 2;
constexpr int kFloatTileTokens = 4;
constexpr int kWordTileTokens = 8;
constexpr int kHeadVecs = 2;

inline __m256i FirstLanes(int64_t n) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), index);
}

inline VecF Zero() { return _mm256_setzero_ps(); }
inline VecF Broadcast(float x) { return _mm256_set1_ps(x); }
// Any alignment everywhere. ...N: the first n lanes, 0 <= n <= kLanes; loads give 0 in the others,
// stores leave them alone.
inline VecF LoadF32(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
inline VecF LoadF32N(const void* p, int64_t n) {
  return _mm256_maskload_ps(static_cast<const float*>(p), FirstLanes(n));
}
inline void StoreF32(float* p, VecF x) { _mm256_storeu_ps(p, x); }
inline void StoreF32N(float* p, VecF x, int64_t n) { _mm256_maskstore_ps(p, FirstLanes(n), x); }

// AVX2 has no masked loads below 32 bits: the few bytes of a tail go through memory.
inline __m128i LoadBytes(const void* p, int64_t num_bytes) {
  alignas(16) unsigned char bytes[16] = {};
  __builtin_memcpy(bytes, p, static_cast<size_t>(num_bytes));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
}
inline void StoreBytes(void* p, __m128i x, int64_t num_bytes) {
  alignas(16) unsigned char bytes[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(bytes), x);
  __builtin_memcpy(p, bytes, static_cast<size_t>(num_bytes));
}

inline VecF FromF16(__m128i x) { return _mm256_cvtph_ps(x); }
inline VecF FromBF16(__m128i x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
inline VecF FromI8(__m128i x) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)); }
inline VecF LoadF16(const void* p) {
  return FromF16(_mm_loadu_si128(static_cast<const __m128i_u*>(p)));
}
inline VecF LoadBF16(const void* p) {
  return FromBF16(_mm_loadu_si128(static_cast<const __m128i_u*>(p)));
}
inline VecF LoadI8(const void* p) {
  return FromI8(_mm_loadl_epi64(static_cast<const __m128i_u*>(p)));
}
inline VecF LoadF16N(const void* p, int64_t n) { return FromF16(LoadBytes(p, 2 * n)); }
inline VecF LoadBF16N(const void* p, int64_t n) { return FromBF16(LoadBytes(p, 2 * n)); }
inline VecF LoadI8N(const void* p, int64_t n) { return FromI8(LoadBytes(p, n)); }

inline float OneF16(const void* p) {
  unsigned short bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return _cvtsh_ss(bits);
}

inline VecF Add(VecF a, VecF b) { return _mm256_add_ps(a, b); }
inline VecF Sub(VecF a, VecF b) { return _mm256_sub_ps(a, b); }
inline VecF Mul(VecF a, VecF b) { return _mm256_mul_ps(a, b); }
inline VecF Div(VecF a, VecF b) { return _mm256_div_ps(a, b); }
// The second operand where either is NaN.
inline VecF Max(VecF a, VecF b) { return _mm256_max_ps(a, b); }
inline VecF Min(VecF a, VecF b) { return _mm256_min_ps(a, b); }
inline VecF MulAdd(VecF a, VecF b, VecF c) {
  return _mm256_fmadd_ps(a, b, c);
}  // a * b + c, rounded once
inline VecF NegMulAdd(VecF a, VecF b, VecF c) {
  return _mm256_fnmadd_ps(a, b, c);
}  // c - a * b, rounded once

// Lanes [begin, end) of x, `other` elsewhere; begin and end may lie outside [0, kLanes].
inline VecF KeepLanes(VecF x, int64_t begin, int64_t end, float other) {
  const int64_t b = begin < 0 ? 0 : begin > kLanes ? kLanes : begin;
  const int64_t e = end < 0 ? 0 : end > kLanes ? kLanes : end;
  const __m256i keep = _mm256_andnot_si256(FirstLanes(b), FirstLanes(e));
  return _mm256_blendv_ps(_mm256_set1_ps(other), x, _mm256_castsi256_ps(keep));
}

// One fixed tree.
inline float SumLanes(VecF x) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
// out[i] = SumLanes(x[i]) for four vectors at once, bit for bit.
inline void SumLanesOf4(const VecF* x, float* out) {
  const auto halves = [](VecF a, VecF b) {  // four lanes of each
    return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  };
  const auto sums = [&](VecF a, VecF b) {  // in the first lane of each half
    const VecF both = halves(a, b);
    const VecF pairs = _mm256_add_ps(both, _mm256_permute_ps(both, 0x4e));
    return _mm256_add_ps(pairs, _mm256_movehdup_ps(pairs));
  };
  const VecF ab = sums(x[0], x[1]);
  const VecF cd = sums(x[2], x[3]);
  const __m128 low = _mm_unpacklo_ps(_mm256_castps256_ps128(ab), _mm256_extractf128_ps(ab, 1));
  const __m128 high = _mm_unpacklo_ps(_mm256_castps256_ps128(cd), _mm256_extractf128_ps(cd, 1));
  _mm_storeu_ps(out, _mm_movelh_ps(low, high));
}
// NaN lanes may be lost.
inline float MaxLanes(VecF x) {
  const __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
}

// 2^n for n in [-126, 127].
inline VecF PowerOfTwo(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

// e^x: relative error below 2^-22 where the result is normal, 0 below -87.33, infinity above 88.72,
// NaN for NaN; Exp(0) = 1.
inline VecF Exp(VecF x) {
  const VecF low = Broadcast(-87.33f);
  const VecF high = Broadcast(88.72283f);
  const VecF clamped = Min(high, Max(low, x));
  const __m256i n = _mm256_cvtps_epi32(Mul(clamped, Broadcast(1.44269504f)));
  const VecF nf = _mm256_cvtepi32_ps(n);
  const VecF r =
      NegMulAdd(nf, Broadcast(-2.12194440e-4f), NegMulAdd(nf, Broadcast(0.693359375f), clamped));
  VecF p = Broadcast(1.0f / 5040);
  p = MulAdd(p, r, Broadcast(1.0f / 720));
  p = MulAdd(p, r, Broadcast(1.0f / 120));
  p = MulAdd(p, r, Broadcast(1.0f / 24));
  p = MulAdd(p, r, Broadcast(1.0f / 6));
  p = MulAdd(p, r, Broadcast(0.5f));
  p = MulAdd(p, r, Broadcast(1.0f));
  p = MulAdd(p, r, Broadcast(1.0f));
  const __m256i half = _mm256_srai_epi32(n, 1);  // in two steps: 2^128 is no float
  p = Mul(Mul(p, PowerOfTwo(half)), PowerOfTwo(_mm256_sub_epi32(n, half)));
  p = _mm256_andnot_ps(_mm256_cmp_ps(x, low, _CMP_LT_OQ), p);
  return _mm256_blendv_ps(p, Broadcast(__builtin_inff()), _mm256_cmp_ps(x, high, _CMP_GT_OQ));
}

// Rounding to nearest even into 16 bits each, as tensor/float16.h does.
inline void StoreAsF16N(void* p, VecF x, int64_t n) {
  StoreBytes(p, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), 2 * n);
}
inline void StoreAsBF16N(void* p, VecF x, int64_t n) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i top = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(
      _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i result =
      _mm256_blendv_epi8(rounded, _mm256_or_si256(top, _mm256_set1_epi32(0x40)), nan);
  const __m128i packed =
      _mm_packus_epi32(_mm256_castsi256_si128(result), _mm256_extracti128_si256(result, 1));
  StoreBytes(p, packed, 2 * n);
}

// The largest magnitude of n floats; NaN if one is NaN.
inline float MaxMagnitude(const float* p, int64_t n) {
  __m256i most = _mm256_setzero_si256();
  const __m256i mask = _mm256_set1_epi32(0x7fffffff);
  for (int64_t i = 0; i < n; i += kLanes) {
    const VecF x = n - i < kLanes ? LoadF32N(p + i, n - i) : LoadF32(p + i);
    most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(x), mask));
  }
  __m128i half = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(1, 0, 3, 2)));
  half = _mm_max_epi32(half, _mm_shuffle_epi32(half, _MM_SHUFFLE(2, 3, 0, 1)));
  return _mm_cvtss_f32(_mm_castsi128_ps(half));
}

// x * factor rounded to nearest even, as bytes; |x * factor| <= 127.
inline void StoreAsI8N(int8_t* p, VecF x, float factor, int64_t n) {
  const __m256i rounded = _mm256_cvtps_epi32(Mul(x, Broadcast(factor)));
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
  StoreBytes(p, _mm_packs_epi16(words, words), n);
}

// Whole numbers: 32 bytes, 16 words or kLanes ints.
using VecI = __m256i;
constexpr int64_t kIntBytes = 32;
inline VecI LoadInts(const void* p) {  // at a multiple of kIntBytes
  return _mm256_load_si256(static_cast<const __m256i*>(p));
}
inline VecI LoadIntsU(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i_u*>(p));
}
inline void StoreInts(void* p, VecI x) { _mm256_store_si256(static_cast<__m256i*>(p), x); }
inline VecI ZeroInts() { return _mm256_setzero_si256(); }
inline VecI Broadcast8(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
inline VecI Broadcast16(short x) { return _mm256_set1_epi16(x); }
inline VecI BroadcastInt(int32_t x) { return _mm256_set1_epi32(x); }
inline VecF ToFloats(VecI x) { return _mm256_cvtepi32_ps(x); }

inline VecI SubBytes(VecI a, VecI b) { return _mm256_sub_epi8(a, b); }
inline VecI AddWords(VecI a, VecI b) { return _mm256_add_epi16(a, b); }
inline VecI SubWords(VecI a, VecI b) { return _mm256_sub_epi16(a, b); }
inline VecI MulWords(VecI a, VecI b) { return _mm256_mullo_epi16(a, b); }
inline VecI ShiftLeft16(VecI x, int n) { return _mm256_slli_epi16(x, n); }
inline VecI ShiftRight16(VecI x, int n) { return _mm256_srli_epi16(x, n); }
inline VecI ShiftRightSigned16(VecI x, int n) { return _mm256_srai_epi16(x, n); }
inline VecI ShiftLeft32(VecI x, int n) { return _mm256_slli_epi32(x, n); }

inline VecI AndBytes(VecI x, int mask) { return _mm256_and_si256(x, Broadcast8(mask)); }
// a | (b & mask).
inline VecI OrBits(VecI a, VecI b, int mask) { return _mm256_or_si256(a, AndBytes(b, mask)); }
// (a & a_mask) | (b & b_mask); the masks share no bit.
inline VecI TakeBits(VecI a, int a_mask, VecI b, int b_mask) {
  return _mm256_or_si256(AndBytes(a, a_mask), AndBytes(b, b_mask));
}
// Adds `value` to the bytes whose byte of `flags` has the bit of `bits`,
inline VecI AddWhereSet(VecI x, VecI flags, VecI bits, int value) {
  const VecI where = _mm256_cmpeq_epi8(_mm256_and_si256(flags, bits), bits);
  return _mm256_add_epi8(x, AndBytes(where, value));
}
inline VecI AddWhereSet(VecI x, VecI flags, int bit, int value) {
  return AddWhereSet(x, flags, Broadcast8(bit), value);
}
// or to those whose bit of the four bytes at `bits` is set.
inline VecI AddWhereBit(VecI x, const void* bits, int value) {
  int32_t four;
  __builtin_memcpy(&four, bits, sizeof four);
  const VecI places =
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  return AddWhereSet(x, _mm256_shuffle_epi8(BroadcastInt(four), places),
                     _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201)), value);
}
// Bytes less 128.
inline VecI FlipTopBits(VecI x) { return _mm256_xor_si256(x, Broadcast8(128)); }
// The bytes of a table, by numbers below 16.
inline VecI LookUp(__m128i table, VecI places) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), places);
}
// The lower 16 bits of each int from `even`, the upper ones from `odd`.
inline VecI OddWords(VecI even, VecI odd) { return _mm256_blend_epi16(even, odd, 0xaa); }

// The signed bytes of a slice's rows: as ints,
inline VecI WideRows(const uint8_t* rows) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(rows)));
}
// and each twice, as the upper half of 16 bits.
inline VecI SpreadRows(const uint8_t* rows) {
  const VecI places = _mm256_setr_epi64x(0x01ff01ff00ff00ff, 0x03ff03ff02ff02ff, 0x05ff05ff04ff04ff,
                                         0x07ff07ff06ff06ff);
  return LookUp(_mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(rows)), places);
}
// Rows of sixteen bytes, each twice: as it is, and with its 16 bits shifted right by four.
inline VecI LoadRowsTwice(const uint8_t* rows) {
  const VecI twice =
      _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(rows)));
  return _mm256_blend_epi32(twice, ShiftRight16(twice, 4), 0xf0);
}

// acc + the products of two words in each int.
inline VecI AddWordDots(VecI acc, VecI a, VecI b) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}
// The signed bytes of a slice's rows, as what sums of products are multiplied by: words, twice.
inline VecI FactorOf(const uint8_t* rows) { return ShiftRightSigned16(SpreadRows(rows), 8); }

// Sums of two products of bytes each, as words: the first factor unsigned, or at most 128 in
// magnitude; the other at most 127.
struct SignedBytes {
  VecI magnitude;
  VecI signs;
};
inline SignedBytes SplitSigns(VecI x) { return {_mm256_abs_epi8(x), x}; }
inline VecI ByteDots2(VecI a, VecI b) { return _mm256_maddubs_epi16(a, b); }
inline VecI ByteDots2(const SignedBytes& a, VecI b) {
  return _mm256_maddubs_epi16(a.magnitude, _mm256_sign_epi8(b, a.signs));
}
constexpr double (*kBf16Rounds)(int64_t) = nullptr;
constexpr int kPeakSums = 12;  // vectors that the registers hold, of FloatRounds

}  // namespace
}  // namespace cadre::avx2
