// Filters on sequences.
#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "text/jinja_attribute_getter.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"
#include "text/jinja_number.h"
#include "text/jinja_sort.h"
#include "text/jinja_strings.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

using Values = std::span<const Value>;

bool flag(const Value& v) {
  return v.present() && truth(v);
}

struct Keyed {
  Value key, item;
};

Eval<std::vector<Keyed>> with_keys(Interpreter& in, std::span<const Value> items,
                                   const AttributeGetter& getter) {
  TERN_TRY_VOID(in.reserve(items.size(), sizeof(Keyed)));
  TERN_TRY_VOID(in.charge(items.size()));
  std::vector<Keyed> keyed;
  keyed.reserve(items.size());
  for (const Value& item : items) {
    TERN_TRY(const Value key, getter(item));
    keyed.push_back({key, item});
  }
  return keyed;
}

/// Python's sorted(): stable, also when reversed.
Eval<void> sort_by_key(Interpreter& in, std::vector<Keyed>& keyed, bool reverse) {
  return stable_sort(keyed, [&](const Keyed& a, const Keyed& b) {
    return reverse ? in.less(b.key, a.key) : in.less(a.key, b.key);
  });
}

Value items_of(Interpreter& in, const std::vector<Keyed>& keyed) {
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (const Keyed& k : keyed) items.push_back(k.item);
  return in.list(items);
}

Eval<Value> length_filter(Interpreter& in, Values args) {
  TERN_TRY(const std::int64_t n, in.length(args[0]));
  return make_int(n);
}

Eval<Value> list_filter(Interpreter& in, Values args) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  TERN_TRY_VOID(in.reserve(items.size(), sizeof(Value)));
  return in.list(items);
}

Eval<Value> first(Interpreter& in, Values args) {
  const Value& v = args[0];
  if (v.is(Kind::string) && v.string->length > 0) return in.substring(v, 0, 1);
  if (v.is(Kind::range) && v.range->length > 0) return make_int(v.range->start);
  if (v.is(Kind::generator) && !v.generator->items.empty()) {
    const Value item = v.generator->items.front();
    v.generator->items = v.generator->items.subspan(1);
    return item;
  }
  TERN_TRY(const std::span<const Value> items, in.iterate(v));
  return items.empty() ? in.undefined("No first item, sequence was empty.") : items.front();
}

bool reversible(const Value& v) {
  switch (v.kind) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::dict_view:
    case Kind::range:
      return true;
    default:
      return false;
  }
}

Eval<Value> last(Interpreter& in, Values args) {
  const Value& v = args[0];
  if (!reversible(v)) {
    return in.raise("'" + std::string(type_name(v)) + "' object is not reversible");
  }
  if (v.is(Kind::string) && v.string->length > 0) {
    return in.substring(v, v.string->length - 1, v.string->length);
  }
  TERN_TRY(const std::span<const Value> items, in.iterate(v));
  return items.empty() ? in.undefined("No last item, sequence was empty.") : items.back();
}

Eval<Value> reverse(Interpreter& in, Values args) {
  const Value& v = args[0];
  if (v.is(Kind::string)) {
    Value minus = make_int(-1);
    return in.slice(v, make_none(), make_none(), minus);
  }
  if (!in.iterable(v)) return in.raise("argument must be iterable");
  TERN_TRY(const std::span<const Value> items, in.iterate(v));
  TERN_TRY_VOID(in.reserve(items.size(), 2 * sizeof(Value)));
  const std::vector<Value> reversed(items.rbegin(), items.rend());
  return reversible(v) ? in.generator("reversed", reversed) : in.list(reversed);
}

Eval<Value> join(Interpreter& in, Values args) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  std::string_view separator;
  if (args[1].present()) {
    TERN_TRY(separator, in.str(args[1]));
  }
  const AttributeGetter getter(in, args[2]);
  TERN_TRY_VOID(in.reserve(items.size(), sizeof(std::string_view)));
  TERN_TRY_VOID(in.charge(items.size()));
  std::vector<std::string_view> parts;
  parts.reserve(items.size());
  for (const Value& item : items) {
    TERN_TRY(const Value value, getter(item));
    TERN_TRY(const std::string_view part, in.str(value));
    parts.push_back(part);
  }
  return join_text(in, parts, separator, false);
}

Eval<Value> items_filter(Interpreter& in, Values args) {
  const Value& v = args[0];
  if (v.is(Kind::undefined)) return in.generator("do_items", {});
  if (!v.is(Kind::dict)) {
    return lazy_result(in, "do_items", {}, in.raise("Can only get item pairs from a mapping."));
  }
  TERN_TRY(const Value view, in.call_native(*find_method(v, "items"), v, {}));
  TERN_TRY(const std::span<const Value> items, in.iterate(view));
  return in.generator("do_items", items);
}

Eval<Value> dictsort(Interpreter& in, Values args) {
  if (args[0].is(Kind::undefined)) return in.raise_undefined(args[0]);
  if (!args[0].is(Kind::dict)) {
    return in.raise("'" + std::string(type_name(args[0])) + "' object has no attribute 'items'");
  }
  std::string_view by = "key";
  if (args[2].present()) by = args[2].is(Kind::string) ? args[2].string->bytes : "";
  if (by != "key" && by != "value") {
    return in.raise("You can only sort by either \"key\" or \"value\"");
  }
  TERN_TRY(const Value view, in.call_native(*find_method(args[0], "items"), args[0], {}));
  TERN_TRY(const std::span<const Value> items, in.iterate(view));
  const AttributeGetter getter(in, make_int(by == "key" ? 0 : 1), !flag(args[1]));
  TERN_TRY(std::vector<Keyed> keyed, with_keys(in, items, getter));
  TERN_TRY_VOID(sort_by_key(in, keyed, flag(args[3])));
  return items_of(in, keyed);
}

/// sort(attribute="a,b") compares lists of attributes.
Eval<Value> sort(Interpreter& in, Values args) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  const bool ignore_case = !flag(args[2]);
  std::vector<AttributeGetter> getters;
  if (args[3].is(Kind::string)) {
    for (const std::string_view part : split_text(args[3].string->bytes, ",", SIZE_MAX)) {
      getters.emplace_back(in, make_string_view(in.arena(), part), ignore_case);
    }
  } else {
    getters.emplace_back(in, args[3], ignore_case);
  }
  TERN_TRY_VOID(in.reserve(items.size(), sizeof(Keyed) + getters.size() * sizeof(Value)));
  std::vector<Keyed> keyed;
  keyed.reserve(items.size());
  for (const Value& item : items) {
    std::vector<Value> keys;
    for (const AttributeGetter& getter : getters) {
      TERN_TRY_VOID(in.charge(1));
      TERN_TRY(const Value key, getter(item));
      keys.push_back(key);
    }
    keyed.push_back({in.list(keys), item});
  }
  TERN_TRY_VOID(sort_by_key(in, keyed, flag(args[1])));
  return items_of(in, keyed);
}

Eval<void> unique_items(Interpreter& in, Values args, std::vector<Value>& kept) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  const AttributeGetter getter(in, args[2], !flag(args[1]));
  const auto before = [](const Value& a, const Value& b) {
    return order_keys(a, b).value_or(0) < 0;
  };
  std::set<Value, decltype(before)> seen(before);
  for (const Value& item : items) {
    TERN_TRY_VOID(in.charge(8));
    TERN_TRY(const Value key, getter(item));
    if (!hashable(key)) {
      return in.raise("unhashable type: '" + std::string(type_name(key)) + "'");
    }
    if (seen.insert(key).second) kept.push_back(item);
  }
  return {};
}

Eval<Value> unique(Interpreter& in, Values args) {
  std::vector<Value> kept;
  Eval<void> outcome = unique_items(in, args, kept);
  return lazy_result(in, "sync_do_unique", kept, std::move(outcome));
}

template <bool want_less>
Eval<Value> extreme(Interpreter& in, Values args) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  if (items.empty()) return in.undefined("No aggregated item, sequence was empty.");
  const AttributeGetter getter(in, args[2], !flag(args[1]));
  Value best = items.front();
  TERN_TRY(Value best_key, getter(best));
  for (const Value& item : items.subspan(1)) {
    TERN_TRY(const Value key, getter(item));
    TERN_TRY(const bool better, in.less(key, best_key, want_less ? "<" : ">"));
    if (!better) continue;
    best = item;
    best_key = key;
  }
  return best;
}

Eval<Value> groupby(Interpreter& in, Values args) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  const bool ignore_case = !flag(args[3]);
  const AttributeGetter getter(in, args[1], ignore_case, args[2]);
  const AttributeGetter exact(in, args[1], false, args[2]);
  TERN_TRY(std::vector<Keyed> keyed, with_keys(in, items, getter));
  TERN_TRY_VOID(sort_by_key(in, keyed, false));
  std::vector<Value> groups;
  for (std::size_t begin = 0; begin < keyed.size();) {
    std::vector<Value> members;
    std::size_t end = begin;
    for (; end < keyed.size(); ++end) {
      TERN_TRY(const bool same, in.equal(keyed[begin].key, keyed[end].key));
      if (!same && end > begin) break;
      members.push_back(keyed[end].item);
    }
    TERN_TRY(const Value grouper, exact(keyed[begin].item));
    Value group = in.tuple({grouper, in.list(members)});
    group.sequence = in.arena().make<Sequence>(group.sequence->items, true);
    groups.push_back(group);
    begin = end;
  }
  return in.list(groups);
}

Eval<Value> sum(Interpreter& in, Values args) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  const AttributeGetter getter(in, args[1]);
  Value total = args[2].present() ? args[2] : make_int(0);
  if (total.is(Kind::string)) return in.raise("sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value& item : items) {
    TERN_TRY_VOID(in.charge(1));
    TERN_TRY(const Value value, getter(item));
    TERN_TRY(total, in.binary(Operator::add, total, value));
  }
  return total;
}

constexpr std::array<std::string_view, 1> kObject = {"/obj"};
constexpr std::array<std::string_view, 1> kValue = {"value"};
constexpr std::array<std::string_view, 1> kSeq = {"seq"};
constexpr std::array<std::string_view, 3> kJoin = {"value", "d", "attribute"};
constexpr std::array<std::string_view, 4> kDictSort = {"value", "case_sensitive", "by", "reverse"};
constexpr std::array<std::string_view, 4> kSort = {"value", "reverse", "case_sensitive",
                                                   "attribute"};
constexpr std::array<std::string_view, 3> kUnique = {"value", "case_sensitive", "attribute"};
constexpr std::array<std::string_view, 4> kGroup = {"value", "attribute", "default",
                                                    "case_sensitive"};
constexpr std::array<std::string_view, 3> kSum = {"iterable", "attribute", "start"};

constexpr std::array<Native, 15> kFilters = {{
    {.name = "count", .parameters = kObject, .required = 1, .function = length_filter},
    {.name = "length", .parameters = kObject, .required = 1, .function = length_filter},
    {.name = "dictsort", .parameters = kDictSort, .required = 1, .function = dictsort},
    {.name = "first", .parameters = kSeq, .required = 1, .function = first},
    {.name = "groupby", .parameters = kGroup, .required = 2, .function = groupby},
    {.name = "items", .parameters = kValue, .required = 1, .function = items_filter},
    {.name = "join", .parameters = kJoin, .required = 1, .function = join},
    {.name = "last", .parameters = kSeq, .required = 1, .function = last},
    {.name = "list", .parameters = kValue, .required = 1, .function = list_filter},
    {.name = "max", .parameters = kUnique, .required = 1, .function = extreme<false>},
    {.name = "min", .parameters = kUnique, .required = 1, .function = extreme<true>},
    {.name = "reverse", .parameters = kValue, .required = 1, .function = reverse},
    {.name = "sort", .parameters = kSort, .required = 1, .function = sort},
    {.name = "sum", .parameters = kSum, .required = 1, .function = sum},
    {.name = "unique", .parameters = kUnique, .required = 1, .function = unique},
}};

}  // namespace

const Native* find_sequence_filter(std::string_view name) {
  return find_native(kFilters, name);
}

}  // namespace tern::text::jinja
