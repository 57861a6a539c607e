#include "model/forward.h"

#include <gtest/gtest.h>

#include "model/golden_case.h"

namespace tern::model {
namespace {

/// Chooses an instruction set for the life of a test.
class WithIsa {
 public:
  explicit WithIsa(Isa isa) : before_(active_isa()) { EXPECT_TRUE(select_isa(name(isa))); }
  ~WithIsa() { (void)select_isa(name(before_)); }

 private:
  Isa before_;
};

struct Loaded {
  formats::Checkpoint checkpoint;
  Model model;
  Golden golden;
};

Loaded load(const std::string& name) {
  auto checkpoint = formats::Checkpoint::open(golden_folder(name));
  if (!checkpoint) throw std::runtime_error(checkpoint.error().message());
  auto model = Model::load(*checkpoint);
  if (!model) throw std::runtime_error(model.error().message());
  return {std::move(*checkpoint), std::move(*model),
          read_golden(golden_folder(name) / "golden.safetensors")};
}

class GoldenModel : public testing::TestWithParam<std::tuple<const char*, Isa>> {};

TEST_P(GoldenModel, GivesTheLogitsOfTransformersHoweverThePromptIsCut) {
  const auto [name, isa] = GetParam();
  if (!supported(isa)) GTEST_SKIP() << "this CPU has no " << tern::name(isa);
  const WithIsa with(isa);
  Loaded loaded = load(name);
  ThreadPool pool(2);
  const auto whole = all_logits(loaded.model, loaded.golden.tokens, 0, pool);
  ASSERT_TRUE(whole) << whole.error().message();
  EXPECT_LE(relative_error(*whole, loaded.golden.logits), 1e-5);
  for (const std::size_t cut : {1, 7, 64}) {
    const auto cut_up = all_logits(loaded.model, loaded.golden.tokens, cut, pool);
    ASSERT_TRUE(cut_up) << cut_up.error().message();
    EXPECT_TRUE(*cut_up == *whole) << "in pieces of " << cut;
  }
}

std::string case_name(const testing::TestParamInfo<std::tuple<const char*, Isa>>& info) {
  std::string text =
      std::string(std::get<0>(info.param)) + "_" + std::string(name(std::get<1>(info.param)));
  std::ranges::replace(text, '-', '_');
  return text;
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenModel,
                         testing::Combine(testing::ValuesIn(kGoldenCases),
                                          testing::Values(Isa::scalar, Isa::avx2, Isa::avx512)),
                         case_name);

}  // namespace
}  // namespace tern::model
