// Operators, comparisons, attributes, items, slices and iteration, as Python and the sandbox of
// Jinja2 define them.
#include <algorithm>
#include <array>
#include <climits>
#include <vector>

#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"
#include "text/jinja_search.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

/// Attributes that every Python object has; the sandbox hides them.
bool is_dunder(std::string_view name) {
  constexpr std::array<std::string_view, 28> kNames = {
      "__class__",   "__delattr__",  "__dir__",           "__doc__",          "__eq__",
      "__format__",  "__ge__",       "__getattribute__",  "__getstate__",     "__gt__",
      "__hash__",    "__init__",     "__init_subclass__", "__le__",           "__lt__",
      "__ne__",      "__new__",      "__reduce__",        "__reduce_ex__",    "__repr__",
      "__setattr__", "__sizeof__",   "__str__",           "__subclasshook__", "__len__",
      "__iter__",    "__contains__", "__getitem__"};
  return std::ranges::find(kNames, name) != kNames.end();
}

bool is_mutator(const Value& object, std::string_view name) {
  constexpr std::array<std::string_view, 5> kDict = {"clear", "pop", "popitem", "setdefault",
                                                     "update"};
  constexpr std::array<std::string_view, 8> kList = {"append", "clear", "pop",    "reverse",
                                                     "insert", "sort",  "extend", "remove"};
  if (object.is(Kind::dict)) return std::ranges::find(kDict, name) != kDict.end();
  return object.is(Kind::list) && std::ranges::find(kList, name) != kList.end();
}

std::size_t offset_of(const String& text, std::size_t index) {
  if (text.ascii()) return std::min(index, text.bytes.size());
  std::size_t at = 0;
  for (; index > 0 && at < text.bytes.size(); --index) decode(text.bytes, at);
  return at;
}

std::int64_t clamp_index(const Value& v) {
  if (!v.is(Kind::big)) return as_int64(v);
  return v.big->negative ? INT64_MIN + 1 : INT64_MAX;
}

struct Bounds {
  std::int64_t start = 0, stop = 0, step = 1, count = 0;
};

/// slice.indices(length).
Bounds resolve(const Value& start, const Value& stop, std::int64_t step, std::int64_t length) {
  const std::int64_t low = step < 0 ? -1 : 0;
  const std::int64_t high = step < 0 ? length - 1 : length;
  const auto bound = [&](const Value& v, std::int64_t fallback) {
    if (v.is(Kind::none)) return fallback;
    std::int64_t i = clamp_index(v);
    if (i < 0) i = i < -length ? low : i + length;
    return std::clamp(i, low, high);
  };
  const std::int64_t first = bound(start, step < 0 ? high : low);
  const std::int64_t last = bound(stop, step < 0 ? low : high);
  const std::int64_t distance = step < 0 ? first - last : last - first;
  const std::int64_t magnitude = step < 0 ? -step : step;
  const std::int64_t count = distance <= 0 ? 0 : (distance - 1) / magnitude + 1;
  return {first, last, step, count};
}

/// start + index * step, kept in 64 bits: only bounds that no item reaches can leave them.
std::int64_t range_item(std::int64_t start, std::int64_t index, std::int64_t step) {
  std::int64_t sum = 0;
  if (__builtin_mul_overflow(index, step, &sum) || __builtin_add_overflow(start, sum, &sum)) {
    return (index < 0) == (step < 0) ? INT64_MAX : INT64_MIN;
  }
  return sum;
}

}  // namespace

/// What getattr() finds, and the sandbox's word on it; nothing where Python raises AttributeError.
Eval<std::optional<Value>> Interpreter::member(const Value& object, std::string_view name) {
  switch (object.kind) {
    case Kind::undefined:
      return raise_undefined(object);
    case Kind::name_space: {
      const Value* value = object.name_space->find(name);
      return value ? std::optional(*value) : std::nullopt;
    }
    case Kind::loop: {
      TERN_TRY(const Value value, loop_attribute(*object.loop, object, name));
      if (value.present()) return value;
      break;
    }
    case Kind::cycler:
      if (name == "current") return object.cycler->items[object.cycler->position];
      break;
    case Kind::joiner:
      if (name == "sep") return object.joiner->separator;
      if (name == "used") return make_bool(object.joiner->used);
      break;
    case Kind::macro:
      if (name == "name") return make_string_view(arena_, object.macro->node->name);
      break;
    case Kind::range:
      if (name == "start") return make_int(object.range->start);
      if (name == "stop") return make_int(object.range->stop);
      if (name == "step") return make_int(object.range->step);
      break;
    case Kind::tuple:
      if (object.sequence->group && name == "grouper") return object.sequence->items[0];
      if (object.sequence->group && name == "list") return object.sequence->items[1];
      break;
    default:
      break;
  }
  if (is_mutator(object, name) || is_dunder(name)) {
    TERN_TRY(const Value hidden, unsafe(object, name));
    return hidden;
  }
  const Native* method = find_method(object, name);
  return method ? std::optional(bind(object, method)) : std::nullopt;
}

Eval<Value> Interpreter::unsafe(const Value& object, std::string_view name) {
  return undefined("access to attribute '" + std::string(name) + "' of '" +
                   std::string(type_name(object)) + "' object is unsafe.");
}

/// What object[key] finds; nothing where Python raises LookupError or TypeError.
Eval<std::optional<Value>> Interpreter::element(const Value& object, const Value& key) {
  if (object.is(Kind::undefined)) return raise_undefined(object);
  if (object.is(Kind::dict)) {
    if (!hashable(key)) return std::nullopt;
    TERN_TRY_VOID(charge(1));
    const Value* value = find(*object.dict, key);
    return value ? std::optional(*value) : std::nullopt;
  }
  if (!key.is_integer()) return std::nullopt;
  std::int64_t index = as_int64(key);
  std::int64_t size = 0;
  if (object.is(Kind::list) || object.is(Kind::tuple)) {
    size = static_cast<std::int64_t>(object.sequence->items.size());
  } else if (object.is(Kind::string)) {
    size = static_cast<std::int64_t>(object.string->length);
  } else if (object.is(Kind::range)) {
    size = object.range->length;
  } else {
    return std::nullopt;
  }
  if (index < 0) index += size;
  if (index < 0 || index >= size) return std::nullopt;
  if (object.is(Kind::range)) return make_int(object.range->start + index * object.range->step);
  const auto at = static_cast<std::size_t>(index);
  if (!object.is(Kind::string)) return object.sequence->items[at];
  TERN_TRY(const Value character, substring(object, at, at + 1));
  return character;
}

Eval<Value> Interpreter::attribute(const Value& object, std::string_view name) {
  TERN_TRY(const std::optional<Value> found, member(object, name));
  if (found) return *found;
  if (object.is(Kind::dict)) {
    TERN_TRY_VOID(charge(1));
    if (const Value* value = find(*object.dict, name)) return *value;
  }
  return undefined_member(object, make_string_view(arena_, name));
}

Eval<Value> Interpreter::item(const Value& object, const Value& key) {
  TERN_TRY(const std::optional<Value> found, element(object, key));
  if (found) return *found;
  if (key.is(Kind::string)) {
    TERN_TRY(const std::optional<Value> attribute, member(object, key.string->bytes));
    if (attribute) return *attribute;
  }
  return undefined_member(object, key);
}

/// Code points [begin, end) of a string, with its markup.
Eval<Value> Interpreter::substring(const Value& string, std::size_t begin, std::size_t end) {
  const String& text = *string.string;
  if (!text.ascii()) TERN_TRY_VOID(charge_bytes(text.bytes.size() / 4));
  const std::size_t from = offset_of(text, begin);
  const std::size_t to = end >= text.length ? text.bytes.size() : offset_of(text, end);
  return make_string_view(arena_, text.bytes.substr(from, to - from), text.markup);
}

Eval<Value> Interpreter::slice(const Value& object, const Value& start, const Value& stop,
                               const Value& step) {
  if (object.is(Kind::undefined)) return raise_undefined(object);
  for (const Value* v : {&start, &stop, &step}) {
    if (v->is(Kind::undefined)) return raise_undefined(*v);
    if (!v->is(Kind::none) && !v->is_integer() && !v->is(Kind::big)) {
      return raise("slice indices must be integers or None or have an __index__ method");
    }
  }
  const std::int64_t by = step.is(Kind::none) ? 1 : std::max(clamp_index(step), INT64_MIN + 1);
  if (by == 0) return raise("slice step cannot be zero");
  if (object.is(Kind::range)) {
    const Range& range = *object.range;
    const Bounds b = resolve(start, stop, by, range.length);
    Value v;
    v.kind = Kind::range;
    v.range = arena_.make<Range>(range_item(range.start, b.start, range.step),
                                 range_item(range.start, b.stop, range.step),
                                 range_item(0, b.step, range.step), b.count);
    return v;
  }
  if (!object.is(Kind::list) && !object.is(Kind::tuple) && !object.is(Kind::string)) {
    return raise("'" + std::string(type_name(object)) + "' object is not subscriptable");
  }
  TERN_TRY(const std::int64_t size, length(object));
  const Bounds b = resolve(start, stop, by, size);
  const auto count = static_cast<std::size_t>(b.count);
  if (object.is(Kind::string) && b.step == 1) {
    const auto from = static_cast<std::size_t>(std::max<std::int64_t>(b.start, 0));
    return substring(object, from, from + count);
  }
  if (object.is(Kind::string)) {
    TERN_TRY_VOID(reserve(object.string->length, 8));
    TERN_TRY_VOID(charge_bytes(object.string->bytes.size()));
    const std::u32string points = to_code_points(object.string->bytes);
    std::string out;
    for (std::int64_t i = 0, at = b.start; i < b.count; ++i, at += b.step) {
      append_utf8(out, points[static_cast<std::size_t>(at)]);
    }
    return text(out, object.string->markup);
  }
  TERN_TRY_VOID(reserve(count, sizeof(Value)));
  const std::span<Value> items = arena_.array<Value>(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = b.start + static_cast<std::int64_t>(i) * b.step;
    items[i] = object.sequence->items[static_cast<std::size_t>(at)];
  }
  return list(items, object.kind);
}

bool Interpreter::iterable(const Value& value) const {
  switch (value.kind) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::dict_view:
    case Kind::range:
    case Kind::generator:
    case Kind::loop:
      return true;
    default:
      return false;
  }
}

Eval<std::span<const Value>> Interpreter::iterate(const Value& value) {
  std::span<Value> items;
  switch (value.kind) {
    case Kind::undefined:
      return items;
    case Kind::list:
    case Kind::tuple:
      return value.sequence->items;
    case Kind::generator: {
      if (const Error* error = std::exchange(value.generator->error, nullptr)) {
        return raise_error(*error);
      }
      return std::exchange(value.generator->items, {});
    }
    case Kind::string: {
      const String& text = *value.string;
      TERN_TRY_VOID(reserve(text.length, sizeof(Value) + sizeof(String)));
      items = arena_.array<Value>(text.length);
      std::size_t at = 0;
      for (Value& item : items) {
        const std::size_t begin = at;
        if (at < text.bytes.size()) decode(text.bytes, at);
        item = make_string_view(arena_, text.bytes.substr(begin, at - begin));
      }
      return items;
    }
    case Kind::dict:
    case Kind::dict_view: {
      const Dict& dict = value.is(Kind::dict) ? *value.dict : *value.dict_view->dict;
      const View view = value.is(Kind::dict) ? View::keys : value.dict_view->view;
      TERN_TRY_VOID(reserve(dict.entries.size(), 4 * sizeof(Value)));
      items = arena_.array<Value>(dict.entries.size());
      for (std::size_t i = 0; i < items.size(); ++i) {
        const Entry& entry = dict.entries[i];
        items[i] = view == View::keys     ? entry.key
                   : view == View::values ? entry.value
                                          : tuple({entry.key, entry.value});
      }
      return items;
    }
    case Kind::range: {
      const Range& range = *value.range;
      TERN_TRY_VOID(reserve(static_cast<std::size_t>(range.length), sizeof(Value)));
      items = arena_.array<Value>(static_cast<std::size_t>(range.length));
      for (std::size_t i = 0; i < items.size(); ++i) {
        items[i] = make_int(range.start + static_cast<std::int64_t>(i) * range.step);
      }
      return items;
    }
    default:
      return raise("'" + std::string(type_name(value)) + "' object is not iterable");
  }
}

/// len().
Eval<std::int64_t> Interpreter::length(const Value& value) {
  switch (value.kind) {
    case Kind::undefined:
      return 0;
    case Kind::string:
      return static_cast<std::int64_t>(value.string->length);
    case Kind::list:
    case Kind::tuple:
      return static_cast<std::int64_t>(value.sequence->items.size());
    case Kind::dict:
      return static_cast<std::int64_t>(value.dict->entries.size());
    case Kind::dict_view:
      return static_cast<std::int64_t>(value.dict_view->dict->entries.size());
    case Kind::range:
      return value.range->length;
    case Kind::loop:
      return loop_length(*value.loop);
    default:
      return raise("object of type '" + std::string(type_name(value)) + "' has no len()");
  }
}

Eval<Value> Interpreter::dict(std::span<const Entry> entries) {
  for (const Entry& entry : entries) {
    if (!hashable(entry.key)) {
      return raise("unhashable type: '" + std::string(type_name(entry.key)) + "'");
    }
  }
  TERN_TRY_VOID(reserve(entries.size(), sizeof(Entry) + sizeof(std::uint32_t)));
  TERN_TRY_VOID(charge(entries.size()));
  return dict_value(make_dict(arena_, entries));
}

}  // namespace tern::text::jinja
