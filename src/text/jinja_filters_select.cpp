// Lazy filters: map, select and their kin, batch, slice.
#include <array>
#include <vector>

#include "text/jinja_attribute_getter.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"

namespace tern::text::jinja {

namespace {

using Values = std::span<const Value>;

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
  return lazy_result(in, "do_batch", rows, std::move(outcome));
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
  return lazy_result(in, "sync_do_slice", columns, std::move(outcome));
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
  return lazy_result(in, "sync_do_map", mapped, std::move(outcome));
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
  return lazy_result(in, "select_or_reject", selected, std::move(outcome));
}

constexpr std::array<std::string_view, 3> kBatch = {"value", "linecount", "fill_with"};
constexpr std::array<std::string_view, 3> kSlice = {"value", "slices", "fill_with"};

constexpr std::array<Native, 7> kFilters = {{
    {.name = "batch", .parameters = kBatch, .required = 2, .function = batch},
    {.name = "map", .variadic = map},
    {.name = "reject", .variadic = select<false, false>},
    {.name = "rejectattr", .variadic = select<true, false>},
    {.name = "select", .variadic = select<false, true>},
    {.name = "selectattr", .variadic = select<true, true>},
    {.name = "slice", .parameters = kSlice, .required = 2, .function = slice_filter},
}};

}  // namespace

const Native* find_select_filter(std::string_view name) {
  return find_native(kFilters, name);
}

}  // namespace tern::text::jinja
