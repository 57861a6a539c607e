// Budget, errors, new values, and the variables a rendering starts with.
#include "text/jinja_interpreter.h"

#include <boost/json.hpp>
#include <vector>

#include "text/jinja_natives.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

/// Live evaluations for each level of nesting that the source may have: a macro call takes several.
constexpr std::size_t kEvaluationsPerLevel = 10;

}  // namespace

Interpreter::Interpreter(const TemplateLimits& limits, std::string_view where,
                         std::span<const std::string_view> names, std::time_t now)
    : limits_(limits), where_(where), names_(names), now_(now) {}

Eval<std::string> Interpreter::run(Block body, const json::object& variables) {
  std::string out;
  out_ = &out;
  Scope globals;
  Scope root{&globals, nullptr};
  for (NameId id = 0; id < names_.size(); ++id) {
    if (const json::value* variable = variables.if_contains(names_[id])) {
      TERN_TRY(const Value value, from_json(*variable, 0));
      bind(globals, id, value);
    } else if (const Native* native = find_global(names_[id])) {
      Value value;
      value.kind = Kind::native;
      value.native = native;
      bind(globals, id, value);
    }
  }
  TERN_TRY_VOID(execute(body, root));
  return out;
}

Eval<Value> Interpreter::from_json(const json::value& value, std::size_t depth) {
  if (depth > limits_.depth) {
    return raise("a variable is nested deeper than " + std::to_string(limits_.depth) + " levels",
                 ErrorCode::too_large);
  }
  switch (value.kind()) {
    case json::kind::null:
      return make_none();
    case json::kind::bool_:
      return make_bool(value.get_bool());
    case json::kind::int64:
      return make_int(value.get_int64());
    case json::kind::double_:
      return make_real(value.get_double());
    case json::kind::string:
      return make_string_view(arena_, {value.get_string().data(), value.get_string().size()});
    case json::kind::uint64: {
      const std::uint64_t number = value.get_uint64();
      if (number <= std::uint64_t(INT64_MAX)) return make_int(static_cast<std::int64_t>(number));
      return *parse_integer(arena_, std::to_string(number), 10);
    }
    case json::kind::array: {
      std::vector<Value> items;
      items.reserve(value.get_array().size());
      for (const json::value& element : value.get_array()) {
        TERN_TRY(const Value item, from_json(element, depth + 1));
        items.push_back(item);
      }
      return make_list(arena_, items);
    }
    case json::kind::object:
      break;
  }
  std::vector<Entry> entries;
  entries.reserve(value.get_object().size());
  for (const auto& member : value.get_object()) {
    TERN_TRY(const Value item, from_json(member.value(), depth + 1));
    entries.push_back({make_string_view(arena_, {member.key().data(), member.key().size()}), item});
  }
  return dict_value(make_dict(arena_, entries, true));
}

Eval<void> Interpreter::charge(std::size_t steps) {
  steps_ += steps;
  return reserve(0);
}

Eval<void> Interpreter::reserve(std::size_t count, std::size_t bytes_each) {
  const std::size_t left = limits_.steps > steps_ ? limits_.steps - steps_ : 0;
  const std::size_t used = arena_.bytes() / kBytesPerStep;
  const std::size_t free = left > used ? left - used : 0;
  if (free == 0 || count / kBytesPerStep > free / bytes_each) {
    return raise("the template takes more than " + std::to_string(limits_.steps) + " steps",
                 ErrorCode::too_large);
  }
  return {};
}

Eval<void> Interpreter::enter() {
  if (++depth_ > kEvaluationsPerLevel * limits_.depth) {
    return raise(
        "the template recurses too deep (depth limit " + std::to_string(limits_.depth) + ")",
        ErrorCode::too_large);
  }
  return {};
}

std::unexpected<Failure> Interpreter::raise(std::string what, ErrorCode code) const {
  return std::unexpected(std::make_unique<Error>(
      Error{code, std::move(what), std::string(where_) + ":" + std::to_string(line_)}));
}

std::unexpected<Failure> Interpreter::raise_error(const Error& error) const {
  return std::unexpected(std::make_unique<Error>(error));
}

std::unexpected<Failure> Interpreter::raise_undefined(const Value& undefined) const {
  const Undefined& u = *undefined.undefined;
  if (!u.hint.empty()) return raise(std::string(u.hint));
  const bool named = u.name.is(Kind::string);
  const std::string name = named ? std::string(u.name.string->bytes) : format_integer(make_int(0));
  if (!u.object.present()) return raise("'" + name + "' is undefined");
  const std::string object =
      u.object.is(Kind::none) ? "None" : std::string(type_name(u.object)) + " object";
  if (named) return raise("'" + object + "' has no attribute '" + name + "'");
  const std::string element =
      u.name.is_integer() ? format_integer(u.name) : "of type " + std::string(type_name(u.name));
  return raise(object + " has no element " + element);
}

Value Interpreter::undefined(std::string_view hint) {
  Value v;
  v.kind = Kind::undefined;
  v.undefined = arena_.make<Undefined>(arena_.copy(hint));
  return v;
}

Value Interpreter::undefined_name(std::string_view name) {
  Value v;
  v.kind = Kind::undefined;
  v.undefined = arena_.make<Undefined>(std::string_view{}, Value{}, make_string_view(arena_, name));
  return v;
}

Value Interpreter::undefined_member(const Value& object, const Value& name) {
  Value v;
  v.kind = Kind::undefined;
  v.undefined = arena_.make<Undefined>(std::string_view{}, object, name);
  return v;
}

Eval<Value> Interpreter::text(std::string_view text, bool markup) {
  TERN_TRY_VOID(reserve(text.size()));
  return make_string(arena_, text, markup);
}

Value Interpreter::list(std::span<const Value> items, Kind kind) {
  return make_list(arena_, items, kind);
}

Value Interpreter::tuple(std::initializer_list<Value> items) {
  return make_list(arena_, {items.begin(), items.size()}, Kind::tuple);
}

Value Interpreter::generator(std::string_view name, std::span<const Value> items, Failure error) {
  Value v;
  v.kind = Kind::generator;
  v.generator = arena_.make<Generator>(arena_.copy(items), error.get(), name);
  if (error) late_errors_.push_back(std::move(error));
  return v;
}

Value Interpreter::bind(const Value& self, const Native* function) {
  Value v;
  v.kind = Kind::method;
  v.method = arena_.make<Method>(self, function);
  return v;
}

void Interpreter::bind(Scope& scope, NameId id, const Value& value) {
  for (Binding* binding = scope.first; binding; binding = binding->next) {
    if (binding->id == id) {
      binding->value = value;
      return;
    }
  }
  scope.first = arena_.make<Binding>(id, value, scope.first);
}

const Value* Interpreter::lookup(const Scope& scope, NameId id) {
  for (const Scope* at = &scope; at; at = at->parent) {
    for (const Binding* binding = at->first; binding; binding = binding->next) {
      if (binding->id == id) return &binding->value;
    }
  }
  return nullptr;
}

}  // namespace tern::text::jinja
