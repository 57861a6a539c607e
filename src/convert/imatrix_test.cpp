#include "convert/imatrix.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>

#include "formats/gguf_writer.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;
using formats::GgufKey;
using testing::ElementsAre;
using testing::HasSubstr;

struct Entry {
  std::string name;
  Shape shape;
  std::vector<float> values;
};

/// A file that is gone when the test is.
class ImatrixTest : public testing::Test {
 protected:
  ~ImatrixTest() override { fs::remove(path_); }

  Result<Importance> read(const std::vector<Entry>& entries, const std::string& type = "imatrix") {
    std::vector<formats::TensorPlan> plan;
    for (const Entry& entry : entries) plan.push_back({entry.name, DType::f32, entry.shape});
    auto file = formats::GgufWriter::create(path_, {GgufKey{"general.type", type}}, plan);
    EXPECT_TRUE(file) << file.error().message();
    for (const Entry& entry : entries)
      EXPECT_TRUE(file->write(entry.name, std::as_bytes(std::span(entry.values))));
    EXPECT_TRUE(file->commit());
    return read_imatrix(path_);
  }

  fs::path path_ =
      fs::temp_directory_path() / ("tern_imatrix_" + std::to_string(::getpid()) + ".gguf");
};

TEST_F(ImatrixTest, DividesSumsByCounts) {
  const auto read_back = read({{"blk.0.ssm_in.weight.in_sum2", {1, 3}, {2, 4, 0}},
                               {"blk.0.ssm_in.weight.counts", {1, 1}, {4}}});
  ASSERT_TRUE(read_back) << read_back.error().message();
  EXPECT_THAT(read_back->find("blk.0.ssm_in.weight"), ElementsAre(0.5f, 1.0f, 0.0f));
  EXPECT_TRUE(read_back->find("blk.1.ssm_in.weight").empty());
}

TEST_F(ImatrixTest, GivesUnusedExpertsTheMeanOfTheOthers) {
  const auto read_back = read({{"e.in_sum2", {3, 2}, {2, 4, 0, 0, 12, 0}},
                               {"e.counts", {3, 1}, {1, 0, 3}},
                               {"unused.in_sum2", {1, 2}, {0, 0}},
                               {"unused.counts", {1, 1}, {0}}});
  ASSERT_TRUE(read_back) << read_back.error().message();
  EXPECT_THAT(read_back->find("e"), ElementsAre(2, 4, 3.5f, 1, 4, 0));
  EXPECT_TRUE(read_back->find("unused").empty());
}

TEST_F(ImatrixTest, RefusesWhatIsNoImportanceMatrix) {
  const auto message = [](const Result<Importance>& result) {
    return result ? std::string("nothing is wrong") : result.error().what;
  };
  const Entry counts = {"e.counts", {1, 1}, {1}};
  EXPECT_THAT(message(read({{"e.in_sum2", {1, 2}, {1, 1}}, counts}, "model")),
              HasSubstr("general.type"));
  EXPECT_THAT(message(read({{"e.in_sum2", {1, 2}, {1, 1}}})), HasSubstr("counts"));
  EXPECT_THAT(message(read({{"e.in_sum2", {1, 2}, {1, -1}}, counts})), HasSubstr("holds -1"));
  EXPECT_THAT(message(read({{"e.in_sum2", {1, 2}, {1, NAN}}, counts})), HasSubstr("nan"));
  EXPECT_THAT(message(read({counts})), HasSubstr("without entries"));
  EXPECT_THAT(message(read({{"e.in_sum2", {1, 2}, {3e38f, 1}}, {"e.counts", {1, 1}, {1e-3f}}})),
              HasSubstr("no float holds"));
  EXPECT_EQ(read_imatrix("/no/such/file").error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace tern::convert
