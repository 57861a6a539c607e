// Statements: output, if, set, with, macro, call, filter and generation blocks.
#include <vector>

#include "text/jinja_interpreter.h"

namespace tern::text::jinja {

Eval<Flow> Interpreter::execute(Block block, Scope& scope) {
  for (const Stmt* stmt : block) {
    TERN_TRY(const Flow flow, execute_statement(*stmt, scope));
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Eval<Flow> Interpreter::execute_statement(const Stmt& stmt, Scope& scope) {
  const Nested nested(*this);
  line_ = stmt.line;
  TERN_TRY_VOID(enter());
  TERN_TRY_VOID(charge(1));
  switch (stmt.kind) {
    case StmtKind::data:
      TERN_TRY_VOID(write(stmt.text));
      return Flow::normal;
    case StmtKind::output:
      return execute_output(stmt, scope);
    case StmtKind::if_:
      return execute_if(stmt, scope);
    case StmtKind::for_: {
      TERN_TRY(const Value iterable, evaluate(*stmt.value, scope));
      if (!stmt.recursive) return execute_for(stmt, scope, iterable, 0);
      TERN_TRY_VOID(execute_for(stmt, scope, iterable, 0));
      return Flow::normal;
    }
    case StmtKind::set:
      return execute_set(stmt, scope);
    case StmtKind::set_block:
    case StmtKind::filter:
      return execute_captured(stmt, scope);
    case StmtKind::macro: {
      Value macro;
      macro.kind = Kind::macro;
      macro.macro = arena_.make<Macro>(stmt.macro, &scope);
      bind(scope, stmt.macro->id, macro);
      return Flow::normal;
    }
    case StmtKind::call_block:
      return execute_call_block(stmt, scope);
    case StmtKind::with:
      return execute_with(stmt, scope);
    case StmtKind::scope:
      return execute(stmt.body, *arena_.make<Scope>(&scope));
    case StmtKind::break_:
      return Flow::break_;
    case StmtKind::continue_:
      return Flow::continue_;
  }
  return Flow::normal;
}

Eval<void> Interpreter::write(std::string_view text) {
  if (text.size() > limits_.output_bytes || out_->size() > limits_.output_bytes - text.size()) {
    return raise("the output is longer than " + std::to_string(limits_.output_bytes) + " bytes",
                 ErrorCode::too_large);
  }
  TERN_TRY_VOID(charge_bytes(text.size()));
  out_->append(text);
  return {};
}

/// Renders `block` aside.
Eval<std::string> Interpreter::capture(Block block, Scope& scope, Flow& flow) {
  std::string aside;
  std::string* outside = std::exchange(out_, &aside);
  Eval<Flow> result = execute(block, scope);
  out_ = outside;
  if (!result) return std::unexpected(std::move(result).error());
  flow = *result;
  return aside;
}

Eval<Flow> Interpreter::execute_output(const Stmt& stmt, Scope& scope) {
  for (const Expr* item : stmt.items) {
    TERN_TRY(const Value value, evaluate(*item, scope));
    TERN_TRY(const std::string_view text, str(value));
    TERN_TRY_VOID(write(text));
  }
  return Flow::normal;
}

Eval<Flow> Interpreter::execute_if(const Stmt& stmt, Scope& scope) {
  for (const Branch& branch : stmt.branches) {
    TERN_TRY(const Value condition, evaluate(*branch.condition, scope));
    if (truth(condition)) return execute(branch.body, scope);
  }
  return execute(stmt.otherwise, scope);
}

Eval<void> Interpreter::assign(const Expr& target, const Value& value, Scope& scope) {
  if (target.kind == ExprKind::name) {
    bind(scope, target.id, value);
    return {};
  }
  if (target.kind == ExprKind::namespace_target) {
    const Value* object = lookup(scope, target.id);
    if (!object || !object->is(Kind::name_space)) {
      return raise("cannot assign attribute on non-namespace object");
    }
    if (target.text.starts_with('_')) {
      return raise("Chat templates cannot store underscore-prefixed attributes on a namespace");
    }
    if (Value* slot = object->name_space->find(target.text)) {
      *slot = value;
    } else {
      TERN_TRY_VOID(charge(8));
      object->name_space->attributes.push_back({target.text, value});
    }
    return {};
  }
  TERN_TRY(const std::span<const Value> items, iterate(value));
  if (items.size() != target.items.size()) {
    const std::string expected = std::to_string(target.items.size());
    return raise(items.size() > target.items.size()
                     ? "too many values to unpack (expected " + expected + ")"
                     : "not enough values to unpack (expected " + expected + ", got " +
                           std::to_string(items.size()) + ")");
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    TERN_TRY_VOID(assign(*target.items[i], items[i], scope));
  }
  return {};
}

Eval<Flow> Interpreter::execute_set(const Stmt& stmt, Scope& scope) {
  TERN_TRY(const Value value, evaluate(*stmt.value, scope));
  TERN_TRY_VOID(assign(*stmt.target, value, scope));
  return Flow::normal;
}

/// {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}.
Eval<Flow> Interpreter::execute_captured(const Stmt& stmt, Scope& scope) {
  Scope* inner = arena_.make<Scope>(&scope);
  Flow flow = Flow::normal;
  TERN_TRY(const std::string body, capture(stmt.body, *inner, flow));
  if (flow != Flow::normal) return flow;  // what was written so far is dropped, as in Jinja2
  TERN_TRY(Value value, text(body));
  if (stmt.value) {
    TERN_TRY(value, apply_block_filters(*stmt.value, *inner, value));
  }
  if (stmt.kind == StmtKind::set_block) {
    TERN_TRY_VOID(assign(*stmt.target, value, scope));
    return Flow::normal;
  }
  TERN_TRY(const std::string_view filtered, str(value));
  TERN_TRY_VOID(write(filtered));
  return Flow::normal;
}

Eval<Flow> Interpreter::execute_with(const Stmt& stmt, Scope& scope) {
  Scope* inner = arena_.make<Scope>(&scope);
  for (std::size_t i = 0; i + 1 < stmt.items.size(); i += 2) {
    TERN_TRY(const Value value, evaluate(*stmt.items[i + 1], scope));
    TERN_TRY_VOID(assign(*stmt.items[i], value, *inner));
  }
  return execute(stmt.body, *inner);
}

Eval<Flow> Interpreter::execute_call_block(const Stmt& stmt, Scope& scope) {
  Value caller;
  caller.kind = Kind::macro;
  caller.macro = arena_.make<Macro>(stmt.macro, &scope);
  TERN_TRY(const Value value, evaluate_call(*stmt.value, scope, caller));
  TERN_TRY(const std::string_view text, str(value));
  TERN_TRY_VOID(write(text));
  return Flow::normal;
}

}  // namespace tern::text::jinja
