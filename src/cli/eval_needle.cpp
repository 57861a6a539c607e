// tern eval needle: facts hidden in long texts.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/eval_common.h"
#include "cli/files.h"
#include "cli/table.h"
#include "eval/needle.h"
#include "eval/pictures.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "Each prompt is a user's message of unrelated sentences, one fact (\"The code for amber is\n"
    "4821.\") at the given depth, some facts about other things, and the question; the answer is\n"
    "greedy, without thinking, and right when the value is in it.\n\n"
    "Examples:\n"
    "  tern eval needle demo --svg needle.svg\n"
    "  tern eval needle -m model/ --lengths 4096,16384,65536 --kv turbo4 --repeats 3\n";

class EvalNeedle : public Command {
 public:
  void declare(Options& options) override {
    options.group("Model");
    declare_model(options, model_);
    declare_compute(options, model_);
    declare_fold(options, model_);
    options.group("Grid");
    options.integers("--lengths", lengths_, {64, 1u << 20},
                     "tokens of the prompts; default: 512,1024,2048,4096");
    options.integer("--depths", depths_, {1, 101},
                    "depths of the fact, evenly from the beginning to the end; default: 11");
    options.integer("--repeats", repeats_, {1, 1000}, "prompts for each place; default: 1");
    options.integer("--distractors", distractors_, {0, 60},
                    "facts about other things in each prompt; default: 4");
    options.integer("--seed", seed_, {}, "of the prompts; default: 1");
    options.group("Output");
    options.text("--svg", "FILE", svg_, "write a heat map", ValueKind::file);
    options.flag("--json", json_, "print one JSON object");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    if (svg_) TERN_TRY_VOID(check_output(*svg_));
    const eval::NeedleOptions grid{.lengths = {lengths_.begin(), lengths_.end()},
                                   .depths = depths_,
                                   .repeats = repeats_,
                                   .distractors = distractors_,
                                   .seed = seed_};
    TERN_TRY(const auto engine, load_engine(model_, eval::needle_capacity(grid), context));
    TERN_TRY(auto sequence, engine->new_sequence());
    state::Sequence* const sequences[] = {&sequence};
    Measurement measurement(model_, context);
    auto found = eval::find_needles(*engine, sequences, grid, measurement.watch());
    if (!found) {
      if (found.error().where == "context") found.error().where = "--lengths";
      return std::unexpected(found.error());
    }
    context.progress.clear();
    const auto& cells = found->front();
    if (svg_)
      TERN_TRY_VOID(write_file(
          *svg_, eval::needle_picture(cells, fmt::format("Facts found by {} with cache {}",
                                                         engine->checkpoint().display_name(),
                                                         engine::kv_label(engine->kv_config())))));
    context.out.write(json_ ? json_line(report(*engine, cells)) : table(cells));
    return 0;
  }

 private:
  json::object report(const engine::Engine& engine,
                      const std::vector<eval::NeedleCell>& cells) const {
    json::array list;
    for (const auto& cell : cells)
      list.push_back({{"length", cell.length},
                      {"depth", cell.depth},
                      {"asked", cell.accuracy.asked},
                      {"right", cell.accuracy.right}});
    const auto all = eval::total(cells);
    return {{"model", engine.checkpoint().display_name()},
            {"kv", kv_json(engine.kv_config())},
            {"seed", seed_},
            {"distractors", distractors_},
            {"asked", all.asked},
            {"right", all.right},
            {"cells", std::move(list)}};
  }

  /// Depths down, lengths across.
  std::string table(const std::vector<eval::NeedleCell>& cells) const {
    std::vector<Table::Column> columns = {{"depth", Table::Align::right}};
    for (const auto length : lengths_)
      columns.push_back({fmt::format("{} tokens", length), Table::Align::right});
    Table table(std::move(columns));
    for (std::size_t depth = 0; depth < depths_; ++depth) {
      std::vector<std::string> row = {fmt::format("{:.0f} %", 100 * cells[depth].depth)};
      for (std::size_t length = 0; length < lengths_.size(); ++length) {
        const auto& accuracy = cells[length * depths_ + depth].accuracy;
        row.push_back(fmt::format("{}/{}", accuracy.right, accuracy.asked));
      }
      table.add(std::move(row));
    }
    const auto all = eval::total(cells);
    return table.markdown() +
           fmt::format("\nfound: {} of {} ({:.1f} %)\n", all.right, all.asked, 100 * all.share());
  }

  ModelOptions model_;
  std::vector<std::uint64_t> lengths_ = {512, 1024, 2048, 4096};
  std::uint64_t depths_ = 11, repeats_ = 1, distractors_ = 4, seed_ = 1;
  std::optional<std::string> svg_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_eval_needle() {
  return std::make_unique<EvalNeedle>();
}

}  // namespace tern::cli
