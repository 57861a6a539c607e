// Methods of dict, list, tuple and range, and where the methods of each type are found.
#include <array>
#include <vector>

#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"

namespace tern::text::jinja {

namespace {

using Values = std::span<const Value>;

Eval<Value> get(Interpreter& in, Values args) {
  if (!hashable(args[1])) {
    return in.raise("unhashable type: '" + std::string(type_name(args[1])) + "'");
  }
  if (const Value* value = find(*args[0].dict, args[1])) return *value;
  return args[2].present() ? args[2] : make_none();
}

template <View view>
Eval<Value> view_of(Interpreter& in, Values args) {
  Value v;
  v.kind = Kind::dict_view;
  v.dict_view = in.arena().make<DictView>(args[0].dict, view);
  return v;
}

Eval<Value> copy_dict(Interpreter& in, Values args) {
  return dict_value(in.arena().make<Dict>(*args[0].dict));
}

Eval<Value> copy_list(Interpreter& in, Values args) {
  return in.list(args[0].sequence->items);
}

Eval<std::int64_t> bound(Interpreter& in, const Value& v, std::int64_t fallback,
                         std::int64_t size) {
  if (!v.present()) return fallback;
  if (!v.is_integer()) {
    return in.raise("slice indices must be integers or have an __index__ method");
  }
  const std::int64_t i = as_int64(v);
  return i < 0 ? std::max<std::int64_t>(i + size, 0) : std::min(i, size);
}

/// list.index, tuple.index, range.index.
Eval<Value> index(Interpreter& in, Values args) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  const auto size = static_cast<std::int64_t>(items.size());
  TERN_TRY(const std::int64_t start, bound(in, args[2], 0, size));
  TERN_TRY(const std::int64_t stop, bound(in, args[3], size, size));
  for (std::int64_t i = start; i < stop; ++i) {
    TERN_TRY(const bool same, in.equal(items[static_cast<std::size_t>(i)], args[1]));
    if (same) return make_int(i);
  }
  TERN_TRY(const std::string shown, in.repr(args[1]));
  return in.raise(shown + " is not in " + std::string(type_name(args[0])));
}

Eval<Value> count(Interpreter& in, Values args) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  std::int64_t n = 0;
  for (const Value& item : items) {
    TERN_TRY(const bool same, in.equal(item, args[1]));
    n += std::int64_t(same);
  }
  return make_int(n);
}

constexpr std::array<std::string_view, 1> kSelf = {"/self"};
constexpr std::array<std::string_view, 3> kGet = {"/self", "/key", "/default"};
constexpr std::array<std::string_view, 4> kIndex = {"/self", "/value", "/start", "/stop"};

constexpr std::array<Native, 5> kDict = {{
    {.name = "get", .parameters = kGet, .required = 2, .function = get},
    {.name = "keys", .parameters = kSelf, .required = 1, .function = view_of<View::keys>},
    {.name = "values", .parameters = kSelf, .required = 1, .function = view_of<View::values>},
    {.name = "items", .parameters = kSelf, .required = 1, .function = view_of<View::items>},
    {.name = "copy", .parameters = kSelf, .required = 1, .function = copy_dict},
}};

constexpr std::array<Native, 3> kList = {{
    {.name = "index", .parameters = kIndex, .required = 2, .function = index},
    {.name = "count", .parameters = std::span(kGet).first(2), .required = 2, .function = count},
    {.name = "copy", .parameters = kSelf, .required = 1, .function = copy_list},
}};

}  // namespace

const Native* find_method(const Value& self, std::string_view name) {
  switch (self.kind) {
    case Kind::string:
      return find_string_method(name);
    case Kind::dict:
      return find_native(kDict, name);
    case Kind::list:
      return find_native(kList, name);
    case Kind::tuple:
    case Kind::range:
      return find_native(std::span(kList).first(2), name);
    case Kind::cycler:
      return find_cycler_method(name);
    default:
      return nullptr;
  }
}

}  // namespace tern::text::jinja
