// tern variants: the family as a table.
#include "engine/variants.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "cli/command.h"
#include "cli/stats.h"
#include "cli/table.h"
#include "hub/cache.h"
#include "hub/environment.h"
#include "hub/family.h"

namespace tern::cli {
namespace {

constexpr const char* kExamples =
    "A name runs as it stands here, or with majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning- "
    "before\n"
    "it. Weights of both labels are the same plain formats; -TQ-KV and -RQ-KV turn on the cache "
    "that\n"
    "they name (turbo4, iso4) and use the weights of their parent. Sizes are those of the tensors, "
    "to\n"
    "the byte in --json. docs/models.md says more.\n\n"
    "Examples:\n"
    "  tern variants\n"
    "  tern variants --ctx 262144 --fits\n"
    "  tern variants --json | jq '.variants[] | select(.downloaded) | .name'\n";

struct Row {
  const hub::Variant* variant;
  std::uint64_t bytes = 0, memory = 0;
  bool fits = false, downloaded = false;
};

class Variants : public Command {
 public:
  void declare(Options& options) override {
    options.group("Table");
    options.integer("-c,--ctx", context_, {1, 1u << 24},
                    "tokens of the conversation that the memory is for; default: 4096");
    options.flag("--fits", only_fitting_, "only what fits the memory of this machine");
    options.flag("--json", json_, "print one JSON object");
    options.footer(kExamples);
  }

  Result<int> run(Context& context) override {
    TERN_TRY(const auto environment, hub::read_environment());
    std::vector<Row> rows;
    for (const hub::Variant& variant : hub::family()) {
      if (variant.parent.empty()) continue;
      TERN_TRY(Row row, describe(variant, environment));
      if (row.fits || !only_fitting_) rows.push_back(row);
    }
    context.out.write(json_ ? json::serialize(to_json(rows)) + "\n" : to_text(rows));
    return 0;
  }

 private:
  Result<Row> describe(const hub::Variant& variant, const hub::Environment& environment) const {
    Row row{.variant = &variant};
    TERN_TRY(const auto needs, engine::variant_memory(variant.format, variant.cache, context_));
    row.bytes = needs.weights;
    row.memory = needs.weights + needs.kv + needs.state + needs.scratch;
    row.fits = row.memory <= engine::physical_memory();
    TERN_TRY(const auto name, hub::parse_model_name(variant.repository()));
    row.downloaded = name && hub::find_cached(environment.cache, *name).has_value();
    return row;
  }

  std::string to_text(const std::vector<Row>& rows) const {
    using enum Table::Align;
    Table table({{"name", left},
                 {"weights", right},
                 {"cache", left},
                 {fmt::format("memory at {} tokens", context_), right},
                 {"fits", left},
                 {"downloaded", left}});
    for (const Row& row : rows)
      table.add({row.variant->name + (row.variant->published ? "" : " (not published)"),
                 human_bytes(row.bytes),
                 std::string(row.variant->cache.empty() ? "f16" : row.variant->cache),
                 human_bytes(row.memory), row.fits ? "yes" : "no", row.downloaded ? "yes" : ""});
    std::string text = table.markdown();
    text += fmt::format("\nThis machine has {} of memory.\nNot models: ",
                        human_bytes(engine::physical_memory()));
    for (const hub::Variant& variant : hub::family())
      if (variant.holds == hub::Holds::cache)
        text += fmt::format("{} (the cache type {}, for any weights: --kv {}), ", variant.name,
                            variant.cache, variant.cache);
      else if (variant.holds == hub::Holds::encoders)
        text += fmt::format("{} (encoders of images and sound).\n", variant.name);
    return text;
  }

  json::object to_json(const std::vector<Row>& rows) const {
    json::array variants;
    for (const Row& row : rows)
      variants.push_back({{"name", row.variant->name},
                          {"repository", row.variant->repository()},
                          {"weights", row.variant->parent},
                          {"format", row.variant->format},
                          {"kv", row.variant->cache.empty() ? "f16" : row.variant->cache},
                          {"published", row.variant->published},
                          {"bytes", row.bytes},
                          {"memory", row.memory},
                          {"fits", row.fits},
                          {"downloaded", row.downloaded}});
    return {{"context", context_},
            {"machine_memory", engine::physical_memory()},
            {"variants", std::move(variants)}};
  }

  std::uint64_t context_ = 4096;
  bool only_fitting_ = false, json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_variants() {
  return std::make_unique<Variants>();
}

}  // namespace tern::cli
