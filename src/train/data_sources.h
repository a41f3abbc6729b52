// Named sources of training data with their weights, as configurations say them.
#pragma once

#include <string>
#include <vector>

#include "train/config_keys.h"

namespace cadre {

// Files that are drawn from together.
struct DataSource {
  std::string name;
  std::vector<std::string> files;
  // Its share of what is drawn, beside the others' weights; 0: as much as it has.
  double weight = 0;
};

// A list of files, which is one source called `only_name`, or an object of lists by the name of
// their source.
ConfigReader SourcesKey(std::vector<DataSource>& sources, const char* only_name);

// An object: name of a source to its weight. To be read after the sources; all have one or none.
ConfigReader WeightsKey(std::vector<DataSource>& sources);

// Throws Error when there are none, or one without files.
void CheckSources(const std::vector<DataSource>& sources, const std::string& key,
                  const std::string& name);

// The files of a source, in the folder.
std::vector<std::string> PathsOf(const DataSource& source, const std::string& folder);

}  // namespace cadre
