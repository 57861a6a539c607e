#include "convert/fold.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "base/mapped_file.h"
#include "base/test_paths.h"
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

  static Result<FoldResult> fold_to(const fs::path& from, const fs::path& to,
                                    const Fold& fold = {RotationKind::hadamard,
                                                        RotationKind::hadamard},
                                    std::uint64_t shard_bytes = 1u << 30,
                                    const std::function<bool()>& stop = {}) {
    TERN_TRY(const auto checkpoint, Checkpoint::open(from));
    return convert::fold(
        checkpoint, {.fold = fold, .folder = from, .destination = to, .shard_bytes = shard_bytes},
        {}, stop);
  }

  fs::path root_;
};

TEST_F(FoldFiles, AFoldedFloat32ModelHasTheSameOutputs) {
  const auto wide = wide_demo();
  const auto before = logits(wide);
  for (const RotationKind kind :
       {RotationKind::hadamard, RotationKind::planar, RotationKind::iso}) {
    const auto to = root_ / std::string(quant::name(kind));
    const auto result = fold_to(wide, to, {kind, kind});
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
  EXPECT_EQ(*model::read_fold(after.config(), ""),
            (Fold{RotationKind::hadamard, RotationKind::hadamard}));
  for (const char* name : {"tokenizer.json", "chat_template.jinja", "generation_config.json"})
    EXPECT_EQ(*read_text_file(kDemo / name, 1 << 28),
              *read_text_file(root_ / "folded" / name, 1 << 28));
}

TEST_F(FoldFiles, LargeModelsBecomeShards) {
  const auto result =
      fold_to(kDemo, root_ / "folded", {RotationKind::hadamard, RotationKind::hadamard}, 4u << 20);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_GE(result->files, 3u);
  EXPECT_TRUE(fs::exists(root_ / "folded/model.safetensors.index.json"));
  ASSERT_TRUE(fold_to(kDemo, root_ / "whole"));
  EXPECT_EQ(logits(root_ / "folded"), logits(root_ / "whole"));
}

TEST_F(FoldFiles, RefusesWhatCannotBeFoldedAndLeavesNothing) {
  const auto refusal = [&](const fs::path& from,
                           const Fold& fold = {RotationKind::hadamard, RotationKind::hadamard}) {
    const auto result = fold_to(from, root_ / "folded", fold);
    EXPECT_FALSE(fs::exists(root_ / "folded"));
    EXPECT_FALSE(fs::exists(root_ / "folded.partial"));
    return result ? Error{} : result.error();
  };
  const fs::path golden = fs::path(source_dir()) / "tests/golden/model";
  EXPECT_EQ(refusal(golden / "mlx-affine").code, ErrorCode::unsupported);
  EXPECT_EQ(refusal(golden / "gguf-q8_0").code, ErrorCode::unsupported);
  EXPECT_EQ(refusal(golden / "mamba-only").code, ErrorCode::usage);
  EXPECT_EQ(refusal(kDemo, {}).code, ErrorCode::usage);
  EXPECT_EQ(refusal("/no/such/model").code, ErrorCode::not_found);

  ASSERT_TRUE(fold_to(kDemo, root_ / "once"));
  const auto twice = refusal(root_ / "once");
  EXPECT_EQ(twice.code, ErrorCode::usage);
  EXPECT_THAT(twice.what, HasSubstr("already"));
}

TEST_F(FoldFiles, AnInterruptedFoldLeavesNothing) {
  int tensors = 0;
  const auto result =
      fold_to(kDemo, root_ / "folded", {RotationKind::hadamard, RotationKind::hadamard}, 1u << 30,
              [&] { return ++tensors > 10; });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::cancelled);
  EXPECT_TRUE(fs::is_empty(root_));
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
