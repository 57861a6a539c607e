#include "hub/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "hub/cache.h"
#include "hub/model_files.h"

namespace tern::hub {
namespace {

using ::testing::HasSubstr;

const std::string kCommit(40, 'a');

std::string answer(const std::string& siblings) {
  return R"({"id": "a/b", "sha": ")" + kCommit + R"(", "siblings": )" + siblings + "}";
}

TEST(Repository, IsReadFromTheAnswerOfTheHub) {
  const auto read = parse_repository(
      answer(R"([{"rfilename": "config.json", "size": 12, "blobId": ")" + std::string(40, 'b') +
             R"("}, {"rfilename": "x/model.safetensors", "size": 99, "blobId": ")" +
             std::string(40, 'c') + R"(", "lfs": {"sha256": ")" + std::string(64, 'd') +
             R"(", "size": 99, "pointerSize": 130}}, {"rfilename": "bare.json"}])"),
      "a/b");
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->commit, kCommit);
  ASSERT_EQ(read->files.size(), 3u);
  EXPECT_EQ(read->files[0].etag, std::string(40, 'b'));
  EXPECT_EQ(read->files[1].etag, std::string(64, 'd'));
  EXPECT_EQ(read->files[1].size, 99u);
  EXPECT_EQ(read->files[2].etag, "");
}

TEST(Repository, FilesThatLeadOutOfTheFolderAreRefused) {
  for (const char* path :
       {"../x", "/etc/passwd", "a/../../x", "", "a\\\\b", "a/./b", "a\\u0000b"}) {
    const auto read =
        parse_repository(answer(R"([{"rfilename": ")" + std::string(path) + R"("}])"), "a/b");
    ASSERT_FALSE(read) << path;
    EXPECT_EQ(read.error().code, ErrorCode::corrupt) << path;
  }
}

TEST(Repository, WhatMakesNoSenseIsRefused) {
  for (const std::string& text :
       {std::string("<html>"), std::string("[]"), std::string("{}"),
        std::string(R"({"sha": "main", "siblings": []})"), answer("{}"), answer("[1]"),
        answer(R"([{"rfilename": "a", "size": -1}])"),
        answer(R"([{"rfilename": "a", "size": "x"}])"),
        answer(R"([{"rfilename": "a", "size": 1, "blobId": "../x"}])"),
        answer(R"([{"rfilename": "a", "size": 1, "lfs": {"sha256": "a/b"}}])"),
        answer(R"([{"rfilename": "a"}, {"rfilename": "a"}])")}) {
    const auto read = parse_repository(text, "a/b");
    ASSERT_FALSE(read) << text;
    EXPECT_NE(read.error().message(), "");
  }
  const auto huge = parse_repository(
      answer(R"([{"rfilename": "a", "size": 99999999999999, "blobId": "b"}])"), "a/b");
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, ErrorCode::too_large);
}

RC_GTEST_PROP(Repository, ADamagedAnswerIsReadOrRefusedButNamesNothingOutside, ()) {
  std::string text = answer(R"([{"rfilename": "a/b.json", "size": 12, "blobId": ")" + kCommit +
                            R"("}, {"rfilename": "c", "size": 3, "lfs": {"sha256": "x"}}])");
  const int changes = *rc::gen::inRange(1, 6);
  for (int i = 0; i < changes; ++i) {
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    text[at] = *rc::gen::elementOf(std::string("\"{}[]:,./\\0a -"));
  }
  const auto read = parse_repository(text, "a/b");
  if (!read) return;
  RC_ASSERT(is_commit(read->commit));
  for (const RemoteFile& file : read->files) {
    RC_ASSERT(is_safe_path(file.path));
    RC_ASSERT(file.etag.empty() || is_etag(file.etag));
    RC_ASSERT(file.size <= kMaxFileBytes);
  }
}

TEST(Addresses, ArePercentEncoded) {
  EXPECT_EQ(percent_encoded("refs/pr/1", false), "refs%2Fpr%2F1");
  EXPECT_EQ(percent_encoded("a b/c#d?e.json", true), "a%20b/c%23d%3Fe.json");
  EXPECT_EQ(percent_encoded("\xc3\xa9", true), "%C3%A9");
}

TEST(Addresses, OfFilesArePinnedToTheCommit) {
  Environment environment;
  environment.endpoint = "http://127.0.0.1:1";
  EXPECT_EQ(file_url(environment, {"a/b", kCommit, {}}, "x y.json"),
            "http://127.0.0.1:1/a/b/resolve/" + kCommit + "/x%20y.json");
}

TEST(Retries, WaitLongerEachTimeAndEnd) {
  Retries retries;
  std::chrono::milliseconds last{0};
  int tries = 1;
  for (auto wait = retries.next(); wait; wait = retries.next(), ++tries) {
    EXPECT_GT(*wait, last);
    last = *wait;
  }
  EXPECT_EQ(tries, Retries::kTries);
  retries.progress();
  EXPECT_EQ(retries.next(7), std::chrono::seconds(7));
  EXPECT_EQ(retries.next(1'000'000), std::chrono::seconds(120));
}

TEST(Errors, OfTheHubSayWhatToDo) {
  Environment environment;
  environment.endpoint = "https://hub.example";
  const auto gated = http_error(403, {{"x-error-code", "GatedRepo"}}, "a/b", environment);
  EXPECT_EQ(gated.code, ErrorCode::denied);
  EXPECT_THAT(gated.hint, HasSubstr("HF_TOKEN"));
  EXPECT_THAT(gated.hint, HasSubstr("https://hub.example/settings/tokens"));
  EXPECT_EQ(http_error(401, {{"x-error-code", "RepoNotFound"}}, "a/b", environment).code,
            ErrorCode::not_found);
  EXPECT_EQ(http_error(404, {{"x-error-code", "RevisionNotFound"}}, "a/b", environment).what,
            "the repository has no such revision");
  EXPECT_EQ(http_error(401, {}, "a/b", environment).code, ErrorCode::denied);
  EXPECT_EQ(http_error(503, {}, "a/b", environment).code, ErrorCode::unreachable);
  EXPECT_TRUE(may_pass(429));
  EXPECT_FALSE(may_pass(404));
}

}  // namespace
}  // namespace tern::hub
