// Logging to stderr through spdlog: log::Info("{} tensors", n). Results never go through here.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace cadre::log {

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

// Sends logs to stderr in the form "cadre: warning: text". `level`: trace, debug, info, warn, error
// or off. Throws Error for another word.
void Start(const std::string& level);

}  // namespace cadre::log
