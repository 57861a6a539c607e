// How much each input column of each matrix matters: what an importance matrix holds.
#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tern::convert {

/// Mean squares of the inputs, by GGUF name of the matrix ("blk.1.ffn_up_exps.weight"): [inputs],
/// or of stacked experts [experts * inputs].
struct Importance {
  std::map<std::string, std::vector<float>, std::less<>> columns;

  /// Empty when there is none of that name.
  std::span<const float> find(std::string_view gguf) const {
    const auto found = columns.find(gguf);
    return found == columns.end() ? std::span<const float>()
                                  : std::span<const float>(found->second);
  }
};

}  // namespace tern::convert
