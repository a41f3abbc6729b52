// The record of a run (metrics.jsonl) as what a report shows of it: curves and loads of experts,
// thinned out while they are added, so that the longest run takes no more room than a short one. A
// function of the lines alone, so a run that was killed and resumed has the same.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "train/router_health.h"

namespace cadre {

// A figure over the steps. Neighbouring steps share a point once there are many.
class Series {
 public:
  struct Point {
    int64_t step = 0;  // the last of its steps
    int64_t count = 0;
    double sum = 0;
    double min = std::numeric_limits<double>::infinity();
    double max = -std::numeric_limits<double>::infinity();
    double mean() const { return sum / static_cast<double>(count); }
  };

  void Add(int64_t step, double value);
  const std::vector<Point>& points() const { return points_; }  // never empty
  double last() const { return last_; }

 private:
  std::vector<Point> points_;
  int64_t stride_ = 1;  // steps to a point
  double last_ = 0;
};

// Each expert's share of its layer's choices over the steps.
class LoadHistory {
 public:
  struct Column {
    int64_t first_step = 0, last_step = 0;
    int64_t count = 0;
    std::vector<float> sums;  // [layers * experts]
  };

  // expert_load of a line. What is not of the first one's shape is passed over.
  void Add(int64_t step, const OrderedJson& expert_load);
  int64_t num_layers() const { return num_layers_; }
  int64_t num_experts() const { return num_experts_; }
  const std::vector<Column>& columns() const { return columns_; }
  double Share(const Column& column, int64_t layer, int64_t expert) const;

 private:
  int64_t num_layers_ = 0;
  int64_t num_experts_ = 0;
  std::vector<Column> columns_;
  int64_t stride_ = 1;
};

class RunRecord {
 public:
  struct Alarm {
    int64_t step = 0;
    std::string sentence;
  };

  // Adds a line of the record; one without a step above the last is passed over. Returns the alarms
  // that it sets off.
  std::vector<std::string> Add(const OrderedJson& line);

  // By name: "loss"; "load_entropy/3" for an element of a list ("/mean", "/least" and "/most" of a
  // long one); "valid/en/loss" for what lies in objects. Null where there is none.
  const Series* Find(const std::string& name) const;
  const std::map<std::string, Series>& series() const { return series_; }
  const LoadHistory& load() const { return load_; }
  const std::vector<Alarm>& alarms() const { return alarms_; }
  int64_t last_step() const { return last_step_; }  // -1: none
  // Of the validations' scores; 0: none.
  int64_t best_step() const { return best_step_; }
  double best_score() const { return best_score_; }

 private:
  void AddFigures(const std::string& name, const OrderedJson& value, int depth);
  void AddFigure(const std::string& name, double value);
  void AddList(const std::string& name, const OrderedJson& list);
  std::vector<std::string> WatchRouters(const OrderedJson& line);

  std::map<std::string, Series> series_;
  LoadHistory load_;
  RouterAlarm alarm_;
  std::vector<Alarm> alarms_;
  int64_t last_step_ = -1;
  int64_t best_step_ = 0;
  double best_score_ = std::numeric_limits<double>::infinity();
};

// The lines up to the first that cannot be read: a kill may have cut the last one short.
RunRecord ParseRunRecord(std::string_view text, const std::string& name);
// Those of a file. Throws Error for one that cannot be opened.
RunRecord ReadRunRecord(const std::string& path);

}  // namespace cadre
