#include "convert/fold.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <set>

#include "base/mapped_file.h"
#include "base/test_paths.h"
#include "convert/convert.h"
#include "convert/target.h"
#include "formats/safetensors_writer.h"
#include "model/forward.h"
#include "tensor/half.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;
using formats::Checkpoint;
using model::Fold;
using model::RotationKind;
using testing::HasSubstr;

const fs::path kDemo = fs::path(source_dir()) / "demo/model";

constexpr Fold kHadamard = {RotationKind::hadamard, RotationKind::hadamard};

class FoldFiles : public testing::Test {
 protected:
  FoldFiles()
      : root_(fs::temp_directory_path() /
              ("tern_fold_" + std::to_string(::getpid()) + "_" +
               testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::create_directories(root_);
  }
  ~FoldFiles() override { fs::remove_all(root_); }

  /// The demo with every matrix as float32.
  fs::path wide_demo() const {
    const fs::path folder = root_ / "wide";
    fs::create_directories(folder);
    fs::copy_file(kDemo / "config.json", folder / "config.json");
    fs::copy_file(kDemo / "tokenizer.json", folder / "tokenizer.json");
    const auto demo = Checkpoint::open(kDemo);
    EXPECT_TRUE(demo) << demo.error().message();
    std::vector<formats::TensorPlan> plan;
    for (const Tensor& tensor : demo->tensors().tensors())
      plan.push_back({tensor.name, DType::f32, tensor.shape});
    auto file = formats::SafetensorsWriter::create(folder / "model.safetensors", plan);
    EXPECT_TRUE(file);
    for (const Tensor& tensor : demo->tensors().tensors()) {
      std::vector<float> values(tensor.elements());
      for (std::size_t i = 0; i < values.size(); ++i) {
        std::uint16_t bits = 0;
        if (tensor.type == DType::f32)
          std::memcpy(&values[i], tensor.data.data() + 4 * i, 4);
        else
          std::memcpy(&bits, tensor.data.data() + 2 * i, 2);
        if (tensor.type == DType::bf16) values[i] = bf16_to_float(bits);
      }
      EXPECT_TRUE(file->write(tensor.name, std::as_bytes(std::span<const float>(values))));
    }
    EXPECT_TRUE(file->commit());
    return folder;
  }

  static std::vector<float> logits(const fs::path& folder) {
    const auto checkpoint = Checkpoint::open(folder);
    EXPECT_TRUE(checkpoint) << checkpoint.error().message();
    auto model = model::Model::load(*checkpoint);
    EXPECT_TRUE(model) << model.error().message();
    std::vector<model::TokenId> tokens;
    for (model::TokenId i = 0; i < 200; ++i) tokens.push_back(1000 + i * 37 % 1000);
    auto sequence = model->new_sequence(state::KvScheme::f32, tokens.size());
    EXPECT_TRUE(sequence) << sequence.error().message();
    std::vector<float> out(tokens.size() * model->config().vocab_size);
    ThreadPool pool(2);
    const auto done = model->forward(tokens, *sequence, model::LogitsMode::all, out, pool);
    EXPECT_TRUE(done) << done.error().message();
    return out;
  }

  /// Largest difference, as part of the largest logit.
  static double apart(const std::vector<float>& a, const std::vector<float>& b) {
    double most = 0, largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      most = std::max(most, std::abs(double{a[i]} - double{b[i]}));
      largest = std::max(largest, std::abs(double{a[i]}));
    }
    return most / largest;
  }

  static Result<FoldPlan> fold_to(const fs::path& from, const fs::path& to,
                                  const FoldOptions& wish = {.fold = kHadamard},
                                  const std::function<bool()>& stop = {}) {
    TERN_TRY(const auto checkpoint, Checkpoint::open(from));
    TERN_TRY(const auto source, Source::open(checkpoint));
    ThreadPool pool(2);
    FoldOptions options = wish;
    if (fs::is_directory(from)) options.folder = from;
    const auto go_on = [&](auto&&...) { return !stop || !stop(); };
    options.progress = go_on;
    TERN_TRY(auto folded, plan_fold(source, options, pool));
    TERN_TRY_VOID(
        convert::convert(folded.plan, source, to, pool, {.keep = false, .progress = go_on}));
    return folded;
  }

  /// `from` in another format.
  static void make(const fs::path& from, const fs::path& to, std::string_view target) {
    const auto checkpoint = Checkpoint::open(from);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message();
    const auto source = Source::open(*checkpoint);
    ASSERT_TRUE(source) << source.error().message();
    const Target* const found = find_target(target);
    ASSERT_NE(found, nullptr);
    const auto plan = found->plan(*source, *found, {});
    ASSERT_TRUE(plan) << plan.error().message();
    ThreadPool pool(2);
    const auto done = convert::convert(*plan, *source, to, pool, {});
    ASSERT_TRUE(done) << done.error().message();
  }

  static Fold fold_of(const fs::path& model) { return *model::read_fold(*Checkpoint::open(model)); }

  fs::path root_;
};

TEST_F(FoldFiles, AFoldedFloat32ModelHasTheSameOutputs) {
  const auto wide = wide_demo();
  const auto before = logits(wide);
  for (const RotationKind kind :
       {RotationKind::hadamard, RotationKind::planar, RotationKind::iso}) {
    const auto to = root_ / std::string(quant::name(kind));
    const auto result = fold_to(wide, to, {.fold = {kind, kind}});
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(result->folded, 8u);  // q, k, v, o of two layers
    EXPECT_LT(apart(before, logits(to)), 1e-5);
  }
}

TEST_F(FoldFiles, ABfloat16ModelIsRoundedOnceMore) {
  const auto result = fold_to(kDemo, root_ / "folded");
  ASSERT_TRUE(result) << result.error().message();
  const double difference = apart(logits(kDemo), logits(root_ / "folded"));
  EXPECT_GT(difference, 1e-6);
  EXPECT_LT(difference, 0.05);
}

TEST_F(FoldFiles, EverythingElseIsCopiedAndTheConfigurationMarked) {
  ASSERT_TRUE(fold_to(kDemo, root_ / "folded"));
  const auto before = *Checkpoint::open(kDemo), after = *Checkpoint::open(root_ / "folded");
  ASSERT_EQ(before.tensors().size(), after.tensors().size());
  std::size_t changed = 0;
  for (const Tensor& tensor : before.tensors().tensors()) {
    const Tensor* copy = after.tensors().find(tensor.name);
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ(copy->type, tensor.type);
    EXPECT_EQ(copy->shape, tensor.shape);
    if (std::ranges::equal(copy->data, tensor.data)) continue;
    ++changed;
    EXPECT_THAT(tensor.name, HasSubstr("_proj.weight"));
  }
  EXPECT_EQ(changed, 8u);
  EXPECT_EQ(fold_of(root_ / "folded"), kHadamard);
  for (const char* name : {"tokenizer.json", "chat_template.jinja", "generation_config.json"})
    EXPECT_EQ(*read_text_file(kDemo / name, 1 << 28),
              *read_text_file(root_ / "folded" / name, 1 << 28));
}

/// Of a - b, as part of that of b.
double root_mean_square(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, square = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(double{a[i]} - double{b[i]}, 2);
    square += std::pow(double{b[i]}, 2);
  }
  return std::sqrt(error / square);
}

class FoldQuantized : public FoldFiles, public testing::WithParamInterface<const char*> {
 protected:
  /// Names of tensors of `after` that are new or other bytes than in `before`.
  static std::set<std::string> changed(const fs::path& before, const fs::path& after) {
    const auto a = *Checkpoint::open(before), b = *Checkpoint::open(after);
    std::set<std::string> names;
    for (const Tensor& tensor : b.tensors().tensors()) {
      const Tensor* old = a.tensors().find(tensor.name);
      if (old == nullptr || old->type != tensor.type || old->shape != tensor.shape ||
          !std::ranges::equal(old->data, tensor.data))
        names.insert(tensor.name);
    }
    return names;
  }
};

TEST_P(FoldQuantized, LosesLessOnceMoreThanItHasLostBeforeAndAlmostNothingInBfloat16) {
  const bool gguf = std::string_view(GetParam()).starts_with("gguf");
  const std::string end = gguf ? ".gguf" : "";
  const fs::path plain = root_ / ("plain" + end);
  const fs::path own = root_ / ("own" + end), wide = root_ / ("wide" + end);
  ASSERT_NO_FATAL_FAILURE(make(kDemo, plain, GetParam()));
  const auto before = logits(plain);
  const double lost = root_mean_square(before, logits(kDemo));

  const auto once_more = fold_to(plain, own);
  ASSERT_TRUE(once_more) << once_more.error().message();
  EXPECT_EQ(once_more->folded, 8u);
  EXPECT_GT(once_more->error, 0);
  ASSERT_EQ(once_more->plan.warnings.size(), 1u);
  EXPECT_THAT(once_more->plan.warnings.front(), HasSubstr("8 projections are quantized"));
  EXPECT_EQ(fold_of(own), kHadamard);
  for (const std::string& name : changed(plain, own))
    EXPECT_THAT(name, gguf ? HasSubstr(".attn_") : HasSubstr("_proj."));
  const double again = root_mean_square(logits(own), before);
  EXPECT_GT(again, 0);
  EXPECT_LT(again, lost);

  const auto rounded = fold_to(plain, wide, {.fold = kHadamard, .bf16 = true});
  ASSERT_TRUE(rounded) << rounded.error().message();
  EXPECT_TRUE(rounded->plan.warnings.empty());
  EXPECT_EQ(fold_of(wide), kHadamard);
  const auto names = changed(plain, wide);
  EXPECT_EQ(names.size(), 8u);
  const auto checkpoint = *Checkpoint::open(wide);
  for (const std::string& name : names)
    EXPECT_EQ(checkpoint.tensors().find(name)->type, DType::bf16);
  const double widened = root_mean_square(logits(wide), before);
  EXPECT_LT(widened, 0.01);
  RecordProperty("lost_again_widened", std::to_string(lost) + " " + std::to_string(again) + " " +
                                           std::to_string(widened));
}

INSTANTIATE_TEST_SUITE_P(Formats, FoldQuantized,
                         testing::Values("mlx-4bit", "mlx-mxfp8", "mlx-nvfp4", "gguf-q4_k_m",
                                         "gguf-q8_0", "turboquant-4"),
                         [](const auto& format) {
                           std::string name(format.param);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST_F(FoldFiles, ModulesThatBecomePlainAreNamedInTheMapOfMlx) {
  ASSERT_NO_FATAL_FAILURE(make(kDemo, root_ / "plain", "mlx-4bit"));
  ASSERT_TRUE(fold_to(root_ / "plain", root_ / "folded", {.fold = kHadamard, .bf16 = true}));
  const auto folded = *Checkpoint::open(root_ / "folded");
  const auto plain = *Checkpoint::open(root_ / "plain");
  const auto& before = plain.config().at("quantization").get_object();
  for (const char* key : {"quantization", "quantization_config"}) {
    json::object map = folded.config().at(key).get_object();
    std::size_t modules = 0;
    for (const Tensor& tensor : folded.tensors().tensors()) {
      const std::string_view name(tensor.name);
      if (tensor.type != DType::bf16 || !name.ends_with("_proj.weight")) continue;
      if (name.find(".q_proj") == name.npos && name.find(".k_proj") == name.npos &&
          name.find(".v_proj") == name.npos && name.find(".o_proj") == name.npos)
        continue;
      const json::value* entry = map.if_contains(name.substr(0, name.rfind('.')));
      ASSERT_NE(entry, nullptr) << name;
      EXPECT_EQ(*entry, json::value(false));
      map.erase(name.substr(0, name.rfind('.')));
      ++modules;
    }
    EXPECT_EQ(modules, 8u);
    EXPECT_EQ(map, before);
  }
}

TEST_F(FoldFiles, AFoldedModelIsStillMarkedInOtherFormats) {
  ASSERT_TRUE(fold_to(kDemo, root_ / "folded"));
  ASSERT_NO_FATAL_FAILURE(make(root_ / "folded", root_ / "a.gguf", "gguf-q8_0"));
  EXPECT_EQ(fold_of(root_ / "a.gguf"), kHadamard);
  ASSERT_NO_FATAL_FAILURE(make(root_ / "a.gguf", root_ / "b", "mlx-8bit"));
  EXPECT_EQ(fold_of(root_ / "b"), kHadamard);
  const auto twice = fold_to(root_ / "a.gguf", root_ / "c.gguf");
  ASSERT_FALSE(twice);
  EXPECT_THAT(twice.error().what, HasSubstr("already"));
}

TEST_F(FoldFiles, LargeModelsBecomeShards) {
  const auto result =
      fold_to(kDemo, root_ / "folded", {.fold = kHadamard, .shard_bytes = 4u << 20});
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_GE(result->plan.files.size(), 3u);
  EXPECT_TRUE(fs::exists(root_ / "folded/model.safetensors.index.json"));
  ASSERT_TRUE(fold_to(kDemo, root_ / "whole"));
  EXPECT_EQ(logits(root_ / "folded"), logits(root_ / "whole"));
}

TEST_F(FoldFiles, RefusesWhatCannotBeFoldedAndLeavesNothing) {
  const auto refusal = [&](const fs::path& from, const Fold& fold = kHadamard) {
    const auto result = fold_to(from, root_ / "folded", {.fold = fold});
    EXPECT_FALSE(fs::exists(root_ / "folded"));
    EXPECT_FALSE(fs::exists(root_ / "folded.partial"));
    return result ? Error{} : result.error();
  };
  const fs::path golden = fs::path(source_dir()) / "tests/golden/model";
  EXPECT_EQ(refusal(golden / "mamba-only").code, ErrorCode::usage);
  EXPECT_EQ(refusal(kDemo, {}).code, ErrorCode::usage);
  EXPECT_EQ(refusal("/no/such/model").code, ErrorCode::not_found);

  ASSERT_TRUE(fold_to(kDemo, root_ / "once"));
  const auto twice = refusal(root_ / "once");
  EXPECT_EQ(twice.code, ErrorCode::usage);
  EXPECT_THAT(twice.what, HasSubstr("already"));
}

TEST_F(FoldFiles, AnInterruptedFoldLeavesNothing) {
  for (const int most : {3, 12}) {  // while rotating, while writing
    int calls = 0;
    const auto result =
        fold_to(kDemo, root_ / "folded", {.fold = kHadamard}, [&] { return ++calls > most; });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::cancelled);
    EXPECT_TRUE(fs::is_empty(root_));
  }
}

TEST_F(FoldFiles, ADestinationThatExistsIsLeftAlone) {
  fs::create_directories(root_ / "folded");
  std::ofstream(root_ / "folded/mine") << "mine";
  const auto result = fold_to(kDemo, root_ / "folded");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::usage);
  EXPECT_EQ(*read_text_file(root_ / "folded/mine", 10), "mine");
}

}  // namespace
}  // namespace tern::convert
