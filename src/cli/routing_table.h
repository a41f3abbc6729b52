// Which experts the routers chose for each token of a text, at a few layers: collected while it is
// generated, shown as a table for a terminal or as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "model/forward.h"
#include "text/tokenizer.h"

namespace cadre {

// "0,15,31" within [0, num_layers), or first, middle and last for an empty text. Throws Error.
std::vector<int64_t> ParseLayers(const std::string& text, int64_t num_layers);

class RoutingTable {
 public:
  explicit RoutingTable(std::vector<int64_t> layers);

  // Remembers the last row of the step.
  void Observe(int64_t layer, const Routing& routing);
  // The remembered row was that of token `id`. Does nothing when no step came since the last call.
  void Commit(int32_t id);

  OrderedJson ToJson(const Tokenizer& tokenizer) const;
  // A line per token: its piece, then "expert gate%" for every choice at every layer.
  std::string ToText(const Tokenizer& tokenizer, bool colour) const;

 private:
  struct Choice {
    int32_t expert;
    float gate;
  };
  struct Row {
    int32_t id = 0;
    std::vector<std::vector<Choice>> layers;
  };
  std::string Cell(const std::vector<Choice>& choices, bool colour) const;
  size_t CellWidth() const;

  std::vector<int64_t> layers_;
  Row latest_;
  bool has_latest_ = false;
  size_t most_choices_ = 1;
  size_t expert_digits_ = 1;
  std::vector<Row> rows_;
};

}  // namespace cadre
