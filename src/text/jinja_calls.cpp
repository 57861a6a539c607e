// Calls: arguments, functions of the host, macros.
#include <algorithm>
#include <array>
#include <vector>

#include "text/jinja_interpreter.h"

namespace tern::text::jinja {

struct Interpreter::Arguments {
  std::vector<Value> positional;
  std::vector<Attribute> named;
  Args args() const { return {positional, named}; }
};

Eval<void> Interpreter::evaluate_arguments(const CallArguments& call, Scope& scope,
                                           Arguments& arguments) {
  for (const Expr* argument : call.positional) {
    TERN_TRY(const Value value, evaluate(*argument, scope));
    arguments.positional.push_back(value);
  }
  for (const KeywordArgument& argument : call.named) {
    TERN_TRY(const Value value, evaluate(*argument.value, scope));
    arguments.named.push_back({argument.name, value});
  }
  if (call.star) {
    TERN_TRY(const Value star, evaluate(*call.star, scope));
    TERN_TRY(const std::span<const Value> items, iterate(star));
    TERN_TRY_VOID(charge(items.size()));
    arguments.positional.insert(arguments.positional.end(), items.begin(), items.end());
  }
  if (call.double_star) {
    TERN_TRY(const Value mapping, evaluate(*call.double_star, scope));
    if (!mapping.is(Kind::dict)) return raise("argument after ** must be a mapping");
    TERN_TRY_VOID(charge(mapping.dict->entries.size()));
    for (const Entry& entry : mapping.dict->entries) {
      if (!entry.key.is(Kind::string)) return raise("keywords must be strings");
      const std::string_view name = entry.key.string->bytes;
      if (std::ranges::find(call.named, name, &KeywordArgument::name) != call.named.end()) {
        return raise("got multiple values for keyword argument '" + std::string(name) + "'");
      }
      arguments.named.push_back({name, entry.value});
    }
  }
  return {};
}

/// A present `caller` is what a call block passes.
Eval<Value> Interpreter::evaluate_call(const Expr& expr, Scope& scope, const Value& caller) {
  TERN_TRY(const Value callee, evaluate(*expr.left, scope));
  Arguments arguments;
  TERN_TRY_VOID(evaluate_arguments(*expr.call, scope, arguments));
  if (caller.present()) arguments.named.push_back({"caller", caller});
  line_ = expr.line;
  return call(callee, arguments.args());
}

/// A filter or a test; `body` stands for the value when a block is filtered.
Eval<Value> Interpreter::evaluate_native(const Expr& expr, Scope& scope, const Value* body) {
  Value value;
  if (expr.left) {
    TERN_TRY(value, evaluate(*expr.left, scope));
  } else if (body) {
    value = *body;
  }
  if (!expr.native) {
    const bool filter = expr.kind == ExprKind::filter;
    return raise(std::string("No ") + (filter ? "filter" : "test") + " named '" +
                     std::string(expr.text) + "' found.",
                 ErrorCode::unsupported);
  }
  Arguments arguments;
  TERN_TRY_VOID(evaluate_arguments(*expr.call, scope, arguments));
  line_ = expr.line;
  return call_native(*expr.native, value, arguments.args());
}

/// The chain of filters of a block, whose innermost one takes `body`.
Eval<Value> Interpreter::apply_block_filters(const Expr& expr, Scope& scope, const Value& body) {
  const Nested nested(*this);
  TERN_TRY_VOID(enter());
  if (!expr.left) return evaluate_native(expr, scope, &body);
  TERN_TRY(const Value inner, apply_block_filters(*expr.left, scope, body));
  Expr outer = expr;
  outer.left = nullptr;
  return evaluate_native(outer, scope, &inner);
}

Eval<Value> Interpreter::call(const Value& callee, const Args& args) {
  const Nested nested(*this);
  TERN_TRY_VOID(enter());
  TERN_TRY_VOID(charge(1));
  switch (callee.kind) {
    case Kind::native:
      return call_native(*callee.native, Value{}, args);
    case Kind::method:
      return call_native(*callee.method->function, callee.method->self, args);
    case Kind::macro:
      return call_macro(*callee.macro, args);
    case Kind::undefined:
      return raise_undefined(callee);
    case Kind::loop: {
      if (args.positional.size() != 1 || !args.named.empty()) {
        return raise("loop() takes exactly one argument");
      }
      TERN_TRY(const std::string body, run_recursive(*callee.loop, args.positional[0]));
      return text(body);
    }
    case Kind::joiner: {
      const bool used = std::exchange(callee.joiner->used, true);
      return used ? callee.joiner->separator : text("");
    }
    default:
      return raise("'" + std::string(type_name(callee)) + "' object is not callable");
  }
}

Eval<Value> Interpreter::call_native(const Native& native, const Value& self, const Args& args) {
  if (native.variadic) return native.variadic(*this, self, args);
  const std::string name(native.name);
  constexpr std::size_t kMaxParameters = 8;
  std::array<Value, kMaxParameters> bound;
  const std::size_t count = native.parameters.size();
  std::size_t given = 0;
  if (self.present()) bound[given++] = self;
  if (args.positional.size() > count - given) {
    return raise(name + "() takes at most " + std::to_string(count) + " arguments (" +
                 std::to_string(args.positional.size() + given) + " given)");
  }
  for (const Value& value : args.positional) bound[given++] = value;
  for (const Attribute& argument : args.named) {
    const auto at = std::ranges::find(native.parameters, argument.name);
    if (at == native.parameters.end()) {
      return raise(name + "() got an unexpected keyword argument '" + std::string(argument.name) +
                   "'");
    }
    Value& slot = bound[static_cast<std::size_t>(at - native.parameters.begin())];
    if (slot.present()) {
      return raise(name + "() got multiple values for argument '" + std::string(argument.name) +
                   "'");
    }
    slot = argument.value;
  }
  for (std::size_t i = 0; i < native.required; ++i) {
    if (!bound[i].present()) {
      return raise(name + "() missing required argument: '" + std::string(native.parameters[i]) +
                   "'");
    }
  }
  return native.function(*this, {bound.data(), count});
}

Eval<void> Interpreter::bind_macro(const Macro& macro, const Args& args, Scope& scope) {
  const MacroNode& node = *macro.node;
  const std::string name(node.name);
  std::vector<Attribute> named(args.named.begin(), args.named.end());
  const auto take = [&](std::string_view key) {
    const auto at = std::ranges::find(named, key, &Attribute::name);
    if (at == named.end()) return Value{};
    const Value value = at->value;
    named.erase(at);
    return value;
  };
  const std::size_t positional = std::min(args.positional.size(), node.parameters.size());
  std::vector<Value> given(args.positional.begin(),
                           args.positional.begin() + static_cast<std::ptrdiff_t>(positional));
  for (std::size_t i = positional; i < node.parameters.size(); ++i) {
    given.push_back(take(node.parameters[i].name));
  }
  if (node.uses_caller) {
    const Value caller = take("caller");
    bind(scope, kCallerId, caller.present() ? caller : undefined("No caller defined"));
  }
  if (node.uses_kwargs) {
    std::vector<Entry> entries;
    for (const Attribute& rest : named) {
      entries.push_back({make_string(arena_, rest.name), rest.value});
    }
    TERN_TRY(const Value kwargs, dict(entries));
    bind(scope, kKwargsId, kwargs);
  } else if (!named.empty()) {
    return raise("macro '" + name + "' takes no keyword argument '" + std::string(named[0].name) +
                 "'");
  }
  if (node.uses_varargs) {
    bind(scope, kVarargsId, list(args.positional.subspan(positional), Kind::tuple));
  } else if (args.positional.size() > node.parameters.size()) {
    return raise("macro '" + name + "' takes not more than " +
                 std::to_string(node.parameters.size()) + " argument(s)");
  }
  for (std::size_t i = 0; i < given.size(); ++i) {
    const Parameter& parameter = node.parameters[i];
    if (!given[i].present() && parameter.fallback) {
      TERN_TRY(given[i], evaluate(*parameter.fallback, scope));
    } else if (!given[i].present()) {
      given[i] = undefined("parameter '" + std::string(parameter.name) + "' was not provided");
    }
    bind(scope, parameter.id, given[i]);
  }
  return {};
}

Eval<Value> Interpreter::call_macro(const Macro& macro, const Args& args) {
  Scope* scope = arena_.make<Scope>(macro.scope);
  TERN_TRY_VOID(bind_macro(macro, args, *scope));
  Flow flow = Flow::normal;
  TERN_TRY(const std::string body, capture(macro.node->body, *scope, flow));
  return text(body);
}

}  // namespace tern::text::jinja
