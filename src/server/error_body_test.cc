#include "server/error_body.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace cadre {
namespace {

TEST(ErrorBody, SpeaksBothDialects) {
  const Json body = Json::parse(ErrorBody(400, "too long", "", "messages", "context_length"));
  EXPECT_EQ(body["object"], "error");
  for (const Json& error : {body, body["error"]}) {
    EXPECT_EQ(error["message"], "too long");
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_EQ(error["param"], "messages");
    EXPECT_EQ(error["code"], "context_length");
  }
  EXPECT_FALSE(body.contains("detail"));
}

TEST(ErrorBody, HasNullWhereThereIsNothingToSay) {
  const Json body = Json::parse(ErrorBody(500, "broken"));
  EXPECT_EQ(body["error"]["type"], "server_error");
  EXPECT_TRUE(body["error"]["param"].is_null());
  EXPECT_TRUE(body["code"].is_null());
}

TEST(ErrorBody, HasAListOfDetailsWith422) {
  const Json body = Json::parse(ErrorBody(422, "no", "", "messages.0.content", "missing"));
  ASSERT_TRUE(body["detail"].is_array());
  EXPECT_EQ(body["detail"][0]["loc"], Json({"body", "messages", 0, "content"}));
  EXPECT_EQ(body["detail"][0]["msg"], "no");
  EXPECT_EQ(body["detail"][0]["type"], "missing");
  EXPECT_EQ(Json::parse(ErrorBody(422, "no"))["detail"][0]["loc"], Json({"body"}));
}

TEST(ErrorBody, IsValidJsonWhateverTheMessage) {
  const Json body = Json::parse(ErrorBody(400, "a\"\n\xff\xc3"));
  EXPECT_EQ(body["message"], "a\"\n\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(ErrorBody, TellsWhenToTryAgain) {
  const HttpResponse busy = ErrorResponse(429, "full");
  ASSERT_EQ(busy.headers.size(), 1u);
  EXPECT_EQ(busy.headers[0].first, "Retry-After");
  EXPECT_TRUE(ErrorResponse(404, "no").headers.empty());
}

}  // namespace
}  // namespace cadre
