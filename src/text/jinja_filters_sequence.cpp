// Filters on sequences.
#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"
#include "text/jinja_number.h"
#include "text/jinja_strings.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

using Values = std::span<const Value>;

bool flag(const Value& v) {
  return v.present() && truth(v);
}

/// Result of a lazy filter: what it made before it failed, if it did. Limits fail at once.
Eval<Value> lazily(Interpreter& in, std::string_view name, std::vector<Value> items,
                   Eval<void> outcome) {
  if (outcome) return in.generator(name, items);
  Failure failure = std::move(outcome).error();
  if (failure->code == ErrorCode::too_large) return std::unexpected(std::move(failure));
  return in.generator(name, items, std::move(failure));
}

/// Looks "a.b.0" up, part by part.
class AttributeGetter {
 public:
  AttributeGetter(Interpreter& in, const Value& attribute, bool ignore_case = false,
                  const Value& fallback = {})
      : in_(in), ignore_case_(ignore_case), fallback_(fallback) {
    if (!attribute.present() || attribute.is(Kind::none)) return;
    if (!attribute.is(Kind::string)) {
      parts_.push_back(attribute);
      return;
    }
    for (const std::string_view part : split_text(attribute.string->bytes, ".", SIZE_MAX)) {
      const bool digits =
          !part.empty() && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
      const auto number = digits ? parse_integer(in.arena(), part, 10) : std::optional<Value>();
      parts_.push_back(number ? *number : make_string_view(in.arena(), part));
    }
  }

  Eval<Value> operator()(Value item) const {
    for (const Value& part : parts_) {
      TERN_TRY(item, in_.item(item, part));
      if (item.is(Kind::undefined) && fallback_.present() && !fallback_.is(Kind::none)) {
        item = fallback_;
      }
    }
    if (!ignore_case_ || !item.is(Kind::string)) return item;
    TERN_TRY_VOID(in_.reserve(item.string->bytes.size(), 3));
    TERN_TRY_VOID(in_.charge_bytes(item.string->bytes.size()));
    return in_.text(lower(item.string->bytes));
  }

 private:
  Interpreter& in_;
  bool ignore_case_;
  Value fallback_;
  std::vector<Value> parts_;
};

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
  Failure failure;
  std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
    if (failure) return false;
    auto before = reverse ? in.less(b.key, a.key) : in.less(a.key, b.key);
    if (!before) failure = std::move(before).error();
    return before.value_or(false);
  });
  if (failure) return std::unexpected(std::move(failure));
  return {};
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
    return lazily(in, "do_items", {}, in.raise("Can only get item pairs from a mapping."));
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
  return lazily(in, "sync_do_unique", std::move(kept), std::move(outcome));
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

Eval<void> batches(Interpreter& in, Values args, std::vector<Value>& rows) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  std::vector<Value> row;
  for (const Value& item : items) {
    TERN_TRY(const bool full, in.equal(make_size(row.size()), args[1]));
    if (full) {
      rows.push_back(in.list(row));
      row.clear();
    }
    row.push_back(item);
  }
  if (row.empty()) return {};
  if (args[2].present() && !args[2].is(Kind::none)) {
    TERN_TRY(const bool short_row, in.less(make_size(row.size()), args[1]));
    if (short_row && !args[1].is_integer()) return in.raise("can't multiply sequence by non-int");
    if (short_row) {
      const auto width = static_cast<std::size_t>(as_int64(args[1]));
      TERN_TRY_VOID(in.reserve(width, 2 * sizeof(Value)));
      row.resize(width, args[2]);
    }
  }
  rows.push_back(in.list(row));
  return {};
}

Eval<Value> batch(Interpreter& in, Values args) {
  std::vector<Value> rows;
  Eval<void> outcome = batches(in, args, rows);
  return lazily(in, "do_batch", std::move(rows), std::move(outcome));
}

Eval<void> slices(Interpreter& in, Values args, std::vector<Value>& columns) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[0]));
  if (!args[1].is_integer()) {
    return in.raise("unsupported operand type(s) for //: 'int' and '" +
                    std::string(type_name(args[1])) + "'");
  }
  if (as_int64(args[1]) == 0) return in.raise("integer division or modulo by zero");
  if (as_int64(args[1]) < 0) return {};
  const auto count = static_cast<std::size_t>(as_int64(args[1]));
  TERN_TRY_VOID(in.reserve(count, 2 * sizeof(Value) + sizeof(Sequence)));
  TERN_TRY_VOID(in.charge(count));
  const std::size_t each = items.size() / count;
  const std::size_t longer = items.size() % count;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size = each + (i < longer ? 1 : 0);
    const auto part = items.subspan(begin, size);
    std::vector<Value> column(part.begin(), part.end());
    begin += size;
    if (i >= longer && args[2].present() && !args[2].is(Kind::none)) column.push_back(args[2]);
    columns.push_back(in.list(column));
  }
  return {};
}

Eval<Value> slice_filter(Interpreter& in, Values args) {
  std::vector<Value> columns;
  Eval<void> outcome = slices(in, args, columns);
  return lazily(in, "sync_do_slice", std::move(columns), std::move(outcome));
}

Eval<void> map_items(Interpreter& in, const Value& value, const Args& args,
                     std::vector<Value>& mapped) {
  if (!truth(value)) return {};
  Value attribute;
  Value fallback;
  const Native* filter = nullptr;
  if (args.positional.empty()) {
    for (const Attribute& named : args.named) {
      if (named.name == "attribute") attribute = named.value;
      if (named.name == "default") fallback = named.value;
    }
    if (!attribute.present()) return in.raise("map requires a filter argument");
    for (const Attribute& named : args.named) {
      if (named.name != "attribute" && named.name != "default") {
        return in.raise("Unexpected keyword argument '" + std::string(named.name) + "'");
      }
    }
  } else {
    const Value& name = args.positional[0];
    if (name.is(Kind::string)) filter = find_filter(name.string->bytes);
    if (!filter) {
      TERN_TRY(const std::string shown, in.repr(name));
      return in.raise("No filter named " + shown + ".", ErrorCode::unsupported);
    }
  }
  const AttributeGetter getter(in, attribute, false, fallback);
  TERN_TRY(const std::span<const Value> items, in.iterate(value));
  for (const Value& item : items) {
    TERN_TRY_VOID(in.charge(1));
    if (filter) {
      const Args rest{args.positional.subspan(1), args.named};
      TERN_TRY(const Value result, in.call_native(*filter, item, rest));
      mapped.push_back(result);
    } else {
      TERN_TRY(const Value result, getter(item));
      mapped.push_back(result);
    }
  }
  return {};
}

Eval<Value> map(Interpreter& in, const Value& self, const Args& args) {
  const Interpreter::Nested nested(in);
  TERN_TRY_VOID(in.enter());
  std::vector<Value> mapped;
  Eval<void> outcome = map_items(in, self, args, mapped);
  return lazily(in, "sync_do_map", std::move(mapped), std::move(outcome));
}

Eval<void> select_items(Interpreter& in, const Value& value, Args args, bool by_attribute,
                        bool wanted, std::vector<Value>& selected) {
  if (!truth(value)) return {};
  Value attribute;
  if (by_attribute) {
    if (args.positional.empty()) return in.raise("Missing parameter for attribute name");
    attribute = args.positional[0];
    args.positional = args.positional.subspan(1);
  }
  const AttributeGetter getter(in, attribute);
  const Native* test = nullptr;
  if (!args.positional.empty()) {
    const Value& name = args.positional[0];
    if (name.is(Kind::string)) test = find_test(name.string->bytes);
    if (!test) {
      TERN_TRY(const std::string shown, in.repr(name));
      return in.raise("No test named " + shown + ".", ErrorCode::unsupported);
    }
    args.positional = args.positional.subspan(1);
  }
  TERN_TRY(const std::span<const Value> items, in.iterate(value));
  for (const Value& item : items) {
    TERN_TRY_VOID(in.charge(1));
    TERN_TRY(Value subject, getter(item));
    if (test) {
      TERN_TRY(subject, in.call_native(*test, subject, args));
    }
    if (truth(subject) == wanted) selected.push_back(item);
  }
  return {};
}

template <bool by_attribute, bool wanted>
Eval<Value> select(Interpreter& in, const Value& self, const Args& args) {
  const Interpreter::Nested nested(in);
  TERN_TRY_VOID(in.enter());
  std::vector<Value> selected;
  Eval<void> outcome = select_items(in, self, args, by_attribute, wanted, selected);
  return lazily(in, "select_or_reject", std::move(selected), std::move(outcome));
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
constexpr std::array<std::string_view, 3> kBatch = {"value", "linecount", "fill_with"};
constexpr std::array<std::string_view, 3> kSlice = {"value", "slices", "fill_with"};

constexpr std::array<Native, 22> kFilters = {{
    {.name = "batch", .parameters = kBatch, .required = 2, .function = batch},
    {.name = "count", .parameters = kObject, .required = 1, .function = length_filter},
    {.name = "length", .parameters = kObject, .required = 1, .function = length_filter},
    {.name = "dictsort", .parameters = kDictSort, .required = 1, .function = dictsort},
    {.name = "first", .parameters = kSeq, .required = 1, .function = first},
    {.name = "groupby", .parameters = kGroup, .required = 2, .function = groupby},
    {.name = "items", .parameters = kValue, .required = 1, .function = items_filter},
    {.name = "join", .parameters = kJoin, .required = 1, .function = join},
    {.name = "last", .parameters = kSeq, .required = 1, .function = last},
    {.name = "list", .parameters = kValue, .required = 1, .function = list_filter},
    {.name = "map", .variadic = map},
    {.name = "max", .parameters = kUnique, .required = 1, .function = extreme<false>},
    {.name = "min", .parameters = kUnique, .required = 1, .function = extreme<true>},
    {.name = "reject", .variadic = select<false, false>},
    {.name = "rejectattr", .variadic = select<true, false>},
    {.name = "reverse", .parameters = kValue, .required = 1, .function = reverse},
    {.name = "select", .variadic = select<false, true>},
    {.name = "selectattr", .variadic = select<true, true>},
    {.name = "slice", .parameters = kSlice, .required = 2, .function = slice_filter},
    {.name = "sort", .parameters = kSort, .required = 1, .function = sort},
    {.name = "sum", .parameters = kSum, .required = 1, .function = sum},
    {.name = "unique", .parameters = kUnique, .required = 1, .function = unique},
}};

}  // namespace

const Native* find_sequence_filter(std::string_view name) {
  return find_native(kFilters, name);
}

}  // namespace tern::text::jinja
