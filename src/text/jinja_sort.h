// A stable sort whose comparison may fail, and may be no order at all (NaN).
#pragma once
#include <algorithm>
#include <vector>

#include "text/jinja_value.h"

namespace tern::text::jinja {

/// Bottom-up merge sort; `less` returns Eval<bool>.
template <class T, class Less>
Eval<void> stable_sort(std::vector<T>& items, Less less) {
  std::vector<T> merged(items.size());
  for (std::size_t width = 1; width < items.size(); width *= 2) {
    for (std::size_t begin = 0; begin < items.size(); begin += 2 * width) {
      const std::size_t middle = std::min(begin + width, items.size());
      const std::size_t end = std::min(begin + 2 * width, items.size());
      std::size_t left = begin;
      std::size_t right = middle;
      for (std::size_t to = begin; to < end; ++to) {
        bool take_right = left == middle;
        if (!take_right && right < end) {
          TERN_TRY(take_right, less(items[right], items[left]));
        }
        merged[to] = take_right ? items[right++] : items[left++];
      }
    }
    items.swap(merged);
  }
  return {};
}

}  // namespace tern::text::jinja
