#include "convert/estimate.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/test_paths.h"
#include "convert/convert.h"
#include "convert/target.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;

class OfTheDemo : public testing::Test {
 protected:
  OfTheDemo()
      : folder_(fs::temp_directory_path() / ("tern-estimate-" + std::to_string(::getpid()))),
        checkpoint_(formats::Checkpoint::open(source_dir() + "/demo/model").value()),
        source_(Source::open(checkpoint_).value()) {
    fs::create_directories(folder_);
  }
  ~OfTheDemo() override { fs::remove_all(folder_); }

  Plan plan(std::string_view to) const {
    const Target& target = *find_target(to);
    return target.plan(source_, target, {}).value();
  }

  fs::path folder_;
  formats::Checkpoint checkpoint_;
  Source source_;
  ThreadPool pool_{2};
};

TEST_F(OfTheDemo, EveryTensorCostsAndTheirSumIsTheWhole) {
  for (const char* to : {"mlx-4bit", "gguf-q4_k_m", "bf16", "turboquant-4"}) {
    const Plan planned = plan(to);
    const Estimate found = estimate(planned, pool_, 1e8);
    ASSERT_EQ(found.tensors.size(), planned.files.size()) << to;
    double sum = 0, bytes = 0;
    for (std::size_t f = 0; f < planned.files.size(); ++f) {
      ASSERT_EQ(found.tensors[f].size(), planned.files[f].tensors.size()) << to;
      for (std::size_t t = 0; t < found.tensors[f].size(); ++t) {
        const double own = static_cast<double>(planned.files[f].tensors[t].bytes());
        EXPECT_GE(found.tensors[f][t], own / 1e8) << planned.files[f].tensors[t].how;
        sum += found.tensors[f][t];
        bytes += own;
      }
    }
    EXPECT_NEAR(sum / found.seconds(), 1, 1e-9) << to;
    EXPECT_NEAR(found.writing / (bytes / 1e8), 1, 1e-9) << to;
    EXPECT_GT(found.reading, 0) << to;
  }
}

TEST_F(OfTheDemo, WhatIsCodedCostsMoreThanWhatIsCopied) {
  EXPECT_GT(estimate(plan("mlx-2bit"), pool_, 1e8).coding,
            estimate(plan("bf16"), pool_, 1e8).coding);
}

TEST_F(OfTheDemo, TensorsCountByTheirCost) {
  const Plan planned = plan("mlx-4bit");
  const auto& tensors = planned.files.front().tensors;
  ASSERT_GT(tensors.size(), 2u);
  Estimate dear{.coding = 100};  // all but a hundredth of it for the second tensor
  dear.tensors = {
      std::vector<double>(tensors.size(), 1.0 / static_cast<double>(tensors.size() - 1))};
  dear.tensors.front()[1] = 99;
  Work work(planned, &dear);
  EXPECT_DOUBLE_EQ(work.part(), 0);
  EXPECT_NEAR(work.seconds_left(0), 100, 1e-9);
  work.add(0, 1, tensors[1].bytes() / 2);
  EXPECT_NEAR(work.part(), 0.495, 0.01);
  // Half as fast as estimated: so will the rest be, but for the seconds of trust.
  EXPECT_NEAR(work.seconds_left(99), 99, 8);
  EXPECT_NEAR(Work(planned, nullptr).part(), 0, 1e-9);
}

TEST_F(OfTheDemo, WhatAnEarlierRunMadeNeedsNoTime) {
  const Plan planned = plan("mlx-4bit");
  const std::size_t count = planned.files.front().tensors.size();
  const Estimate even{.coding = static_cast<double>(count),
                      .tensors = {std::vector<double>(count, 1.0)}};
  Work work(planned, &even);
  work.skip(0, count - 3);
  EXPECT_NEAR(work.part(), 1 - 3.0 / static_cast<double>(count), 1e-9);
  EXPECT_NEAR(work.seconds_left(0), 3, 1e-9);
  work.skip(1, 0);
}

TEST_F(OfTheDemo, ProgressGoesUpToTheEnd) {
  const Plan planned = plan("mlx-4bit");
  const Estimate found = estimate(planned, pool_, 1e8);
  ConvertProgress last;
  const auto report = convert(planned, source_, folder_ / "model", pool_,
                              {.estimate = &found, .progress = [&](const ConvertProgress& now) {
                                 EXPECT_GE(now.part, last.part);
                                 EXPECT_GE(now.bytes, last.bytes);
                                 last = now;
                                 return true;
                               }});
  ASSERT_TRUE(report);
  EXPECT_NEAR(last.part, 1, 1e-9);
  EXPECT_NEAR(last.seconds_left, 0, 1e-6);
}

TEST_F(OfTheDemo, MeasuringTheDiskLeavesNothing) {
  EXPECT_GT(measure_write_rate(folder_ / "new/folder/model", 1'000'000'000), 0);
  EXPECT_TRUE(fs::is_empty(folder_));
  EXPECT_EQ(measure_write_rate(folder_ / "model", 1'000'000), kAssumedWriteRate);
  EXPECT_EQ(measure_write_rate("/proc/self/model", 1'000'000'000), kAssumedWriteRate);
}

}  // namespace
}  // namespace tern::convert
