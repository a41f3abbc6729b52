// What Mixtral 8x7B's authors report for a task (arXiv 2401.04088), to stand beside what is
// measured. Their prompts and extraction are not published: the labels agree, not every rule.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cadre {

struct PublishedFigure {
  static constexpr int kUnsaid = -1;

  double value = 0;              // per cent, or points
  int shots = 0;                 // or kUnsaid
  std::string_view source;       // the table
  std::string_view metric = {};  // the figure's name, where it is not the task's main one
  bool is_percent = true;
};

// With that many shots, else with those that are reported. `language` as "fr", or empty. None: the
// authors report nothing that is measured so.
std::optional<PublishedFigure> FindPublished(std::string_view task, std::string_view language,
                                             int shots);

// "fr", "de", "es" or "it" where the name of the file says so as a word of its own; else empty.
std::string LanguageOf(const std::string& path);

}  // namespace cadre
