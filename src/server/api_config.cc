#include "server/api_config.h"

#include <algorithm>

#include "server/api_error.h"

namespace cadre {
namespace {

std::string Loose(const std::string& name) {
  std::string loose = name.substr(name.find_last_of('/') + 1);
  for (char& c : loose) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '_' || c == '.' || c == ' ') c = '-';
  }
  const std::string suffix = "-gguf";
  if (loose.size() > suffix.size() && loose.ends_with(suffix))
    loose.resize(loose.size() - suffix.size());
  return loose;
}

}  // namespace

std::optional<int32_t> ApiConfig::ControlId(const char* piece) const {
  const std::optional<int32_t> id = tokenizer->FindPiece(piece);
  return id && tokenizer->IsControl(*id) ? id : std::nullopt;
}

bool ApiConfig::HasTools() const {
  return chat_version && *chat_version != ChatVersion::kV1 && ControlId("[TOOL_CALLS]") &&
         ControlId("[AVAILABLE_TOOLS]");
}

bool ApiConfig::HasFim() const {
  return ControlId("[PREFIX]").has_value() && ControlId("[SUFFIX]").has_value();
}

bool ApiConfig::Serves(const std::string& name) const {
  const std::string loose = Loose(name);
  if (loose.empty()) return false;
  return loose == Loose(model_id) || std::ranges::any_of(aliases, [&](const std::string& alias) {
           return loose == Loose(alias);
         });
}

void ApiConfig::CheckModel(const std::string& name) const {
  if (Serves(name)) return;
  throw ApiError(
      404, fmt::format("the model '{}' is not served here, '{}' is", Printable(name), model_id),
      "model", "model_not_found");
}

}  // namespace cadre
