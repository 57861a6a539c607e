#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "text/jinja_number.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

constexpr std::size_t kLinearDict = 8;
constexpr int kKeyDepth = 64;

/// Kinds that compare with each other share a rank.
int key_rank(const Value& v) {
  if (v.is_number()) return 0;
  switch (v.kind) {
    case Kind::string:
      return 1;
    case Kind::none:
      return 2;
    case Kind::undefined:
      return 3;
    case Kind::tuple:
      return 4;
    default:
      return 5;
  }
}

int sign(std::size_t a, std::size_t b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

int order_numbers(const Value& a, const Value& b) {
  const std::partial_ordering order = compare_numbers(a, b);
  if (order == std::partial_ordering::less) return -1;
  if (order == std::partial_ordering::greater) return 1;
  if (order == std::partial_ordering::equivalent) return 0;
  // NaN: a key of its own, after every number.
  const bool a_nan = a.is(Kind::real) && std::isnan(a.real);
  const bool b_nan = b.is(Kind::real) && std::isnan(b.real);
  return int(a_nan) - int(b_nan);
}

std::optional<int> order_tuples(const Value& a, const Value& b, int depth) {
  const auto& x = a.sequence->items;
  const auto& y = b.sequence->items;
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    const auto order = order_keys(x[i], y[i], depth + 1);
    if (!order || *order != 0) return order;
  }
  return sign(x.size(), y.size());
}

}  // namespace

Value* Namespace::find(std::string_view name) {
  for (Attribute& attribute : attributes) {
    if (attribute.name == name) return &attribute.value;
  }
  return nullptr;
}

std::string_view Arena::copy(std::string_view text) {
  if (text.empty()) return {};
  bytes_ += text.size();
  char* to = static_cast<char*>(memory_.allocate(text.size(), 1));
  std::memcpy(to, text.data(), text.size());
  return {to, text.size()};
}

Value make_string_view(Arena& arena, std::string_view text, bool markup) {
  Value v;
  v.kind = Kind::string;
  v.string = arena.make<String>(text, count_code_points(text), markup);
  return v;
}

Value make_string(Arena& arena, std::string_view text, bool markup) {
  return make_string_view(arena, arena.copy(text), markup);
}

Value make_list(Arena& arena, std::span<const Value> items, Kind kind) {
  Value v;
  v.kind = kind;
  v.sequence = arena.make<Sequence>(arena.copy(items));
  return v;
}

std::string_view type_name(const Value& v) {
  switch (v.kind) {
    case Kind::absent:
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
    case Kind::big:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return v.string->markup ? "Markup" : "str";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return "tuple";
    case Kind::dict:
      return "dict";
    case Kind::dict_view:
      return v.dict_view->view == View::keys     ? "dict_keys"
             : v.dict_view->view == View::values ? "dict_values"
                                                 : "dict_items";
    case Kind::range:
      return "range";
    case Kind::generator:
      return "generator";
    case Kind::name_space:
      return "Namespace";
    case Kind::macro:
      return "Macro";
    case Kind::loop:
      return "LoopContext";
    case Kind::native:
      return "function";
    case Kind::method:
      return "builtin_function_or_method";
    case Kind::cycler:
      return "Cycler";
    case Kind::joiner:
      return "Joiner";
  }
  return "object";
}

bool truth(const Value& v) {
  switch (v.kind) {
    case Kind::absent:
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
      return v.boolean;
    case Kind::integer:
      return v.integer != 0;
    case Kind::real:
      return v.real != 0;
    case Kind::string:
      return !v.string->bytes.empty();
    case Kind::list:
    case Kind::tuple:
      return !v.sequence->items.empty();
    case Kind::dict:
      return !v.dict->entries.empty();
    case Kind::dict_view:
      return !v.dict_view->dict->entries.empty();
    case Kind::range:
      return v.range->length != 0;
    default:
      return true;
  }
}

std::optional<int> order_keys(const Value& a, const Value& b, int depth) {
  if (depth > kKeyDepth) return std::nullopt;
  const int rank = key_rank(a);
  if (rank != key_rank(b)) return rank < key_rank(b) ? -1 : 1;
  switch (rank) {
    case 0:
      return order_numbers(a, b);
    case 1:  // the order of UTF-8 bytes is the order of code points
      return a.string->bytes.compare(b.string->bytes);
    case 2:
    case 3:
      return 0;
    case 4:
      return order_tuples(a, b, depth);
    default:
      return a.object == b.object ? 0 : std::less<>()(a.object, b.object) ? -1 : 1;
  }
}

bool hashable(const Value& v, int depth) {
  if (depth > kKeyDepth) return false;
  switch (v.kind) {
    case Kind::list:
    case Kind::dict:
    case Kind::dict_view:
      return false;
    case Kind::tuple:
      return std::ranges::all_of(v.sequence->items,
                                 [&](const Value& item) { return hashable(item, depth + 1); });
    default:
      return true;
  }
}

const Dict* make_dict(Arena& arena, std::span<const Entry> entries, bool unique_keys) {
  const auto before = [&](std::uint32_t a, std::uint32_t b) {
    const int order = order_keys(entries[a].key, entries[b].key).value_or(0);
    return order != 0 ? order < 0 : a < b;
  };
  std::vector<std::uint32_t> order(entries.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
  std::ranges::sort(order, before);

  // Equal keys are neighbours now, in order of appearance: the first place, the last value.
  std::vector<Entry> kept;
  if (!unique_keys) {
    std::vector<Entry> merged(entries.begin(), entries.end());
    std::vector<bool> dropped(entries.size(), false);
    std::size_t first = 0;
    bool duplicates = false;
    for (std::size_t i = 1; i < order.size(); ++i) {
      const auto same = order_keys(entries[order[first]].key, entries[order[i]].key);
      if (same && *same == 0) {
        merged[order[first]].value = entries[order[i]].value;
        dropped[order[i]] = true;
        duplicates = true;
      } else {
        first = i;
      }
    }
    if (duplicates) {
      for (std::size_t i = 0; i < merged.size(); ++i) {
        if (!dropped[i]) kept.push_back(merged[i]);
      }
      return make_dict(arena, kept, true);
    }
  }
  Dict* dict = arena.make<Dict>(arena.copy(entries));
  if (entries.size() > kLinearDict) {
    dict->order = arena.copy(std::span<const std::uint32_t>(order));
  }
  return dict;
}

Value dict_value(const Dict* dict) {
  Value v;
  v.kind = Kind::dict;
  v.dict = dict;
  return v;
}

const Value* find(const Dict& dict, const Value& key) {
  if (dict.order.empty()) {
    for (const Entry& entry : dict.entries) {
      const auto order = order_keys(entry.key, key);
      if (order && *order == 0) return &entry.value;
    }
    return nullptr;
  }
  const auto at = std::ranges::partition_point(dict.order, [&](std::uint32_t i) {
    return order_keys(dict.entries[i].key, key).value_or(0) < 0;
  });
  if (at == dict.order.end()) return nullptr;
  const Entry& entry = dict.entries[*at];
  const auto order = order_keys(entry.key, key);
  return order && *order == 0 ? &entry.value : nullptr;
}

const Value* find(const Dict& dict, std::string_view key) {
  const String text{key, 0, false};
  Value v;
  v.kind = Kind::string;
  v.string = &text;
  return find(dict, v);
}

}  // namespace tern::text::jinja
