#include "server/web_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "server/web_files.h"

namespace cadre {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Header(const HttpResponse& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return {};
}

std::filesystem::path Source() {
  const char* root = std::getenv("CADRE_SOURCE_DIR");
  return std::filesystem::path(root == nullptr ? "." : root) / "src" / "server" / "web";
}

TEST(WebPage, TheRootIsThePage) {
  const auto root = FindWebFile("/");
  ASSERT_TRUE(root.has_value());
  EXPECT_EQ(root->status, 200);
  EXPECT_EQ(root->content_type, "text/html; charset=utf-8");
  EXPECT_THAT(root->body, HasSubstr("<!doctype html>"));
  EXPECT_EQ(root->body, FindWebFile("/index.html")->body);
  EXPECT_EQ(root->body, FindWebFile("")->body);
}

TEST(WebPage, OnlyEmbeddedNamesAreFound) {
  for (const char* path : {"/nothing", "/index.html/", "/../web/index.html", "index.html", "//",
                           "/v1", "/INDEX.HTML", "/app", "/app.js.map", "/zzz"}) {
    EXPECT_FALSE(FindWebFile(path).has_value()) << path;
  }
  EXPECT_FALSE(FindWebFile(std::string_view("/app.js\0", 8)).has_value());
}

TEST(WebPage, EveryFileOfTheSourcesIsThereByteForByte) {
  size_t number = 0;
  for (const auto& entry : std::filesystem::directory_iterator(Source())) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const auto found = FindWebFile("/" + entry.path().filename().string());
    ASSERT_TRUE(found.has_value()) << entry.path();
    EXPECT_EQ(found->body, bytes) << entry.path();
    ++number;
  }
  EXPECT_EQ(number, WebFiles().size());
  EXPECT_GT(number, 3u);
}

TEST(WebPage, ContentTypesAreThoseABrowserRunsModulesWith) {
  EXPECT_EQ(FindWebFile("/app.js")->content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(FindWebFile("/style.css")->content_type, "text/css; charset=utf-8");
  EXPECT_EQ(FindWebFile("/icon.svg")->content_type, "image/svg+xml");
}

TEST(WebPage, EveryAnswerForbidsWhatThePageDoesNotNeed) {
  for (const EmbeddedFile& file : WebFiles()) {
    const auto found = FindWebFile(file.path);
    ASSERT_TRUE(found.has_value()) << file.path;
    const std::string policy = Header(*found, "Content-Security-Policy");
    EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
    EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'"));
    EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
    EXPECT_THAT(policy, Not(HasSubstr("http")));
    EXPECT_EQ(Header(*found, "X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(Header(*found, "X-Frame-Options"), "DENY");
    EXPECT_EQ(Header(*found, "Referrer-Policy"), "no-referrer");
    EXPECT_EQ(Header(*found, "Cache-Control"), "no-cache");
  }
}

TEST(WebPage, ETagsFollowTheBytes) {
  std::set<std::string> tags;
  for (const EmbeddedFile& file : WebFiles()) {
    const std::string tag = Header(*FindWebFile(file.path), "ETag");
    EXPECT_TRUE(std::regex_match(tag, std::regex("\"[0-9a-f]{32}\""))) << tag;
    EXPECT_TRUE(tags.insert(tag).second) << file.path;
  }
}

TEST(WebPage, ABrowserThatHasTheFileIsNotSentItAgain) {
  const auto first = FindWebFile("/app.js");
  const std::string tag = Header(*first, "ETag");
  for (const std::string& known : {tag, "W/" + tag, "\"other\", " + tag, std::string("*")}) {
    const auto again = FindWebFile("/app.js", known);
    EXPECT_EQ(again->status, 304) << known;
    EXPECT_TRUE(again->body.empty() && again->content_type.empty()) << known;
    EXPECT_EQ(Header(*again, "ETag"), tag);
  }
  EXPECT_EQ(FindWebFile("/app.js", Header(*FindWebFile("/"), "ETag"))->status, 200);
}

// What the policy would block anyway must not be there to begin with; and no file may name another
// host but in an XML namespace.
TEST(WebPage, NoFileReachesOutside) {
  const std::regex inline_code("<script(?![^>]*src=)|<style|\\son[a-z]+=|\\sstyle=|javascript:");
  const std::regex markup("innerHTML|outerHTML|insertAdjacentHTML|document\\.write|\\beval\\(");
  const std::regex outside("(https?:)?//[a-z0-9-]+\\.[a-z]");
  for (const EmbeddedFile& file : WebFiles()) {
    const std::string text = std::regex_replace(std::string(file.bytes),
                                                std::regex("http://www\\.w3\\.org/2000/svg"), "");
    EXPECT_FALSE(std::regex_search(text, outside)) << file.path;
    EXPECT_FALSE(std::regex_search(text, markup)) << file.path;
    if (file.path.ends_with(".html")) {
      EXPECT_FALSE(std::regex_search(text, inline_code)) << file.path;
    }
  }
}

// Every module a file imports, and every file the page names, is embedded too.
TEST(WebPage, WhatThePageNamesIsThere) {
  const std::regex named("(?:from|import) \"\\.(/[a-z_]+\\.js)\"|(?:src|href)=\"(/[a-z_.]+)\"");
  std::set<std::string> names;
  for (const EmbeddedFile& file : WebFiles()) {
    const std::string text(file.bytes);
    for (std::sregex_iterator i(text.begin(), text.end(), named), end; i != end; ++i) {
      names.insert((*i)[1].matched ? (*i)[1].str() : (*i)[2].str());
    }
  }
  EXPECT_GT(names.size(), 5u);
  for (const std::string& name : names) {
    EXPECT_TRUE(FindWebFile(name).has_value()) << name;
  }
  for (const EmbeddedFile& file : WebFiles()) {
    EXPECT_TRUE(file.path == "/index.html" || names.contains(std::string(file.path)))
        << file.path << " is named by no file";
  }
}

}  // namespace
}  // namespace cadre
