#include "server/models_endpoint.h"

namespace cadre {
namespace {

OrderedJson Card(const ApiConfig& config, const std::string& id) {
  const bool chats = config.chat_version.has_value();
  OrderedJson aliases = OrderedJson::array();
  for (const std::string& alias : config.aliases) {
    if (alias != id) aliases.push_back(alias);
  }
  if (id != config.model_id) aliases.push_back(config.model_id);
  return {{"id", id},
          {"object", "model"},
          {"created", config.created},
          {"owned_by", "cadre"},
          {"capabilities",
           {{"completion_chat", chats},
            {"function_calling", config.HasTools()},
            {"completion_fim", config.HasFim()},
            {"fine_tuning", false},
            {"vision", false},
            {"ocr", false},
            {"classification", false},
            {"moderation", chats},
            {"audio", false},
            {"audio_transcription", false}}},
          {"name", config.model_id},
          {"description", nullptr},
          {"max_context_length", config.context_length},
          {"aliases", std::move(aliases)},
          {"deprecation", nullptr},
          {"deprecation_replacement_model", nullptr},
          {"default_model_temperature", config.default_temperature},
          {"type", "base"},
          {"cadre",
           {{"architecture", config.model->architecture},
            {"layers", config.model->num_layers},
            {"experts", config.model->router.num_experts},
            {"experts_per_token", config.model->router.top_k},
            {"dim", config.model->dim},
            {"vocabulary", config.model->vocab_size},
            {"parameters", config.model->TotalParameters()},
            {"active_parameters", config.model->ActiveParameters()}}}};
}

}  // namespace

OrderedJson ModelList(const ApiConfig& config) {
  OrderedJson data = OrderedJson::array({Card(config, config.model_id)});
  for (const std::string& alias : config.aliases) {
    if (alias != config.model_id) data.push_back(Card(config, alias));
  }
  return {{"object", "list"}, {"data", std::move(data)}};
}

OrderedJson ModelCard(const ApiConfig& config, const std::string& name) {
  config.CheckModel(name);
  return Card(config, name);
}

}  // namespace cadre
