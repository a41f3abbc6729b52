#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include "base/error.h"

namespace cadre::log {

void Start(const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") {
    throw Error("log level '{}' is unknown: expected trace, debug, info, warn, error or off",
                Printable(level));
  }
  auto logger =
      std::make_shared<spdlog::logger>("cadre", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%n: %l: %v");
  logger->set_level(parsed);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace cadre::log
