#include "train/data_sources.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/json.h"

namespace cadre {

ConfigReader SourcesKey(std::vector<DataSource>& sources, const char* only_name) {
  return [&sources, only_name](const Json& value, const std::string& where) {
    sources.clear();
    if (value.is_array()) {
      sources.push_back({only_name, StringsOf(value, where)});
    } else if (value.is_object()) {
      for (const auto& [name, files] : value.items())
        sources.push_back({name, StringsOf(files, where + "." + Printable(name))});
    } else {
      throw Error("{}: must be a list of files, or an object of such lists", where);
    }
  };
}

ConfigReader WeightsKey(std::vector<DataSource>& sources) {
  return [&sources](const Json& value, const std::string& where) {
    if (!value.is_object()) throw Error("{}: must be an object of numbers", where);
    for (const auto& [key, weight] : value.items()) {
      const std::string& name = key;  // a lambda may not capture a structured binding
      const auto source = std::find_if(sources.begin(), sources.end(),
                                       [&](const DataSource& s) { return s.name == name; });
      if (source == sources.end())
        throw Error("{}: has '{}', which is none of data.train", where, Printable(name));
      if (!weight.is_number() || !(weight.get<double>() > 0) || weight.get<double>() > 1e9)
        throw Error("{}.{}: must be a number above 0", where, Printable(name));
      source->weight = weight.get<double>();
    }
    for (const auto& source : sources) {
      if (source.weight == 0)
        throw Error("{}: has no weight for '{}'; all have one or none", where,
                    Printable(source.name));
    }
  };
}

void CheckSources(const std::vector<DataSource>& sources, const std::string& key,
                  const std::string& name) {
  if (sources.empty()) throw Error("{}: {} names no file", name, key);
  for (const auto& source : sources) {
    if (source.files.empty())
      throw Error("{}: {} names no file: source '{}'", name, key, Printable(source.name));
  }
}

std::vector<std::string> PathsOf(const DataSource& source, const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& file : source.files)
    paths.push_back((std::filesystem::path(folder) / file).string());
  return paths;
}

}  // namespace cadre
