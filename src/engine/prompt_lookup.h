// Guesses what comes next from what came before: where the last few tokens stood earlier, what
// followed them there. No second model; a guess costs nothing but its verification. How long a
// guess is worth verifying is decided from what steps were measured to take and how often guesses
// were right. Source: prompt lookup decoding (Saxena 2023).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace cadre {

// At most max_tokens that followed the latest earlier place of the longest known ending (4 to 2
// tokens); none where there is no such place.
std::span<const int32_t> LookUpDraft(std::span<const int32_t> ids, int64_t max_tokens);

// How often one request's guesses are right.
class DraftRecord {
 public:
  void Add(int64_t drafted, int64_t accepted);
  double acceptance() const { return acceptance_; }  // probability that the next guess is right
  // Guesses that never pay are tried again now and then.
  bool IsDue() const { return idle_ >= kRetry; }
  void Skip() { ++idle_; }

 private:
  static constexpr int kRetry = 32;
  double acceptance_ = 0.5;
  int idle_ = 0;
};

// What a step of so many rows takes, from the steps that there were.
class StepTimes {
 public:
  void Add(int64_t rows, double seconds);
  // Seconds; 0: not known. Between known ones by interpolation, beyond the largest by its slope.
  double Predict(int64_t rows) const;

 private:
  std::map<int64_t, double> seconds_;  // by rows; moving means
};

// The number of guessed tokens, at most max_draft, that gives most tokens per second in a step of
// `rows` other rows and the request's own; 0: none.
int64_t BestDraft(const StepTimes& times, int64_t rows, double acceptance, int64_t max_draft);

}  // namespace cadre
