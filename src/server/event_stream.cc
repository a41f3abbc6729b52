#include "server/event_stream.h"

namespace cadre {

void StartEvents(HttpReply& reply) {
  reply.StartStream({.content_type = "text/event-stream",
                     .body = {},
                     .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
}

void WriteEvent(HttpReply& reply, std::string_view json) {
  std::string event;
  event.reserve(json.size() + 8);
  event += "data: ";
  event += json;
  event += "\n\n";
  reply.Write(std::move(event));
}

void FinishEvents(HttpReply& reply) {
  reply.Write("data: [DONE]\n\n");
  reply.Finish();
}

}  // namespace cadre
