// tern bench: what it measures and how it prints it.
#include <gmock/gmock.h>

#include <set>

#include "base/json.h"
#include "process.h"

namespace tern::system {
namespace {

using testing::HasSubstr;

TEST(Bench, MeasuresEveryCombinationOfItsLists) {
  const auto outcome = run_tern({"bench", "demo", "-p", "8", "-n", "4", "-b", "1,3", "-d", "0,5",
                                 "--kv", "f16,q8_0", "-t", "1", "-r", "2", "-o", "json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto rows = parse_json(outcome.out, "bench");
  ASSERT_TRUE(rows) << rows.error().message();
  ASSERT_EQ(rows->as_array().size(), 12u);  // (pp8, tg4, tg4 x 3) at two depths, two caches
  std::set<std::string> seen;
  for (const auto& value : rows->as_array()) {
    const auto& row = value.as_object();
    EXPECT_EQ(row.at("samples_ts").as_array().size(), 2u);
    EXPECT_GT(row.at("median_ts").as_double(), 0);
    EXPECT_LE(row.at("min_ts").as_double(), row.at("median_ts").as_double());
    EXPECT_GE(row.at("max_ts").as_double(), row.at("median_ts").as_double());
    seen.insert(std::string(row.at("kv").as_string()) + " " +
                std::to_string(row.at("n_prompt").to_number<int>()) + " " +
                std::to_string(row.at("n_gen").to_number<int>()) + " " +
                std::to_string(row.at("n_depth").to_number<int>()) + " " +
                std::to_string(row.at("n_sequences").to_number<int>()));
  }
  EXPECT_EQ(seen.size(), 12u);
  EXPECT_TRUE(seen.contains("q8_0 0 4 5 3"));
  EXPECT_TRUE(seen.contains("f16 8 0 0 1"));
}

TEST(Bench, NamesBatchesInTables) {
  const auto outcome = run_tern({"bench", "demo", "-p", "0", "-n", "2", "-b", "2", "-r", "1"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("| tg2 x 2 |"));
  const auto csv = run_tern({"bench", "demo", "-p", "0", "-n", "2", "-r", "1", "-o", "csv"});
  EXPECT_THAT(csv.out, HasSubstr("n_depth,n_sequences,"));
}

TEST(Bench, RefusesListsWithAWrongEntry) {
  for (const auto& [option, value] :
       {std::pair{"-b", "1,0"}, {"-b", "1,x"}, {"--kv", "f16,f17"}, {"--kv", "f16,"}}) {
    const auto outcome = run_tern({"bench", "demo", option, value});
    EXPECT_EQ(outcome.status, 64) << option << " " << value;
  }
}

}  // namespace
}  // namespace tern::system
