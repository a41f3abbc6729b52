// What `cadre plan` and `cadre bench` say of a run before it: the machine is measured with the
// device that would run, then everything follows from shapes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/shared_options.h"
#include "formats/checkpoint.h"
#include "plan/memory.h"
#include "plan/predict.h"

namespace cadre {

struct OutlookRequest {
  RunShape shape;
  RunNeeds needs;
  int64_t process_bytes = 0;               // the program without the model
  int64_t available_bytes = 0;             // without --memory: of the machine; 0: unknown
  std::vector<std::string> routing_files;  // plan/routing.h
  std::map<DType, MatrixShape> others;     // to be measured besides the model's own
};

class Outlook {
 public:
  // Takes seconds. checkpoint: the model's files, whose disk is measured; null: nothing is fetched.
  // What it is given must outlive it. Throws Error when the routing files are wrong or reading
  // fails.
  Outlook(const Model& model, const Checkpoint* checkpoint, Device& device,
          const SharedOptions& shared, const ModelOptions& run, OutlookRequest request);

  const Machine& machine() const { return machine_; }
  const RoutingStatistics& routing() const { return routing_; }
  const RunShape& shape() const { return request_.shape; }
  MemoryPlan PlanOf(const Model& model) const;
  // The same model in its own types or in others that were measured. Throws Error when it has no
  // room.
  std::pair<MemoryPlan, Prediction> For(const Model& model) const;

 private:
  Device& device_;
  const SharedOptions& shared_;
  const ModelOptions& run_;
  OutlookRequest request_;
  RoutingStatistics routing_;
  Machine machine_;
};

// --routing of both commands.
void AddRoutingFiles(CLI::App& command, std::vector<std::string>& files);

}  // namespace cadre
