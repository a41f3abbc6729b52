// Vectors of 16 floats and 64 bytes on AVX-512 (F, BW, DQ, VL; and VNNI, where the file is compiled
// for it), under the names that every simd_*_inl.h gives. Include it only from a *_avx512.cc,
// *_avx512bw.cc or *_amx.cc, and put what uses it into the same pair of namespaces: everything here
// is local to its object file, or the linker could hand AVX-512 code to a machine without it. No
// standard library inline functions for the same reason.
#pragma once

#include <immintrin.h>

#include <cstdint>

#ifdef __AVX512VNNI__
#define CADRE_ISA avx512
#define CADRE_ISA_NAME "avx512"
#else
#define CADRE_ISA avx512bw
#define CADRE_ISA_NAME "avx512bw"
#endif

namespace cadre::CADRE_ISA {
namespace {

using VecF = __m512;  // kLanes floats
constexpr int64_t kLanes = 16;
constexpr const char* kIsaName = CADRE_ISA_NAME;
// Register tiles of this ISA: accumulators of a dot product (rows x tokens), score vectors of four
// heads.
constexpr int kTileRows = 4;
constexpr int kFloatTileTokens = 6;
constexpr int kHeadVecs = 4;

inline __mmask16 FirstLanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

inline VecF Zero() { return _mm512_setzero_ps(); }
inline VecF Broadcast(float x) { return _mm512_set1_ps(x); }
// Any alignment everywhere. ...N: the first n lanes, 0 <= n <= kLanes; loads give 0 in the others,
// stores leave them alone.
inline VecF LoadF32(const void* p) { return _mm512_loadu_ps(p); }
inline VecF LoadF32N(const void* p, int64_t n) { return _mm512_maskz_loadu_ps(FirstLanes(n), p); }
inline void StoreF32(float* p, VecF x) { _mm512_storeu_ps(p, x); }
inline void StoreF32N(float* p, VecF x, int64_t n) { _mm512_mask_storeu_ps(p, FirstLanes(n), x); }

inline VecF FromF16(__m256i x) { return _mm512_cvtph_ps(x); }
inline VecF FromBF16(__m256i x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}
inline VecF FromI8(__m128i x) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(x)); }
inline VecF LoadF16(const void* p) {
  return FromF16(_mm256_loadu_si256(static_cast<const __m256i_u*>(p)));
}
inline VecF LoadBF16(const void* p) {
  return FromBF16(_mm256_loadu_si256(static_cast<const __m256i_u*>(p)));
}
inline VecF LoadI8(const void* p) {
  return FromI8(_mm_loadu_si128(static_cast<const __m128i_u*>(p)));
}
inline VecF LoadF16N(const void* p, int64_t n) {
  return FromF16(_mm256_maskz_loadu_epi16(FirstLanes(n), p));
}
inline VecF LoadBF16N(const void* p, int64_t n) {
  return FromBF16(_mm256_maskz_loadu_epi16(FirstLanes(n), p));
}
inline VecF LoadI8N(const void* p, int64_t n) {
  return FromI8(_mm_maskz_loadu_epi8(FirstLanes(n), p));
}

inline float OneF16(const void* p) {
  unsigned short bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return _cvtsh_ss(bits);
}

inline VecF Add(VecF a, VecF b) { return _mm512_add_ps(a, b); }
inline VecF Sub(VecF a, VecF b) { return _mm512_sub_ps(a, b); }
inline VecF Mul(VecF a, VecF b) { return _mm512_mul_ps(a, b); }
inline VecF Div(VecF a, VecF b) { return _mm512_div_ps(a, b); }
// The second operand where either is NaN.
inline VecF Max(VecF a, VecF b) { return _mm512_max_ps(a, b); }
inline VecF Min(VecF a, VecF b) { return _mm512_min_ps(a, b); }
inline VecF MulAdd(VecF a, VecF b, VecF c) {
  return _mm512_fmadd_ps(a, b, c);
}  // a * b + c, rounded once
inline VecF NegMulAdd(VecF a, VecF b, VecF c) {
  return _mm512_fnmadd_ps(a, b, c);
}  // c - a * b, rounded once

// Lanes [begin, end) of x, `other` elsewhere; begin and end may lie outside [0, kLanes].
inline VecF KeepLanes(VecF x, int64_t begin, int64_t end, float other) {
  const int64_t b = begin < 0 ? 0 : begin > kLanes ? kLanes : begin;
  const int64_t e = end < b ? b : end > kLanes ? kLanes : end;
  const auto mask = static_cast<__mmask16>(FirstLanes(e) & ~FirstLanes(b));
  return _mm512_mask_blend_ps(mask, _mm512_set1_ps(other), x);
}

// One fixed tree.
inline float SumLanes(VecF x) {
  const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
// out[i] = SumLanes(x[i]) for four vectors at once, bit for bit.
inline void SumLanesOf4(const VecF* x, float* out) {
  const auto halves = [](VecF a, VecF b) {  // eight lanes of each
    return _mm512_add_ps(_mm512_insertf32x8(a, _mm512_castps512_ps256(b), 1),
                         _mm512_shuffle_f32x4(a, b, 0xee));
  };
  const VecF ab = halves(x[0], x[1]);
  const VecF cd = halves(x[2], x[3]);
  const VecF quarters =
      _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
  const VecF pairs = _mm512_add_ps(quarters, _mm512_permute_ps(quarters, 0x4e));
  const VecF sums = _mm512_add_ps(pairs, _mm512_movehdup_ps(pairs));
  const __m512i first_of_each = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
  _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_permutexvar_ps(first_of_each, sums)));
}
// NaN lanes may be lost.
inline float MaxLanes(VecF x) { return _mm512_reduce_max_ps(x); }

// e^x: relative error below 2^-22 where the result is normal, 0 below -87.33, infinity above 88.72,
// NaN for NaN; Exp(0) = 1.
inline VecF Exp(VecF x) {
  const VecF low = Broadcast(-87.33f);
  const VecF high = Broadcast(88.72283f);
  const VecF clamped = Min(high, Max(low, x));
  const __m512i n = _mm512_cvtps_epi32(Mul(clamped, Broadcast(1.44269504f)));
  const VecF nf = _mm512_cvtepi32_ps(n);
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
  p = _mm512_scalef_ps(p, nf);
  p = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, low, _CMP_LT_OQ), p, Zero());
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, high, _CMP_GT_OQ), p,
                              Broadcast(__builtin_inff()));
}

// Rounding to nearest even into 16 bits each, as tensor/float16.h does.
inline void StoreAsF16N(void* p, VecF x, int64_t n) {
  _mm256_mask_storeu_epi16(p, FirstLanes(n),
                           _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void StoreAsBF16N(void* p, VecF x, int64_t n) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i top = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_srli_epi32(
      _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512i result = _mm512_mask_or_epi32(rounded, nan, top, _mm512_set1_epi32(0x40));
  _mm256_mask_storeu_epi16(p, FirstLanes(n), _mm512_cvtepi32_epi16(result));
}

// The largest magnitude of n floats; NaN if one is NaN.
inline float MaxMagnitude(const float* p, int64_t n) {
  __m512i most = _mm512_setzero_si512();
  const __m512i mask = _mm512_set1_epi32(0x7fffffff);
  for (int64_t i = 0; i < n; i += kLanes) {
    const VecF x = LoadF32N(p + i, n - i < kLanes ? n - i : kLanes);
    most = _mm512_max_epi32(most, _mm512_and_si512(_mm512_castps_si512(x), mask));
  }
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(most))));
}

// x * factor rounded to nearest even, as bytes; |x * factor| <= 127.
inline void StoreAsI8N(int8_t* p, VecF x, float factor, int64_t n) {
  const __m512i rounded = _mm512_cvtps_epi32(Mul(x, Broadcast(factor)));
  _mm_mask_storeu_epi8(p, FirstLanes(n), _mm512_cvtsepi32_epi8(rounded));
}

// Whole numbers: 64 bytes, 32 words or kLanes ints.
using VecI = __m512i;
constexpr int64_t kIntBytes = 64;
inline VecI LoadInts(const void* p) { return _mm512_load_si512(p); }  // at a multiple of kIntBytes
inline VecI LoadIntsU(const void* p) { return _mm512_loadu_si512(p); }
inline void StoreInts(void* p, VecI x) { _mm512_store_si512(p, x); }
inline VecI ZeroInts() { return _mm512_setzero_si512(); }
inline VecI Broadcast8(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
inline VecI Broadcast16(short x) { return _mm512_set1_epi16(x); }
inline VecI BroadcastInt(int32_t x) { return _mm512_set1_epi32(x); }
inline VecF ToFloats(VecI x) { return _mm512_cvtepi32_ps(x); }

inline VecI SubBytes(VecI a, VecI b) { return _mm512_sub_epi8(a, b); }
inline VecI AddWords(VecI a, VecI b) { return _mm512_add_epi16(a, b); }
inline VecI SubWords(VecI a, VecI b) { return _mm512_sub_epi16(a, b); }
inline VecI MulWords(VecI a, VecI b) { return _mm512_mullo_epi16(a, b); }
inline VecI ShiftLeft16(VecI x, int n) { return _mm512_slli_epi16(x, static_cast<unsigned>(n)); }
inline VecI ShiftRight16(VecI x, int n) { return _mm512_srli_epi16(x, static_cast<unsigned>(n)); }
inline VecI ShiftRightSigned16(VecI x, int n) {
  return _mm512_srai_epi16(x, static_cast<unsigned>(n));
}
inline VecI ShiftLeft32(VecI x, int n) { return _mm512_slli_epi32(x, static_cast<unsigned>(n)); }

inline VecI AndBytes(VecI x, int mask) { return _mm512_and_si512(x, Broadcast8(mask)); }
// a | (b & mask).
inline VecI OrBits(VecI a, VecI b, int mask) {
  return _mm512_ternarylogic_epi32(a, b, Broadcast8(mask), 0xf8);
}
// (a & a_mask) | (b & b_mask); the masks share no bit.
inline VecI TakeBits(VecI a, int a_mask, VecI b, int b_mask) {
  const VecI both = _mm512_ternarylogic_epi32(Broadcast8(b_mask), b, a, 0xca);
  return AndBytes(both, a_mask | b_mask);
}
// Adds `value` to the bytes whose bit of the eight bytes at `bits` is set,
inline VecI AddWhereBit(VecI x, const void* bits, int value) {
  __mmask64 where;
  __builtin_memcpy(&where, bits, sizeof where);
  return _mm512_mask_add_epi8(x, where, x, Broadcast8(value));
}
// or to those whose byte of `flags` has the bit `bit`.
inline VecI AddWhereSet(VecI x, VecI flags, int bit, int value) {
  const __mmask64 where = _mm512_test_epi8_mask(flags, Broadcast8(bit));
  return _mm512_mask_add_epi8(x, where, x, Broadcast8(value));
}
// Bytes less 128.
inline VecI FlipTopBits(VecI x) { return _mm512_xor_si512(x, Broadcast8(128)); }
// The bytes of a table, by numbers below 16.
inline VecI LookUp(__m128i table, VecI places) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), places);
}
// The lower 16 bits of each int from `even`, the upper ones from `odd`.
inline VecI OddWords(VecI even, VecI odd) { return _mm512_mask_blend_epi16(0xaaaaaaaa, even, odd); }

// The signed bytes of a slice's rows: as ints,
inline VecI WideRows(const uint8_t* rows) {
  return _mm512_cvtepi8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(rows)));
}
// and each twice, as the upper half of 16 bits.
inline VecI SpreadRows(const uint8_t* rows) {
  const VecI places = _mm512_setr_epi64(0x01ff01ff00ff00ff, 0x03ff03ff02ff02ff, 0x05ff05ff04ff04ff,
                                        0x07ff07ff06ff06ff, 0x09ff09ff08ff08ff, 0x0bff0bff0aff0aff,
                                        0x0dff0dff0cff0cff, 0x0fff0fff0eff0eff);
  return LookUp(_mm_load_si128(reinterpret_cast<const __m128i*>(rows)), places);
}
// Rows of sixteen bytes, each twice: as it is, and with its 16 bits shifted right by four.
inline VecI LoadRowsTwice(const uint8_t* rows) {
  constexpr int64_t kFours = 0x0004000400040004;
  const VecI two =
      _mm512_castsi256_si512(_mm256_load_si256(reinterpret_cast<const __m256i*>(rows)));
  return _mm512_srlv_epi16(_mm512_shuffle_i32x4(two, two, 0x50),
                           _mm512_setr_epi64(0, 0, kFours, kFours, 0, 0, kFours, kFours));
}

#ifdef __AVX512VNNI__
// acc + the products of two words in each int.
inline VecI AddWordDots(VecI acc, VecI a, VecI b) { return _mm512_dpwssd_epi32(acc, a, b); }
// The signed bytes of a slice's rows, as what sums of products are multiplied by: ints.
inline VecI FactorOf(const uint8_t* rows) { return WideRows(rows); }
// Needs AVX512_BF16, which the caller makes sure of.
inline double Bf16Rounds(int64_t rounds) {
  static int32_t value;
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile(
        "vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm0\n vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm1\n"
        "vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm2\n vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm3\n"
        "vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm4\n vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm5\n"
        "vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm6\n vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm7\n"
        "vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm8\n vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm9\n"
        "vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm10\n vdpbf16ps %0%{1to16%}, %%zmm31, %%zmm11\n"
        :
        : "m"(value)
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm31");
  }
  return static_cast<double>(rounds) * 12 * 32 * 2;
}
constexpr double (*kBf16Rounds)(int64_t) = Bf16Rounds;

#else
inline VecI AddWordDots(VecI acc, VecI a, VecI b) {
  return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b));
}
// The signed bytes of a slice's rows, as what sums of products are multiplied by: words, twice.
inline VecI FactorOf(const uint8_t* rows) { return ShiftRightSigned16(SpreadRows(rows), 8); }

// Sums of two products of bytes each, as words: the first factor unsigned, or at most 128 in
// magnitude; the other at most 127.
struct SignedBytes {
  VecI magnitude;
  __mmask64 negative;
};
inline SignedBytes SplitSigns(VecI x) { return {_mm512_abs_epi8(x), _mm512_movepi8_mask(x)}; }
inline VecI ByteDots2(VecI a, VecI b) { return _mm512_maddubs_epi16(a, b); }
inline VecI ByteDots2(const SignedBytes& a, VecI b) {
  const VecI signed_b = _mm512_mask_sub_epi8(b, a.negative, _mm512_setzero_si512(), b);
  return _mm512_maddubs_epi16(a.magnitude, signed_b);
}
constexpr int kWordTileTokens = 12;
constexpr double (*kBf16Rounds)(int64_t) = nullptr;
#endif

constexpr int kPeakSums = 12;  // vectors that the registers hold, of FloatRounds

// The 16 x 16 matrix of these rows, transposed: pairs, fours within 128 bits, then the 128-bit
// blocks.
inline void TransposeLanes(VecF (&rows)[kLanes]) {
  VecF pairs[kLanes], fours[kLanes];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512d low = _mm512_castps_pd(pairs[i + j]), high = _mm512_castps_pd(pairs[i + j + 2]);
      fours[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      fours[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const VecF even_top = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0x88);
    const VecF odd_top = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0xdd);
    const VecF even_bottom = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0x88);
    const VecF odd_bottom = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0xdd);
    rows[j] = _mm512_shuffle_f32x4(even_top, even_bottom, 0x88);
    rows[4 + j] = _mm512_shuffle_f32x4(odd_top, odd_bottom, 0x88);
    rows[8 + j] = _mm512_shuffle_f32x4(even_top, even_bottom, 0xdd);
    rows[12 + j] = _mm512_shuffle_f32x4(odd_top, odd_bottom, 0xdd);
  }
}

}  // namespace
}  // namespace cadre::CADRE_ISA
