// Which format each matrix of a model gets: the target's own choice, and --override.
#pragma once
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "convert/plan.h"

namespace tern::convert {

/// Gives each tensor its override, and knows which overrides were never used.
class Overrides {
 public:
  explicit Overrides(const std::vector<Override>& list) : list_(list) {}

  /// The word of the last override that matches one of the names of a tensor; empty for none.
  std::string_view find(std::initializer_list<std::string_view> names);

  /// @error usage  an override that matched nothing: most likely a misspelt name
  Result<void> check() const;

 private:
  const std::vector<Override>& list_;
  std::set<std::size_t> used_;
};

/// "module.weight" without ".weight".
std::string_view module_of(std::string_view name);

/// Whether `tensor` is the router of experts, which no format quantizes.
bool is_router(const SourceTensor& tensor);

/// Warns of matrices whose codes are decoded and coded again.
void warn_of_requantizing(const Source& source, Plan& plan);

}  // namespace tern::convert
