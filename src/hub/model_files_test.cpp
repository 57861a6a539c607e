#include "hub/model_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tern::hub {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const ModelName kAny{"a/b", "a/b", ""};

Result<std::string> no_index() {
  return fail(ErrorCode::internal, "nobody asked for the index");
}

Result<ModelFiles> choose(const std::vector<std::string>& paths, const ModelName& name = kAny,
                          const std::string& index = "") {
  if (index.empty()) return choose_files(paths, name, no_index);
  return choose_files(paths, name, [&] { return Result<std::string>(index); });
}

ModelName of_type(std::string type, bool typed = true) {
  return {"a/b", "a/b", std::move(type), typed};
}

TEST(ChooseFiles, OfSafetensorsTakesWeightsConfigurationTokenizerAndTemplate) {
  const auto chosen = choose({".gitattributes", "README.md", "chat_template.jinja", "config.json",
                              "model.safetensors", "modeling.py", "original/x.json",
                              "pytorch_model.bin", "tokenizer.json", "training_args.bin"});
  ASSERT_TRUE(chosen) << chosen.error().message();
  EXPECT_THAT(chosen->files, ElementsAre("chat_template.jinja", "config.json", "model.safetensors",
                                         "tokenizer.json"));
  EXPECT_EQ(chosen->gguf, "");
}

TEST(ChooseFiles, TakesTheShardsThatTheIndexNamesAndNoOthers) {
  const std::string index =
      R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}})";
  const auto chosen = choose({"config.json", "model.safetensors", "model.safetensors.index.json",
                              "one.safetensors", "three.safetensors", "two.safetensors"},
                             kAny, index);
  ASSERT_TRUE(chosen) << chosen.error().message();
  EXPECT_THAT(chosen->files, ElementsAre("config.json", "model.safetensors.index.json",
                                         "one.safetensors", "two.safetensors"));
}

TEST(ChooseFiles, SaysWhichShardsAreMissing) {
  const auto chosen =
      choose({"config.json", "model.safetensors.index.json", "one.safetensors"}, kAny,
             R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})");
  ASSERT_FALSE(chosen);
  EXPECT_EQ(chosen.error().code, ErrorCode::not_found);
  EXPECT_THAT(chosen.error().what, HasSubstr("two.safetensors"));
  EXPECT_THAT(chosen.error().what, Not(HasSubstr("one.safetensors")));
  EXPECT_THAT(choose({"model.safetensors"}).error().what, HasSubstr("config.json"));
}

TEST(ChooseFiles, AnIndexThatLeadsOutOfTheFolderIsRefused) {
  for (const char* index :
       {R"({"weight_map": {"a": "../x.safetensors"}})", R"({"weight_map": {"a": 1}})",
        R"({"weight_map": []})", "[]", "{}", "not json"}) {
    const auto chosen = choose({"config.json", "model.safetensors.index.json"}, kAny, index);
    ASSERT_FALSE(chosen) << index;
    EXPECT_EQ(chosen.error().code, ErrorCode::corrupt) << index;
  }
}

TEST(ChooseFiles, OfGgufTakesTheOneThatWasAskedFor) {
  const std::vector<std::string> paths = {"README.md",     "config.json", "m-IQ4_XS.gguf",
                                          "m-Q4_K_M.gguf", "m-Q8_0.gguf", "mmproj-F16.gguf"};
  EXPECT_EQ(choose(paths, of_type("q8_0"))->gguf, "m-Q8_0.gguf");
  EXPECT_EQ(choose(paths, of_type("IQ4_XS", false))->gguf, "m-IQ4_XS.gguf");
  EXPECT_EQ(choose(paths)->gguf, "m-Q4_K_M.gguf");
  EXPECT_THAT(choose(paths)->files, ElementsAre("m-Q4_K_M.gguf"));
  const auto none = choose(paths, of_type("Q2_K"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::usage);
  EXPECT_THAT(none.error().what, HasSubstr("m-Q8_0.gguf"));
  EXPECT_EQ(choose({"a.gguf", "b.gguf"}).error().code, ErrorCode::usage);
}

TEST(ChooseFiles, AQuantizationIsAWholeWordOfTheName) {
  const std::vector<std::string> paths = {"m-IQ4_K_M.gguf", "m-Q4_K_M-v2.gguf"};
  EXPECT_EQ(choose(paths, of_type("Q4_K_M"))->gguf, "m-Q4_K_M-v2.gguf");
  EXPECT_EQ(choose({"Q4_K.gguf", "Q4_K_M.gguf"}, of_type("q4_k"))->gguf, "Q4_K.gguf");
}

TEST(ChooseFiles, TheOnlyGgufNeedNotBeCalledAsTheRepositoryIs) {
  EXPECT_EQ(choose({"model.gguf"}, of_type("Q8_0", false))->gguf, "model.gguf");
  EXPECT_EQ(choose({"model.gguf"}, of_type("Q8_0")).error().code, ErrorCode::usage);
}

TEST(ChooseFiles, OfASplitGgufTakesAllParts) {
  const std::vector<std::string> paths = {"Q4_K_M/m-Q4_K_M-00001-of-00002.gguf",
                                          "Q4_K_M/m-Q4_K_M-00002-of-00002.gguf",
                                          "Q8_0/m-Q8_0-00001-of-00002.gguf"};
  const auto chosen = choose(paths);
  ASSERT_TRUE(chosen) << chosen.error().message();
  EXPECT_EQ(chosen->gguf, paths[0]);
  EXPECT_THAT(chosen->files, ElementsAre(paths[0], paths[1]));
  const auto missing = choose(paths, of_type("Q8_0"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_THAT(missing.error().what, HasSubstr("m-Q8_0-00002-of-00002.gguf"));
}

TEST(ChooseFiles, SaysWhatThereIsInsteadOfAModel) {
  EXPECT_THAT(choose({"pytorch_model.bin"}).error().hint, HasSubstr("PyTorch"));
  EXPECT_THAT(choose({"mmproj-F16.gguf"}).error().hint, HasSubstr("images"));
  EXPECT_THAT(choose({"README.md"}).error().hint, HasSubstr("card"));
  EXPECT_EQ(choose({}).error().code, ErrorCode::not_found);
  EXPECT_EQ(choose({"config.json", "model.safetensors"}, of_type("Q8_0")).error().code,
            ErrorCode::usage);
}

TEST(SafePaths, StayInsideAFolder) {
  for (const char* path : {"a", "a/b/c.json", ".gitattributes", "a b", "..a"})
    EXPECT_TRUE(is_safe_path(path)) << path;
  for (const char* path :
       {"", "/a", "a/", "a//b", "..", "a/..", "../a", "a/../b", ".", "a\\b", "a\nb"})
    EXPECT_FALSE(is_safe_path(path)) << path;
  EXPECT_FALSE(is_safe_path(std::string(2000, 'a')));
}

RC_GTEST_PROP(ChooseFiles, NeverTakesWhatIsNotThere, (const std::vector<std::string>& words)) {
  std::vector<std::string> paths = {"config.json"};
  for (const std::string& word : words)
    for (const char* end : {".gguf", ".safetensors", "-00001-of-00002.gguf", ".json"})
      if (is_safe_path(word + end)) paths.push_back(word + end);
  const auto chosen = choose(paths);
  if (!chosen) return;
  for (const std::string& file : chosen->files)
    RC_ASSERT(std::ranges::find(paths, file) != paths.end());
}

}  // namespace
}  // namespace tern::hub
