// Lines over the steps of a run, as HTML with inline SVG. They take any width; labels are text
// beside the drawing, and what is drawn can be read in a table too. Computes nothing that the
// record does not have.
#pragma once

#include <string>
#include <vector>

#include "train/run_record.h"

namespace cadre {

// 12 -> "12", 0.00012 -> "1.2e-04", 12345678 -> "1.23e+07": four digits at most.
std::string Short(double value);

struct ChartLine {
  std::string label;
  const Series* series;  // null: left out
  bool dashed = false;   // of what is measured now and then
};

struct Chart {
  std::string title;
  std::string about = {};  // one sentence
  std::vector<ChartLine> lines = {};
  bool logarithmic = false;  // where all values are above 0
  bool from_zero = false;
  int64_t marked_step = 0;  // gets an upright line; 0: none
  std::string mark = {};    // what it is
};

// Empty where no line has a point. `last_step`: where the axis ends.
std::string LineChart(const Chart& chart, int64_t last_step);

}  // namespace cadre
