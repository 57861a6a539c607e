#include "convert/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <map>

#include "base/test_paths.h"
#include "convert/journal.h"
#include "convert/sparse_model.h"
#include "convert/target.h"
#include "model/mlx_config.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const std::string kDemo = source_dir() + "/demo/model";

/// A folder of the test, gone after it.
class Scratch {
 public:
  Scratch()
      : path_(fs::temp_directory_path() /
              ("tern-convert-" + std::to_string(::getpid()) + "-" + std::to_string(count_++))) {
    fs::create_directories(path_);
  }
  ~Scratch() { fs::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  static inline int count_ = 0;
  fs::path path_;
};

formats::Checkpoint open(const fs::path& path) {
  auto checkpoint = formats::Checkpoint::open(path);
  if (!checkpoint) throw std::runtime_error(checkpoint.error().message());
  return std::move(*checkpoint);
}

Source source_of(const formats::Checkpoint& checkpoint) {
  auto source = Source::open(checkpoint);
  if (!source) throw std::runtime_error(source.error().message());
  return std::move(*source);
}

Result<Plan> plan(const Source& source, std::string_view target, const PlanOptions& options = {}) {
  const Target* const found = find_target(target);
  if (found == nullptr) throw std::runtime_error("no such target");
  return found->plan(source, *found, options);
}

/// Converts, or throws.
ConvertReport made(const fs::path& from, const fs::path& to, std::string_view target,
                   const PlanOptions& options = {}, const ConvertOptions& how = {}) {
  const formats::Checkpoint checkpoint = open(from);
  const Source source = source_of(checkpoint);
  const auto planned = plan(source, target, options);
  if (!planned) throw std::runtime_error(planned.error().message());
  ThreadPool pool(2);
  const auto report = convert(*planned, source, to, pool, how);
  if (!report) throw std::runtime_error(report.error().message());
  return *report;
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::directory_iterator(folder))
    out[entry.path().filename()] = read(entry.path());
  return out;
}

/// Every matrix of a model as floats, in the order of the weight table.
std::map<std::string, std::vector<float>> matrices(const fs::path& folder) {
  const formats::Checkpoint checkpoint = open(folder);
  const Source source = source_of(checkpoint);
  std::map<std::string, std::vector<float>> out;
  for (const SourceTensor& tensor : source.tensors()) {
    std::vector<float>& values = out[tensor.hf];
    if (!tensor.is_matrix()) {
      values = tensor.values();
      continue;
    }
    std::vector<float> row(tensor.shape.back());
    for (const quant::Matrix& matrix : tensor.matrices)
      for (std::size_t r = 0; r < matrix.rows; ++r) {
        decode_row(matrix, r, row);
        values.insert(values.end(), row.begin(), row.end());
      }
  }
  return out;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, square = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    square += std::pow(static_cast<double>(b[i]), 2);
  }
  return square > 0 ? error / square : error;
}

TEST(Convert, APlanOfTheWholeFamilyModelHasTheBytesOfItsSpecification) {
  const Scratch folder;
  SparseConfig{}.write(folder / "model");
  const formats::Checkpoint checkpoint = open(folder / "model");
  const Source source = source_of(checkpoint);
  constexpr std::pair<const char*, std::uint64_t> kBytes[] = {
      {"mlx-2bit", 9'883'073'280},  {"mlx-3bit", 13'829'207'808}, {"mlx-4bit", 17'775'342'336},
      {"mlx-5bit", 21'721'476'864}, {"mlx-6bit", 25'667'611'392}, {"mlx-8bit", 33'559'880'448},
      {"mlx-mxfp4", 16'788'808'704}};
  for (const auto& [target, bytes] : kBytes) {
    const auto planned = plan(source, target);
    ASSERT_TRUE(planned) << planned.error().message();
    EXPECT_EQ(planned->weights(), 31'577'940'288u);
    EXPECT_EQ(planned->tensor_bytes(), bytes) << target;
  }
  const auto plain = plan(source, "bf16");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->tensor_bytes(), 2 * 31'577'940'288u + 2 * 23 * (64 + 128));
  std::size_t tensors = 0;
  for (const PlannedFile& file : plain->files) tensors += file.tensors.size();
  EXPECT_EQ(tensors, 6243u);
}

TEST(Convert, APlanSaysTheBytesOfTheFilesThatAppear) {
  const Scratch folder;
  const formats::Checkpoint checkpoint = open(kDemo);
  const Source source = source_of(checkpoint);
  for (const char* target : {"mlx-3bit", "mlx-nvfp4", "f16", "turboquant-3"}) {
    const auto planned = plan(source, target, {.shard_bytes = 600'000});
    ASSERT_TRUE(planned);
    ThreadPool pool(2);
    const fs::path to = folder / target;
    ASSERT_TRUE(convert(*planned, source, to, pool));
    std::uint64_t bytes = 0;
    for (const auto& file : fs::directory_iterator(to)) bytes += file.file_size();
    EXPECT_EQ(planned->bytes(), bytes) << target;
    EXPECT_GT(planned->files.size(), 2u);
    for (const PlannedFile& file : planned->files)
      EXPECT_EQ(file.bytes(), fs::file_size(to / file.name));
  }
}

TEST(Convert, EveryTargetIsTheModelThatItWasMadeFrom) {
  const Scratch folder;
  const auto truth = matrices(kDemo);
  const std::map<std::string, double> bound = {
      {"mlx-2bit", 0.18},     {"mlx-3bit", 0.05},     {"mlx-4bit", 0.012},
      {"mlx-5bit", 0.003},    {"mlx-6bit", 8e-4},     {"mlx-8bit", 6e-5},
      {"mlx-mxfp4", 0.02},    {"mlx-mxfp8", 1e-3},    {"mlx-nvfp4", 0.012},
      {"bf16", 1e-5},         {"f16", 1e-6},          {"turboquant-2", 0.13},
      {"turboquant-3", 0.04}, {"turboquant-4", 0.01}, {"turboquant-5", 0.003}};
  for (const auto& [target, most] : bound) {
    const auto report = made(kDemo, folder / target, target);
    EXPECT_LT(report.error, most) << target;
    for (const auto& [name, values] : matrices(folder / target)) {
      ASSERT_TRUE(truth.contains(name)) << name;
      EXPECT_LT(distance(values, truth.at(name)), 3 * most) << target << " " << name;
    }
    for (const char* file : {"tokenizer.json", "chat_template.jinja", "generation_config.json"})
      EXPECT_EQ(read(folder / target / file), read(fs::path(kDemo) / file)) << target;
  }
}

TEST(Convert, FormatsThatShareTheirNumbersAreCopied) {
  const Scratch folder;
  made(kDemo, folder / "mx", "mlx-mxfp4");
  made(folder / "mx", folder / "mx2", "mlx-mxfp4");
  EXPECT_EQ(read(folder / "mx/model.safetensors"), read(folder / "mx2/model.safetensors"));
  made(kDemo, folder / "plain", "bf16");
  const auto a = matrices(kDemo), b = matrices(folder / "plain");
  EXPECT_EQ(a, b);
}

TEST(Convert, SaysThatAQuantizedSourceLosesAgain) {
  const Scratch folder;
  made(kDemo, folder / "four", "mlx-4bit");
  const formats::Checkpoint checkpoint = open(folder / "four");
  const Source source = source_of(checkpoint);
  const auto lossy = plan(source, "mlx-3bit"), same = plan(source, "mlx-4bit");
  ASSERT_TRUE(lossy && same);
  EXPECT_THAT(lossy->warnings, testing::ElementsAre(HasSubstr("re-quantized")));
  EXPECT_TRUE(same->warnings.empty());
}

TEST(Convert, OverridesChooseFormatsByName) {
  const Scratch folder;
  made(kDemo, folder / "mixed", "mlx-4bit",
       {.overrides = {{"switch_mlp.fc2", "6"}, {"lm_head", "bf16"}, {"layers.*.k_proj", "mxfp4"}}});
  const formats::Checkpoint checkpoint = open(folder / "mixed");
  const Source source = source_of(checkpoint);
  for (const SourceTensor& tensor : source.tensors()) {
    if (!tensor.is_matrix()) continue;
    const std::string expected =
        tensor.hf.find("down_proj") != tensor.hf.npos && tensor.role == model::Role::experts
            ? "mlx affine 6-bit, group 64"
        : tensor.hf == "lm_head.weight"               ? "bf16"
        : tensor.hf.find(".k_proj") != tensor.hf.npos ? "mlx mxfp4 4-bit, group 32"
        : tensor.hf.ends_with(".mixer.gate.weight")   ? "bf16"
                                                      : "mlx affine 4-bit, group 64";
    EXPECT_EQ(tensor.type_name(), expected) << tensor.hf;
  }
  const formats::Checkpoint demo = open(kDemo);
  const Source from = source_of(demo);
  const auto typo = plan(from, "mlx-4bit", {.overrides = {{"switch_mlp.fc3", "6"}}});
  ASSERT_FALSE(typo);
  EXPECT_EQ(typo.error().code, ErrorCode::usage);
  EXPECT_THAT(typo.error().message(), HasSubstr("matches no matrix"));
  EXPECT_FALSE(plan(from, "mlx-4bit", {.overrides = {{"lm_head", "7"}}}));
}

TEST(Convert, AWidthThatIsNoMultipleOfTheGroupStaysPlainAndIsNamed) {
  const formats::Checkpoint checkpoint = open(kDemo);  // 192 wide
  const Source source = source_of(checkpoint);
  const auto planned = plan(source, "mlx-4bit", {.group_size = 128});
  ASSERT_TRUE(planned);
  ASSERT_EQ(planned->warnings.size(), 1u);
  EXPECT_THAT(planned->warnings.front(), HasSubstr("group size 128"));
}

/// What a run leaves that is stopped after `part` of its bytes.
void stop_at(const Plan& planned, const Source& source, const fs::path& to, double part,
             std::uint64_t sync_bytes = ConvertOptions().sync_bytes) {
  ThreadPool pool(2);
  const auto stopped = convert(
      planned, source, to, pool,
      {.resume = true, .sync_bytes = sync_bytes, .progress = [&](const ConvertProgress& now) {
         return static_cast<double>(now.bytes) < part * static_cast<double>(now.total_bytes);
       }});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
  EXPECT_FALSE(fs::exists(to));
}

TEST(Convert, AStoppedRunGoesOnToTheSameBytes) {
  const Scratch folder;
  const PlanOptions options{.shard_bytes = 400'000};
  const auto whole = made(kDemo, folder / "whole", "mlx-4bit", options);
  const formats::Checkpoint checkpoint = open(kDemo);
  const Source source = source_of(checkpoint);
  const auto planned = plan(source, "mlx-4bit", options);
  for (const double part : {0.2, 0.5, 0.8}) stop_at(*planned, source, folder / "again", part);
  const auto report = made(kDemo, folder / "again", "mlx-4bit", options, {.resume = true});
  EXPECT_GT(report.resumed_bytes, report.bytes / 2);
  EXPECT_EQ(report.coded, whole.coded);
  EXPECT_NEAR(report.error / whole.error, 1, 1e-12);
  EXPECT_EQ(files_of(folder / "again"), files_of(folder / "whole"));
  EXPECT_FALSE(fs::exists(folder / "again.partial"));
}

TEST(Convert, AStoppedRunGoesOnInTheMiddleOfAFile) {
  const Scratch folder;
  const formats::Checkpoint checkpoint = open(kDemo);
  const Source source = source_of(checkpoint);
  for (const char* to : {"gguf-q4_k_m", "mlx-3bit"}) {  // with padding between tensors, and without
    const auto whole = made(kDemo, folder / "whole", to);
    const auto planned = plan(source, to);
    ASSERT_TRUE(planned);
    ASSERT_EQ(planned->files.size(), 1u);
    std::uint64_t before = 0;
    for (const double part : {0.3, 0.6, 0.9}) {
      stop_at(*planned, source, folder / "again", part, 300'000);
      const auto there = fs::file_size(folder / "again.partial" / planned->files.front().name);
      EXPECT_GT(there, before);
      before = there;
    }
    const auto report = made(kDemo, folder / "again", to, {}, {.resume = true});
    EXPECT_GT(report.resumed_bytes, report.bytes / 2);
    EXPECT_NEAR(report.error / whole.error, 1, 1e-12);
    if (planned->folder)
      EXPECT_EQ(files_of(folder / "again"), files_of(folder / "whole"));
    else
      EXPECT_EQ(read(folder / "again"), read(folder / "whole"));
    fs::remove_all(folder / "again");
    fs::remove_all(folder / "whole");
  }
}

TEST(Convert, AJournalThatDoesNotFitWhatIsThereIsAnError) {
  const Scratch folder;
  const PlanOptions options{.shard_bytes = 400'000};
  const formats::Checkpoint checkpoint = open(kDemo);
  const Source source = source_of(checkpoint);
  const auto planned = plan(source, "mlx-4bit", options);
  ASSERT_TRUE(planned);
  stop_at(*planned, source, folder / "model", 0.5);
  const fs::path journal = folder / "model.partial/tern-journal";
  const std::string before = read(journal);
  const auto resumed = [&](const std::string& line) {
    std::ofstream(journal, std::ios::binary) << before << line;
    ThreadPool pool(2);
    return convert(*planned, source, folder / "model", pool, {.resume = true});
  };
  const auto files = std::to_string(planned->files.size()), huge = std::to_string(~0ull);
  const std::vector<std::string> hostile = {
      files + " 0 0 0 0 0", huge + " 0 0 0 0 0",      "0 " + huge + " 0 0 0 0",
      "0 1 1 0 0 0",        "0 0 " + huge + " 0 0 0", "0 1 " + huge + " 0 0 0",
      "0 0 1 0 0 0",        "0 0 0 0 inf 0",          "0 0 0 0 0 nan",
      files + " 1 0 0 0 0", files + " 0 1 0 0 0"};
  for (const std::string& line : hostile) {
    const auto outcome = resumed(line + "\n");
    ASSERT_FALSE(outcome) << line;
    EXPECT_EQ(outcome.error().code, ErrorCode::corrupt) << line;
    EXPECT_FALSE(fs::exists(folder / "model"));
  }
  ASSERT_TRUE(resumed("what is no line is not read\n"));
  made(kDemo, folder / "whole", "mlx-4bit", options);
  EXPECT_EQ(files_of(folder / "model"), files_of(folder / "whole"));
}

TEST(Convert, AnotherPlanDoesNotTakeOverWhatIsThere) {
  const Scratch folder;
  const formats::Checkpoint checkpoint = open(kDemo);
  const Source source = source_of(checkpoint);
  const auto four = plan(source, "mlx-4bit", {.shard_bytes = 400'000}),
             three = plan(source, "mlx-3bit", {.shard_bytes = 400'000});
  stop_at(*four, source, folder / "model", 0.5);
  ThreadPool pool(2);
  const auto other = convert(*three, source, folder / "model", pool, {.resume = true});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::usage);
  EXPECT_TRUE(fs::exists(folder / "model.partial/tern-journal"));
  ASSERT_TRUE(convert(*three, source, folder / "model", pool));  // starts anew
  EXPECT_FALSE(fs::exists(folder / "model.partial"));
}

TEST(Convert, AWeightThatIsNoNumberIsNamedAndLeavesNothing) {
  const Scratch folder;
  fs::copy(kDemo, folder / "bad");
  std::string bytes = read(folder / "bad/model.safetensors");
  {
    const formats::Checkpoint demo = open(kDemo);
    const auto& data = demo.tensors().find("backbone.layers.3.mixer.k_proj.weight")->data;
    const std::size_t at = bytes.find(std::string(reinterpret_cast<const char*>(data.data()), 64));
    bytes.replace(at + 10, 2, "\xc0\x7f");  // NaN
  }
  std::ofstream(folder / "bad/model.safetensors", std::ios::binary) << bytes;
  const formats::Checkpoint checkpoint = open(folder / "bad");
  const Source source = source_of(checkpoint);
  ThreadPool pool(2);
  const auto report = convert(*plan(source, "mlx-4bit"), source, folder / "out", pool);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::corrupt);
  EXPECT_THAT(report.error().message(), HasSubstr("layers.3.mixer.k_proj"));
  EXPECT_FALSE(fs::exists(folder / "out.partial"));
}

TEST(Journal, AnUnfinishedLastLineDoesNotCount) {
  const Scratch folder;
  fs::create_directories(folder / "partial");
  {
    auto journal = Journal::create(folder / "partial", "plan");
    ASSERT_TRUE(journal);
    ASSERT_TRUE(journal->add({1, 2, 3, 4, 0.1, 1.0 / 3}));
  }
  std::ofstream(folder / "partial/tern-journal", std::ios::app) << "9 9 9 9 0x1p";
  Point point;
  ASSERT_TRUE(Journal::open(folder / "partial", "plan", point));
  EXPECT_EQ(point.files, 1u);
  EXPECT_EQ(point.tensors, 2u);
  EXPECT_EQ(point.bytes, 3u);
  EXPECT_EQ(point.error, 0.1);
  EXPECT_EQ(point.square, 1.0 / 3);
  EXPECT_FALSE(Journal::open(folder / "partial", "another plan", point));
}

TEST(Override, AStarStandsForAnythingAndTheRestIsFoundAnywhere) {
  const auto matches = [](const char* pattern, const char* name) {
    return Override{pattern, "4"}.matches(name);
  };
  EXPECT_TRUE(matches("fc2", "a.switch_mlp.fc2.weight"));
  EXPECT_TRUE(matches("layers.1.*fc2", "backbone.layers.1.mixer.switch_mlp.fc2.weight"));
  EXPECT_FALSE(matches("layers.1.*fc2", "backbone.layers.11.mixer.switch_mlp.fc2.weight"));
  EXPECT_FALSE(matches("fc1*fc2", "fc2.fc1"));
  EXPECT_TRUE(matches("*", ""));
  for (const char* text : {"lm_head", "=6", "lm_head="}) EXPECT_FALSE(Override::parse(text));
  EXPECT_EQ(Override::parse("a=b=6")->pattern, "a=b");
}

}  // namespace
}  // namespace tern::convert
