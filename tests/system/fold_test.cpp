// tern fold, and --fold at load.
#include <gmock/gmock.h>

#include <boost/json.hpp>

#include "base/test_paths.h"
#include "process.h"

namespace tern::system {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::Not;

/// Mean divergence of a model and cache from `base`.
double divergence(const std::string& model, const std::string& base,
                  std::vector<std::string> more) {
  more.insert(more.begin(), {"eval", "kld", model, "--base", base, "--json", "--kv-sinks", "0",
                             "--kv-recent", "0"});
  const auto outcome = run_tern(more);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  return json::parse(outcome.out).at("kld").at("mean").to_number<double>();
}

TEST(FoldProgram, AFoldedModelAnswersAsBefore) {
  const TemporaryFolder folder;
  const auto folded = folder.file("folded"), base = folder.file("base");
  const auto outcome = run_tern({"fold", "demo", folded});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("8 tensors rotated"));
  ASSERT_EQ(run_tern({"eval", "kld", "demo", "--kv", "f32", "--windows", "1", "--exact",
                      "--save-base", base})
                .status,
            0);
  // Rounding to BF16 once more is all that the folder loses.
  EXPECT_LT(divergence(folded, base, {"--kv", "f32"}), 1e-3);
  const auto answer = [](const std::string& model, std::vector<std::string> more) {
    more.insert(more.begin(), {"generate", model, "-p", "Solve: 17 * 23", "--temp", "0", "--kv",
                               "turbo4", "--no-think"});
    return run_tern(more).out;
  };
  EXPECT_EQ(answer(folded, {}), answer("demo", {}));
  EXPECT_EQ(answer("demo", {"--fold"}), answer("demo", {}));
}

TEST(FoldProgram, AQuantizedModelIsQuantizedOnceMoreWithAWarning) {
  const TemporaryFolder folder;
  const auto model = folder.file("model.gguf"), folded = folder.file("folded.gguf");
  ASSERT_EQ(run_tern({"convert", "demo", model, "--to", "gguf-q8_0"}).status, 0);
  const auto outcome = run_tern({"fold", model, folded});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("warning: re-quantized: 8 projections"));
  EXPECT_THAT(outcome.err, HasSubstr("--projections bf16"));
  EXPECT_THAT(outcome.out, HasSubstr("8 tensors rotated"));
  const auto generated = run_tern({"generate", folded, "-p", "Solve: 17 * 23", "--temp", "0",
                                   "--kv", "turbo4", "--no-think", "-n", "8"});
  EXPECT_EQ(generated.status, 0) << generated.err;
  const auto wide = run_tern({"fold", model, folder.file("w.gguf"), "--projections", "bf16"});
  ASSERT_EQ(wide.status, 0) << wide.err;
  EXPECT_THAT(wide.err, Not(HasSubstr("warning")));
}

TEST(FoldProgram, RefusesWhatItCannotDo) {
  const TemporaryFolder folder;
  const auto refused = [](std::vector<std::string> arguments, int status, const char* said) {
    const auto outcome = run_tern(arguments);
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(said));
  };
  refused({"fold"}, 64, "SRC");
  refused({"fold", "demo"}, 64, "DST");
  refused({"fold", "demo", folder.path().string() + "/no/such"}, 74, "cannot create");
  refused({"fold", source_dir() + "/tests/golden/model/gguf-q8_0", folder.path().string()}, 64,
          "is a folder");
  refused({"fold", "demo", folder.file("x"), "--projections", "q4_0"}, 64, "--projections");
  refused({"generate", "demo", "--fold", "-p", "x"}, 64, "rotates nothing");
  ASSERT_EQ(run_tern({"fold", "demo", folder.file("once")}).status, 0);
  refused({"fold", "demo", folder.file("once")}, 64, "exists");
  refused({"fold", folder.file("once"), folder.file("twice")}, 64, "already");
  refused({"generate", folder.file("once"), "--fold", "--kv", "turbo4", "-p", "x"}, 64, "already");
}

}  // namespace
}  // namespace tern::system
