// Expressions.
#include <vector>

#include "text/jinja_interpreter.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

Eval<Value> Interpreter::evaluate(const Expr& expr, Scope& scope) {
  if (expr.kind == ExprKind::constant) return expr.constant;
  const Nested nested(*this);
  line_ = expr.line;
  TERN_TRY_VOID(enter());
  TERN_TRY_VOID(charge(1));
  return evaluate_kind(expr, scope);
}

Eval<Value> Interpreter::evaluate_kind(const Expr& expr, Scope& scope) {
  switch (expr.kind) {
    case ExprKind::constant:
      return expr.constant;
    case ExprKind::name:
      return evaluate_name(expr, scope);
    case ExprKind::tuple:
    case ExprKind::list:
      return evaluate_items(expr, scope);
    case ExprKind::dict:
      return evaluate_dict(expr, scope);
    case ExprKind::negate:
    case ExprKind::plus:
    case ExprKind::not_:
      return evaluate_unary(expr, scope);
    case ExprKind::binary:
      return evaluate_binary(expr, scope);
    case ExprKind::and_:
    case ExprKind::or_:
      return evaluate_logic(expr, scope);
    case ExprKind::concat:
      return evaluate_concat(expr, scope);
    case ExprKind::compare:
      return evaluate_compare(expr, scope);
    case ExprKind::conditional:
      return evaluate_conditional(expr, scope);
    case ExprKind::attribute:
    case ExprKind::item:
      return evaluate_member(expr, scope);
    case ExprKind::slice:
      return evaluate_slice(expr, scope);
    case ExprKind::call:
      return evaluate_call(expr, scope, Value{});
    case ExprKind::filter:
    case ExprKind::test:
      return evaluate_native(expr, scope, nullptr);
    case ExprKind::namespace_target:
      break;
  }
  return raise("not an expression", ErrorCode::internal);
}

Eval<Value> Interpreter::evaluate_name(const Expr& expr, const Scope& scope) {
  const Value* value = lookup(scope, expr.id);
  return value ? *value : undefined_name(expr.text);
}

Eval<Value> Interpreter::evaluate_items(const Expr& expr, Scope& scope) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const Expr* item : expr.items) {
    TERN_TRY(const Value value, evaluate(*item, scope));
    items.push_back(value);
  }
  return list(items, expr.kind == ExprKind::tuple ? Kind::tuple : Kind::list);
}

Eval<Value> Interpreter::evaluate_dict(const Expr& expr, Scope& scope) {
  std::vector<Entry> entries;
  entries.reserve(expr.items.size() / 2);
  for (std::size_t i = 0; i + 1 < expr.items.size(); i += 2) {
    TERN_TRY(const Value key, evaluate(*expr.items[i], scope));
    TERN_TRY(const Value value, evaluate(*expr.items[i + 1], scope));
    entries.push_back({key, value});
  }
  return dict(entries);
}

Eval<Value> Interpreter::evaluate_unary(const Expr& expr, Scope& scope) {
  TERN_TRY(const Value operand, evaluate(*expr.left, scope));
  if (expr.kind == ExprKind::not_) return make_bool(!truth(operand));
  return negate(operand, expr.kind == ExprKind::negate ? "-" : "+");
}

Eval<Value> Interpreter::evaluate_binary(const Expr& expr, Scope& scope) {
  TERN_TRY(const Value left, evaluate(*expr.left, scope));
  TERN_TRY(const Value right, evaluate(*expr.right, scope));
  line_ = expr.line;
  return binary(expr.op, left, right);
}

Eval<Value> Interpreter::evaluate_logic(const Expr& expr, Scope& scope) {
  TERN_TRY(const Value left, evaluate(*expr.left, scope));
  if (truth(left) == (expr.kind == ExprKind::or_)) return left;
  return evaluate(*expr.right, scope);
}

Eval<Value> Interpreter::evaluate_concat(const Expr& expr, Scope& scope) {
  std::string joined;
  for (const Expr* item : expr.items) {
    TERN_TRY(const Value value, evaluate(*item, scope));
    TERN_TRY(const std::string_view part, str(value));
    TERN_TRY_VOID(reserve(joined.size() + part.size()));
    joined += part;
  }
  return text(joined);
}

Eval<bool> Interpreter::compare(Comparison comparison, const Value& a, const Value& b) {
  switch (comparison) {
    case Comparison::eq:
      return equal(a, b);
    case Comparison::ne: {
      TERN_TRY(const bool same, equal(a, b));
      return !same;
    }
    case Comparison::lt:
      return less(a, b, "<");
    case Comparison::gt:
      return less(a, b, ">");
    case Comparison::le:
      return less(a, b, "<=");
    case Comparison::ge:
      return less(a, b, ">=");
    case Comparison::in:
      return contains(b, a);
    case Comparison::not_in: {
      TERN_TRY(const bool inside, contains(b, a));
      return !inside;
    }
  }
  return false;
}

Eval<Value> Interpreter::evaluate_compare(const Expr& expr, Scope& scope) {
  TERN_TRY(Value left, evaluate(*expr.left, scope));
  for (std::size_t i = 0; i < expr.items.size(); ++i) {
    TERN_TRY(const Value right, evaluate(*expr.items[i], scope));
    line_ = expr.line;
    TERN_TRY(const bool holds, compare(expr.comparisons[i], left, right));
    if (!holds) return make_bool(false);
    left = right;
  }
  return make_bool(true);
}

Eval<Value> Interpreter::evaluate_conditional(const Expr& expr, Scope& scope) {
  TERN_TRY(const Value condition, evaluate(*expr.condition, scope));
  if (truth(condition)) return evaluate(*expr.left, scope);
  if (expr.right) return evaluate(*expr.right, scope);
  return undefined("the inline if-expression on line " + std::to_string(expr.line) +
                   " evaluated to false and no else section was defined.");
}

Eval<Value> Interpreter::evaluate_member(const Expr& expr, Scope& scope) {
  TERN_TRY(const Value object, evaluate(*expr.left, scope));
  if (expr.kind == ExprKind::attribute) {
    line_ = expr.line;
    return attribute(object, expr.text);
  }
  TERN_TRY(const Value key, evaluate(*expr.right, scope));
  line_ = expr.line;
  return item(object, key);
}

Eval<Value> Interpreter::evaluate_slice(const Expr& expr, Scope& scope) {
  TERN_TRY(const Value object, evaluate(*expr.left, scope));
  std::array<Value, 3> bounds = {make_none(), make_none(), make_none()};
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    if (expr.items[i]) {
      TERN_TRY(bounds[i], evaluate(*expr.items[i], scope));
    }
  }
  line_ = expr.line;
  return slice(object, bounds[0], bounds[1], bounds[2]);
}

}  // namespace tern::text::jinja
