// What MODEL on the command line means: a path, else the name of a model that came with the
// program or was pulled.
#pragma once

#include <string>
#include <vector>

namespace cadre {

// The folders where bundled models lie, from where the running program really is:
// <build>/../../models in a build tree, <prefix>/share/cadre/models when installed.
std::vector<std::string> BundledModelFolders();

// Where `cadre pull` puts models, as OWNER/NAME: $XDG_DATA_HOME/cadre/models, else
// ~/.local/share/cadre/models; empty where there is no home.
std::string PulledModelFolder();

// BundledModelFolders, then PulledModelFolder.
std::vector<std::string> ModelFolders();

// Throws Error when `model` is neither a path nor a name found in one of `folders`.
std::string ResolveModel(const std::string& model,
                         const std::vector<std::string>& folders = ModelFolders());

}  // namespace cadre
