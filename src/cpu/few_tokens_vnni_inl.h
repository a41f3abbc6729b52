// Blocks of 256 of two and three bits against a few tokens, on AVX-512 with VNNI. Such products
// come from memory as fast as their levels are unpacked, so levels stay where they lie in a byte,
// a power of two times what they are, and the sums are brought back instead: whole numbers all, so
// the bits are those of panel_dots_vnni_inl.h, which includes this.
#pragma once

#include "cpu/panel_types_inl.h"

namespace cadre::CADRE_ISA {
namespace {

// acc[r] += four levels of row r (unsigned) times four values of a token (signed), which are
// broadcast from memory. The compiler would spend an instruction on that.
inline void AddDots(VecI& acc, VecI levels, const uint8_t* values) {
  asm("vpdpbusd %2%{1to16%}, %1, %0"
      : "+v"(acc)
      : "v"(levels), "m"(*reinterpret_cast<const int32_t*>(values)));
}

constexpr int kFewTokens = 4;  // as many sums as there are registers for

// Levels in the order in which they lie: what comes kPrefetchBytes later is asked for between the
// products, since more requests at once than the first-level cache takes would hold these up.
inline VecI LoadAndAskAhead(const uint8_t* levels) {
  PrefetchRecord(levels, 64);
  return LoadInts(levels);
}

// From four rows of sixteen bytes, each row's four bytes together.
inline VecI ByRows(VecI fours) {
  const VecI lanes = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m128i bytes = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(lanes, fours), _mm512_broadcast_i32x4(bytes));
}

// A step of 128 columns. Two levels of four are four times what they are: they have sums apart.
template <int T>
struct FewQ2_K {
  VecI acc[2][T];
  FewQ2_K() { CADRE_UNROLL for (int t = 0; t < T; ++t) acc[0][t] = acc[1][t] = ZeroInts(); }
  template <int kHalf>
  void AddHalf(const uint8_t* levels, const uint8_t (*scales)[16], const uint8_t* x) {
    VecI dots[4][T];
    CADRE_UNROLL for (int g = 0; g < 4; ++g) {
      CADRE_UNROLL for (int t = 0; t < T; ++t) dots[g][t] = ZeroInts();
    }
    CADRE_UNROLL for (int j = 4 * kHalf; j < 4 * kHalf + 4; ++j) {
      const VecI low = LoadAndAskAhead(levels + 64 * j), high = ShiftRight16(low, 4);
      CADRE_UNROLL for (int g = 0; g < 4; ++g) {
        const VecI four = AndBytes(g < 2 ? low : high, g % 2 == 0 ? 3 : 12);
        CADRE_UNROLL for (int t = 0; t < T; ++t) {
          AddDots(dots[g][t], four, x + 256 * t + 32 * g + 4 * j);
        }
      }
    }
    CADRE_UNROLL for (int g = 0; g < 4; ++g) {
      // Sums of 16 bits, with their signs above them: those meet zeros.
      const VecI scale = WideRows(scales[2 * g + kHalf]);
      CADRE_UNROLL for (int t = 0; t < T; ++t) {
        acc[g % 2][t] = _mm512_dpwssd_epi32(acc[g % 2][t], dots[g][t], scale);
      }
    }
  }
  VecI Sum(int t) const { return _mm512_add_epi32(acc[0][t], _mm512_srai_epi32(acc[1][t], 2)); }
};

// out [T][16] += the minima times the sums of the values.
template <int T>
inline void AddFewMins(const uint8_t* scale_mins, const uint8_t* extras, const WideScales& s,
                       float* out) {
  VecI low[T], high[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) low[t] = high[t] = ZeroInts();
  CADRE_UNROLL for (int i = 0; i < 4; ++i) {
    const VecI mins = AndBytes(ByRows(LoadInts(scale_mins + 64 * i)), 0xf0);
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      const uint8_t* sums = extras + kWideExtraBytes * t + kWideSplitSumsAt + 4 * i;
      AddDots(low[t], mins, sums);
      AddDots(high[t], mins, sums + 16);
    }
  }
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    const VecI sum = _mm512_add_epi32(_mm512_srai_epi32(low[t], 4), _mm512_slli_epi32(high[t], 3));
    const VecF scale = BroadcastF32(extras + kWideExtraBytes * t);
    StoreF32(out + 16 * t, MulAdd(ToFloats(sum), Mul(s.min[0], scale), LoadF32(out + 16 * t)));
  }
}

template <int T>
inline void AddFewBlock(PanelQ2_K, const uint8_t* w, const uint8_t* x, float* out) {
  PrefetchRecord(w, 320);
  WideScales s;
  PanelQ2_K::LevelScales(w, s);
  FewQ2_K<T> sums;
  for (int step = 0; step < 2; ++step) {
    const uint8_t* levels = w + 320 + 512 * step;
    sums.template AddHalf<0>(levels, s.bytes + 8 * step, x + 128 * step);
    sums.template AddHalf<1>(levels, s.bytes + 8 * step, x + 128 * step);
  }
  const uint8_t* extras = x + 256 * T;
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    AddWideSums<false, 8>(sums.Sum(t), s, extras + kWideExtraBytes * t, out + 16 * t);
  }
  AddFewMins<T>(w + 64, extras, s, out);
}

// Parts kFirst and kSecond of a step of 128 columns, whose levels lie in the same bytes.
template <int T, int kFirst, int kSecond>
inline void AddFewParts(const uint8_t* levels, const uint8_t (*scales)[16], const uint8_t* starts,
                        const uint8_t* x, VecI (&acc)[2][T]) {
  VecI first[T], second[T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    first[t] = Broadcast32(starts + kWideExtraBytes * t + 4 * kFirst);
    second[t] = Broadcast32(starts + kWideExtraBytes * t + 4 * kSecond);
  }
  CADRE_UNROLL for (int j = 0; j < 4; ++j) {
    VecI a, b;
    if constexpr (kFirst < 3) {
      const VecI three = LoadInts(levels + 192 * j + 64 * kFirst);
      a = AndBytes(three, 7), b = AndBytes(three, 7 << 3);
    } else {
      a = PanelQ3_K::Levels<3>(levels - 256, 0, j),
      b = PanelQ3_K::Levels<3>(levels - 256, 0, j + 4);
    }
    CADRE_UNROLL for (int t = 0; t < T; ++t) {
      AddDots(first[t], a, x + 256 * t + 16 * kFirst + 4 * j);
      AddDots(second[t], b, x + 256 * t + 16 * kSecond + 4 * j);
    }
  }
  const auto scale = [&](int part) {
    return _mm512_maskz_mov_epi16(0x55555555, WideRows(scales[part]));
  };
  const VecI first_scale = scale(kFirst), second_scale = scale(kSecond);
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    if constexpr (kFirst < 3) second[t] = _mm512_srai_epi32(second[t], 3);
    acc[0][t] = _mm512_dpwssd_epi32(acc[0][t], first[t], first_scale);
    acc[1][t] = _mm512_dpwssd_epi32(acc[1][t], second[t], second_scale);
  }
}

template <int T>
inline void AddFewBlock(PanelQ3_K, const uint8_t* w, const uint8_t* x, float* out) {
  PrefetchRecord(w, PanelRecordOf(DType::kQ3_K).bytes);
  WideScales s;
  PanelQ3_K::Scales(w, s);
  const uint8_t* extras = x + 256 * T;
  VecI acc[2][T];
  CADRE_UNROLL for (int t = 0; t < T; ++t) acc[0][t] = acc[1][t] = ZeroInts();
  for (int step = 0; step < 2; ++step, x += 128) {
    const uint8_t* levels = w + 256 + 768 * step;
    const uint8_t* starts = extras + kWideStartsAt + 32 * step;
    const auto* scales = s.bytes + 8 * step;
    AddFewParts<T, 0, 3>(levels, scales, starts, x, acc);
    AddFewParts<T, 1, 4>(levels, scales, starts, x, acc);
    AddFewParts<T, 2, 5>(levels, scales, starts, x, acc);
    AddFewParts<T, 6, 7>(levels, scales, starts, x, acc);
  }
  CADRE_UNROLL for (int t = 0; t < T; ++t) {
    AddWideSums<false, 8>(_mm512_add_epi32(acc[0][t], acc[1][t]), s, extras + kWideExtraBytes * t,
                          out + 16 * t);
  }
}

}  // namespace
}  // namespace cadre::CADRE_ISA
