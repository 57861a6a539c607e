// == < in + - * / // % ** on values.
#include <algorithm>
#include <vector>

#include "text/jinja_format.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_search.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

Eval<bool> Interpreter::equal(const Value& a, const Value& b) {
  const Nested nested(*this);
  TERN_TRY_VOID(enter());
  TERN_TRY_VOID(charge(1));
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::none:
    case Kind::undefined:
      return true;
    case Kind::string:
      TERN_TRY_VOID(charge_bytes(std::min(a.string->bytes.size(), b.string->bytes.size()) / 8));
      return a.string->bytes == b.string->bytes;
    case Kind::list:
    case Kind::tuple:
    case Kind::range: {
      TERN_TRY(const std::int64_t a_size, length(a));
      TERN_TRY(const std::int64_t b_size, length(b));
      if (a_size != b_size) return false;
      TERN_TRY(const std::span<const Value> x, iterate(a));
      TERN_TRY(const std::span<const Value> y, iterate(b));
      for (std::size_t i = 0; i < x.size(); ++i) {
        TERN_TRY(const bool same, equal(x[i], y[i]));
        if (!same) return false;
      }
      return true;
    }
    case Kind::dict: {
      if (a.dict->entries.size() != b.dict->entries.size()) return false;
      for (const Entry& entry : a.dict->entries) {
        const Value* other = find(*b.dict, entry.key);
        if (!other) return false;
        TERN_TRY(const bool same, equal(entry.value, *other));
        if (!same) return false;
      }
      return true;
    }
    default:
      return a.object == b.object;
  }
}

/// a `sign` b, where sign is <, <=, > or >=.
Eval<bool> Interpreter::less(const Value& a, const Value& b, std::string_view sign) {
  const Nested nested(*this);
  TERN_TRY_VOID(enter());
  TERN_TRY_VOID(charge(1));
  const auto holds = [&](std::partial_ordering order) {
    if (sign == "<") return order < 0;
    if (sign == ">") return order > 0;
    return sign == "<=" ? order <= 0 : order >= 0;
  };
  if (a.is_number() && b.is_number()) return holds(compare_numbers(a, b));
  if (a.is(Kind::string) && b.is(Kind::string)) {
    TERN_TRY_VOID(charge_bytes(std::min(a.string->bytes.size(), b.string->bytes.size()) / 8));
    return holds(a.string->bytes.compare(b.string->bytes) <=> 0);
  }
  const bool sequences = a.is(Kind::list) || a.is(Kind::tuple);
  if (sequences && a.kind == b.kind) {
    const auto x = a.sequence->items;
    const auto y = b.sequence->items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      TERN_TRY(const bool same, equal(x[i], y[i]));
      if (!same) return less(x[i], y[i], sign);
    }
    return holds(x.size() <=> y.size());
  }
  if (a.is(Kind::undefined)) return raise_undefined(a);
  if (b.is(Kind::undefined)) return raise_undefined(b);
  return raise("'" + std::string(sign) + "' not supported between instances of '" +
               std::string(type_name(a)) + "' and '" + std::string(type_name(b)) + "'");
}

/// value in container.
Eval<bool> Interpreter::contains(const Value& container, const Value& value) {
  switch (container.kind) {
    case Kind::string: {
      if (!value.is(Kind::string)) {
        return raise("'in <string>' requires string as left operand, not " +
                     std::string(type_name(value)));
      }
      const std::string_view text = container.string->bytes;
      const std::string_view needle = value.string->bytes;
      TERN_TRY_VOID(charge_bytes((text.size() + needle.size()) / 2));
      return Searcher(needle).find(text) != std::string_view::npos;
    }
    case Kind::dict_view:
      if (container.dict_view->view != View::keys) break;
      [[fallthrough]];
    case Kind::dict: {
      if (!hashable(value)) {
        return raise("unhashable type: '" + std::string(type_name(value)) + "'");
      }
      TERN_TRY_VOID(charge(1));
      const Dict& dict = container.is(Kind::dict) ? *container.dict : *container.dict_view->dict;
      return find(dict, value) != nullptr;
    }
    default:
      break;
  }
  if (!iterable(container)) {
    return raise("argument of type '" + std::string(type_name(container)) + "' is not iterable");
  }
  TERN_TRY(const std::span<const Value> items, iterate(container));
  for (const Value& item : items) {
    TERN_TRY(const bool same, equal(item, value));
    if (same) return true;
  }
  return false;
}

Eval<Value> Interpreter::add(const Value& a, const Value& b) {
  if (a.is(Kind::string) && b.is(Kind::string)) {
    const bool markup = a.string->markup || b.string->markup;
    std::string_view left = a.string->bytes;
    std::string_view right = b.string->bytes;
    if (markup) {  // a Markup escapes what is added to it
      TERN_TRY(left, escaped(a));
      TERN_TRY(right, escaped(b));
    }
    TERN_TRY_VOID(reserve(left.size() + right.size()));
    return text(std::string(left).append(right), markup);
  }
  const bool sequences = a.is(Kind::list) || a.is(Kind::tuple);
  if (sequences && a.kind == b.kind) {
    const auto x = a.sequence->items;
    const auto y = b.sequence->items;
    TERN_TRY_VOID(reserve(x.size() + y.size(), sizeof(Value)));
    const std::span<Value> items = arena_.array<Value>(x.size() + y.size());
    std::ranges::copy(x, items.begin());
    std::ranges::copy(y, items.begin() + static_cast<std::ptrdiff_t>(x.size()));
    Value sum;
    sum.kind = a.kind;
    sum.sequence = arena_.make<Sequence>(items);
    return sum;
  }
  return Value{};
}

/// sequence * count; no value when that is no operation of Python.
Eval<Value> Interpreter::multiply(const Value& sequence, const Value& count) {
  const bool list_like = sequence.is(Kind::list) || sequence.is(Kind::tuple);
  if (!list_like && !sequence.is(Kind::string)) return Value{};
  if (!count.is_integer()) {
    if (count.is(Kind::big)) return raise("cannot fit 'int' into an index-sized integer");
    return Value{};
  }
  const auto times = static_cast<std::size_t>(std::max<std::int64_t>(as_int64(count), 0));
  if (sequence.is(Kind::string)) {
    const std::string_view unit = sequence.string->bytes;
    TERN_TRY_VOID(reserve(times, unit.size()));
    std::string out;
    out.reserve(times * unit.size());
    for (std::size_t i = 0; i < times && !unit.empty(); ++i) out += unit;
    return text(out, sequence.string->markup);
  }
  const auto unit = sequence.sequence->items;
  if (unit.empty()) return list({}, sequence.kind);
  TERN_TRY_VOID(reserve(times, unit.size() * sizeof(Value)));
  const std::span<Value> items = arena_.array<Value>(unit.size() * times);
  for (std::size_t i = 0; i < items.size(); ++i) items[i] = unit[i % unit.size()];
  return list(items, sequence.kind);
}

Eval<Value> Interpreter::binary(Operator op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    Number result = arithmetic(arena_, op, a, b);
    if (result) return *result;
    return raise(std::move(result.error().what),
                 result.error().too_large ? ErrorCode::too_large : ErrorCode::usage);
  }
  Value result;
  if (op == Operator::add) {
    TERN_TRY(result, add(a, b));
  } else if (op == Operator::multiply) {
    TERN_TRY(result, multiply(a, b));
    if (!result.present()) {
      TERN_TRY(result, multiply(b, a));
    }
  } else if (op == Operator::modulo && a.is(Kind::string)) {
    return format_percent(*this, a, b);
  }
  if (result.present()) return result;
  if (a.is(Kind::undefined)) return raise_undefined(a);
  if (b.is(Kind::undefined)) return raise_undefined(b);
  return raise("unsupported operand type(s) for " + std::string(symbol(op)) + ": '" +
               std::string(type_name(a)) + "' and '" + std::string(type_name(b)) + "'");
}

Eval<Value> Interpreter::negate(const Value& a, std::string_view sign) {
  if (a.is(Kind::undefined)) return raise_undefined(a);
  if (!a.is_number()) {
    return raise("bad operand type for unary " + std::string(sign) + ": '" +
                 std::string(type_name(a)) + "'");
  }
  if (sign == "+") return a.is(Kind::boolean) ? make_int(as_int64(a)) : a;
  const Number result = jinja::negate(arena_, a);
  return result ? Eval<Value>(*result) : raise(result.error().what, ErrorCode::too_large);
}

}  // namespace tern::text::jinja
