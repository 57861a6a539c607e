// Every format that a model can be converted to.
#pragma once
#include <span>
#include <string_view>

#include "base/error.h"
#include "convert/plan.h"

namespace tern::convert {

struct Target {
  std::string_view name;     ///< as it is typed: "mlx-4bit", "q4_k_m"
  std::string_view summary;  ///< for --help
  /// @error unsupported  a source or options that this target cannot take. @error usage  options
  /// that it does not have, or an override that matches nothing
  Result<Plan> (*plan)(const Source& source, const Target& target, const PlanOptions& options);
};

/// In the order of the help text.
std::span<const Target> targets();
/// Null when there is none of that name; upper and lower case are alike.
const Target* find_target(std::string_view name);

}  // namespace tern::convert
