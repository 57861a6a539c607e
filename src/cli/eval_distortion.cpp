// tern eval distortion: what the codecs lose on vectors, measured.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/eval_common.h"
#include "cli/table.h"
#include "eval/distortion.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "Three tables: TurboQuant's two algorithms on random unit vectors beside the theory (MSE: "
    "mean\n"
    "squared error; PROD: bias and variance of inner products); how orthogonal the rotations are;\n"
    "the relative error of rotations and cache types on vectors of 128 with and without the\n"
    "structure that keys have. No model is needed.\n\n"
    "Examples:\n"
    "  tern eval distortion\n"
    "  tern eval distortion --dims 128 --rotation haar --vectors 1000000 --json\n";

class EvalDistortion : public Command {
 public:
  void declare(Options& options) override {
    options.group("Vectors");
    options.integers("--dims", dims_, {32, 4096}, "dimensions, multiples of 32; default: 128,1536");
    options.integers("--bits", bits_, {1, 5}, "bits for each coordinate; default: 1,2,3,4");
    options.choice(
        "--rotation", options_.rotation,
        {{"hadamard", quant::RotationKind::hadamard}, {"haar", quant::RotationKind::haar}},
        "of the random vectors; default: hadamard");
    options.integer("--vectors", vectors_, {256, 100'000'000}, "random vectors; default: 100000");
    options.integer("--structured", structured_, {100, 10'000'000},
                    "vectors of each kind with structure; default: 4000");
    options.integer("--seed", options_.seed, {}, "of vectors and rotations; default: 1");
    options.integer("-t,--threads", model_.threads, {1, 1024},
                    "threads; default: one for each CPU that the process may use");
    options.group("Output");
    options.flag("--json", json_, "print one JSON object");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    options_.dims = {dims_.begin(), dims_.end()};
    options_.bits.clear();
    for (const auto bits : bits_) options_.bits.push_back(static_cast<unsigned>(bits));
    options_.vectors = vectors_;
    options_.structured = structured_;
    Measurement measurement(model_, context);
    TERN_TRY(const auto report, eval::measure(options_, measurement.pool(), measurement.watch()));
    context.progress.clear();
    context.out.write(json_ ? json_line(to_json(report)) : markdown(report));
    return 0;
  }

 private:
  static std::string markdown(const eval::DistortionReport& report) {
    using enum Table::Align;
    Table random({{"d", right},
                  {"bits", right},
                  {"MSE", right},
                  {"theory", right},
                  {"MSE / theory", right},
                  {"PROD bias", right},
                  {"PROD variance x d", right},
                  {"theory", right},
                  {"variance / theory", right}});
    for (const auto& [dim, d] : report.rows) {
      const auto n = static_cast<double>(dim);
      random.add({std::to_string(dim), std::to_string(d.bits), with_error(d.mse, 6),
                  fmt::format("{:.6f}", d.mse_theory),
                  fmt::format("{:.4f}", d.mse.value / d.mse_theory), with_error(d.prod_bias, 6),
                  with_error(d.prod_variance, 4, n),
                  fmt::format("{:.4f}", d.prod_variance_theory * n),
                  fmt::format("{:.4f}", d.prod_variance.value / d.prod_variance_theory)});
    }
    Table rotations(
        {{"rotation", left}, {"d", right}, {"max |R'R - I|", right}, {"max |R'Rx - x|", right}});
    for (const auto& row : report.rotations)
      rotations.add({row.rotation, std::to_string(row.dim), fmt::format("{:.1e}", row.gram),
                     fmt::format("{:.1e}", row.round_trip)});
    return "Random unit vectors\n\n" + random.markdown() + "\nRotations\n\n" +
           rotations.markdown() +
           "\nRelative error of vectors of 128, codebook of the sphere, norm stored\n\n" +
           structure(report, report.codebooks) +
           "\nRelative error of vectors of 128, cache types\n\n" + structure(report, report.caches);
  }

  static std::string structure(const eval::DistortionReport& report,
                               const std::vector<eval::StructureRow>& rows) {
    std::vector<Table::Column> columns = {{"codec", Table::Align::left},
                                          {"bits a value", Table::Align::right}};
    for (const auto& kind : report.data) columns.push_back({kind, Table::Align::right});
    Table table(std::move(columns));
    for (const auto& row : rows) {
      std::vector<std::string> cells = {row.codec, fmt::format("{:.3f}", row.bits_per_value)};
      for (const auto& error : row.errors) cells.push_back(fmt::format("{:.5f}", error.value));
      table.add(std::move(cells));
    }
    return table.markdown();
  }

  json::object to_json(const eval::DistortionReport& report) const {
    json::array random, rotations;
    for (const auto& [dim, d] : report.rows)
      random.push_back({{"dim", dim},
                        {"bits", d.bits},
                        {"mse", cli::to_json(d.mse)},
                        {"mse_theory", d.mse_theory},
                        {"prod_bias", cli::to_json(d.prod_bias)},
                        {"prod_variance", cli::to_json(d.prod_variance)},
                        {"prod_variance_theory", d.prod_variance_theory}});
    for (const auto& row : report.rotations)
      rotations.push_back({{"rotation", row.rotation},
                           {"dim", row.dim},
                           {"gram", row.gram},
                           {"round_trip", row.round_trip}});
    const auto rows = [&](const std::vector<eval::StructureRow>& list) {
      json::array array;
      for (const auto& row : list) {
        json::object object{{"codec", row.codec}, {"bits_per_value", row.bits_per_value}};
        for (std::size_t i = 0; i < report.data.size(); ++i)
          object[report.data[i]] = cli::to_json(row.errors[i]);
        array.push_back(std::move(object));
      }
      return array;
    };
    return {{"vectors", options_.vectors},
            {"structured", options_.structured},
            {"seed", options_.seed},
            {"random", std::move(random)},
            {"rotations", std::move(rotations)},
            {"codebooks", rows(report.codebooks)},
            {"caches", rows(report.caches)}};
  }

  ModelOptions model_;
  eval::DistortionOptions options_;
  std::vector<std::uint64_t> dims_ = {128, 1536}, bits_ = {1, 2, 3, 4};
  std::uint64_t vectors_ = 100'000, structured_ = 4'000;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_eval_distortion() {
  return std::make_unique<EvalDistortion>();
}

}  // namespace tern::cli
