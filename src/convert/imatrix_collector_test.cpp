#include "convert/imatrix_collector.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/mapped_file.h"
#include "base/test_paths.h"
#include "convert/imatrix.h"
#include "formats/gguf.h"
#include "model/forward.h"
#include "quant/matrix.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;

struct Reading {
  std::size_t threads = 1, cut = 37;  // tokens of a call
  bool head = false;
};

/// A golden model that reads random tokens.
class ImatrixCollectorTest : public testing::Test {
 protected:
  ~ImatrixCollectorTest() override { fs::remove(path_); }

  void open(const std::string& name) {
    auto checkpoint =
        formats::Checkpoint::open(fs::path(source_dir()) / "tests/golden/model" / name);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message();
    checkpoint_ = std::make_unique<formats::Checkpoint>(std::move(*checkpoint));
    auto source = Source::open(*checkpoint_);
    ASSERT_TRUE(source) << source.error().message();
    source_ = std::make_unique<Source>(std::move(*source));
  }

  /// The bytes of the file.
  std::string collect(const Reading& reading) {
    ImatrixCollector collector(*source_, reading.head);
    auto model = model::Model::load(*checkpoint_);
    EXPECT_TRUE(model) << model.error().message();
    model->observe(&collector);
    ThreadPool pool(reading.threads);
    auto sequence = model->new_sequence(state::KvScheme::f32, tokens_.size());
    const auto mode = reading.head ? model::LogitsMode::all : model::LogitsMode::none;
    const std::size_t row = reading.head ? model->config().vocab_size : 0;
    for (std::size_t at = 0; at < tokens_.size(); at += reading.cut) {
      const auto part = std::span(tokens_).subspan(at, std::min(reading.cut, tokens_.size() - at));
      std::vector<float> logits(part.size() * row);
      EXPECT_TRUE(model->forward(part, *sequence, mode, logits, pool));
    }
    summary_ = collector.summary();
    const auto written = collector.write(path_, {"test", 1, 37});
    EXPECT_TRUE(written) << written.error().message();
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::vector<model::TokenId> tokens_ = [] {
    std::vector<model::TokenId> tokens(37);
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = static_cast<model::TokenId>((i * i + 3 * i + 5) % 64);
    return tokens;
  }();
  std::unique_ptr<formats::Checkpoint> checkpoint_;
  std::unique_ptr<Source> source_;
  ImatrixCollector::Summary summary_;
  fs::path path_ =
      fs::temp_directory_path() / ("tern_collector_" + std::to_string(::getpid()) + ".gguf");
};

TEST_F(ImatrixCollectorTest, GivesTheSameBytesForAnyThreadsAndCuts) {
  for (const char* const name : {"all-kinds", "gguf-mixed", "latent"}) {
    ASSERT_NO_FATAL_FAILURE(open(name));
    const std::string whole = collect({.head = true});
    EXPECT_EQ(collect({.threads = 3, .head = true}), whole) << name;
    EXPECT_EQ(collect({.cut = 1, .head = true}), whole) << name;
    EXPECT_EQ(collect({.threads = 2, .cut = 5, .head = true}), whole) << name;
  }
}

/// The first layer's input is known without the model's code: the norm of the embeddings.
TEST_F(ImatrixCollectorTest, AddsTheSquaresOfTheNormedEmbeddings) {
  ASSERT_NO_FATAL_FAILURE(open("mamba-only"));
  collect({});
  const auto read = read_imatrix(path_);
  ASSERT_TRUE(read) << read.error().message();
  const std::size_t hidden = source_->config().hidden_size;
  std::vector<double> expected(hidden);
  std::vector<float> row(hidden), norm;
  const SourceTensor* first = nullptr;
  for (const SourceTensor& tensor : source_->tensors()) {
    if (tensor.hf == "backbone.layers.0.norm.weight") norm = tensor.values();
    if (tensor.hf == "backbone.embeddings.weight") first = &tensor;
  }
  ASSERT_TRUE(first != nullptr && norm.size() == hidden);
  for (const auto token : tokens_) {
    decode_row(first->matrices.front(), token, row);
    double square = 0;
    for (const float value : row) square += static_cast<double>(value) * static_cast<double>(value);
    const double scale =
        square / static_cast<double>(hidden) + static_cast<double>(source_->config().norm_eps);
    for (std::size_t i = 0; i < hidden; ++i)
      expected[i] += std::pow(static_cast<double>(row[i]) * static_cast<double>(norm[i]), 2) /
                     scale / static_cast<double>(tokens_.size());
  }
  const auto found = read->find("blk.0.ssm_in.weight");
  ASSERT_EQ(found.size(), hidden);
  for (std::size_t i = 0; i < hidden; ++i)
    EXPECT_NEAR(static_cast<double>(found[i]), expected[i], 1e-5 * expected[i]) << i;
}

TEST_F(ImatrixCollectorTest, CountsEveryExpertOnItsOwn) {
  ASSERT_NO_FATAL_FAILURE(open("all-kinds"));
  collect({});
  const std::size_t without_head = summary_.tensors;
  const auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  const auto gguf = formats::read_gguf(file->bytes(), "test");
  ASSERT_TRUE(gguf) << gguf.error().message();
  std::size_t stacks = 0;
  for (const Tensor& tensor : gguf->tensors.tensors()) {
    if (!tensor.name.ends_with("_exps.weight.counts")) continue;
    ++stacks;
    std::vector<float> counts(tensor.elements());
    std::memcpy(counts.data(), tensor.data.data(), tensor.data.size());
    EXPECT_EQ(counts.size(), source_->config().moe.experts);
    double all = 0;
    for (const float count : counts) all += static_cast<double>(count);
    EXPECT_EQ(all, static_cast<double>(tokens_.size() * source_->config().moe.top_k));
  }
  EXPECT_EQ(stacks, 2 * source_->config().count(model::LayerKind::moe));
  EXPECT_EQ(gguf->tensors.find("output.weight.counts"), nullptr);
  collect({.head = true});
  EXPECT_EQ(summary_.tensors, without_head + 1);
  EXPECT_FALSE(read_imatrix(path_)->find("output.weight").empty());
}

}  // namespace
}  // namespace tern::convert
