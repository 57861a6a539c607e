// Evaluates a parsed template. One interpreter renders once; it owns every value it makes.
#pragma once
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/chat_template.h"
#include "text/jinja_ast.h"
#include "text/jinja_value.h"

namespace tern::text::jinja {

/// Variables of one block. Inner scopes see the outer ones and never change them.
struct Binding {
  NameId id = 0;
  Value value;
  Binding* next = nullptr;
};

struct Scope {
  Scope* parent = nullptr;
  Binding* first = nullptr;
};

struct Macro {
  const MacroNode* node = nullptr;
  Scope* scope = nullptr;  ///< where it was defined
};

/// The `loop` variable, and the iteration behind it. Items are taken one by one, because the
/// condition of a loop may read what its body changes.
struct Loop {
  std::span<const Value> source = {};  ///< not yet taken
  const Error* error = nullptr;        ///< to raise after the last one
  const Stmt* statement = nullptr;
  Scope* scope = nullptr;  ///< around the loop
  bool filtered = false;   ///< the statement's condition still applies
  Value before = {}, current = {}, after = {};
  std::int64_t index0 = -1;
  std::int64_t length = -1;  ///< -1: not known yet
  std::int64_t depth0 = 0;
  Value last_changed = {};
};

enum class Flow : std::uint8_t { normal, break_, continue_ };

class Interpreter {
 public:
  Interpreter(const TemplateLimits& limits, std::string_view where,
              std::span<const std::string_view> names, std::time_t now);

  /// Binds `variables` and renders. @error see ChatTemplate::render.
  Eval<std::string> run(Block body, const json::object& variables);

  Arena& arena() { return arena_; }
  std::time_t now() const { return now_; }
  const TemplateLimits& limits() const { return limits_; }

  // Budget. Every evaluated node is a step, and so are four bytes allocated or copied.
  static constexpr std::size_t kBytesPerStep = 4;
  Eval<void> charge(std::size_t steps);
  Eval<void> charge_bytes(std::size_t bytes) { return charge(bytes / kBytesPerStep + 1); }
  /// Fails when `bytes` more would not fit; call before building something large.
  Eval<void> reserve(std::size_t count, std::size_t bytes_each = 1);

  /// One more level of recursion, until the guard goes.
  class Nested {
   public:
    explicit Nested(Interpreter& interpreter)
        : interpreter_(interpreter), depth_(interpreter.depth_) {}
    ~Nested() { interpreter_.depth_ = depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Interpreter& interpreter_;
    std::size_t depth_;
  };
  Eval<void> enter();

  // Errors.
  std::unexpected<Failure> raise(std::string what, ErrorCode code = ErrorCode::usage) const;
  std::unexpected<Failure> raise_undefined(const Value& undefined) const;
  std::unexpected<Failure> raise_error(const Error& error) const;
  Value undefined(std::string_view hint);
  Value undefined_name(std::string_view name);
  Value undefined_member(const Value& object, const Value& name);

  // New values, charged.
  Eval<Value> text(std::string_view text, bool markup = false);
  Value list(std::span<const Value> items, Kind kind = Kind::list);
  Value tuple(std::initializer_list<Value> items);
  /// `error`, if any, is raised when all `items` are taken.
  Value generator(std::string_view name, std::span<const Value> items, Failure error = nullptr);
  Value bind(const Value& self, const Native* function);

  // Operations (jinja_operations.cpp).
  Eval<Value> attribute(const Value& object, std::string_view name);
  Eval<Value> item(const Value& object, const Value& key);
  Eval<Value> slice(const Value& object, const Value& start, const Value& stop, const Value& step);
  Eval<std::span<const Value>> iterate(const Value& iterable);
  bool iterable(const Value& value) const;
  Eval<std::int64_t> length(const Value& value);
  Eval<bool> equal(const Value& a, const Value& b);
  Eval<bool> less(const Value& a, const Value& b, std::string_view sign = "<");
  Eval<bool> contains(const Value& container, const Value& value);
  Eval<Value> binary(Operator op, const Value& a, const Value& b);
  Eval<Value> negate(const Value& a, std::string_view sign);
  Eval<Value> dict(std::span<const Entry> entries);
  Eval<Value> substring(const Value& string, std::size_t begin, std::size_t end);

  // Text of values (jinja_print.cpp).
  Eval<std::string_view> str(const Value& value);
  Eval<Value> soft_str(const Value& value);  ///< strings (Markup too) as they are, else str()
  Eval<std::string> repr(const Value& value);
  Eval<std::string_view> escaped(const Value& value);  ///< markupsafe.escape

  // Calls (jinja_calls.cpp).
  Eval<Value> call(const Value& callee, const Args& args);
  Eval<Value> call_native(const Native& native, const Value& self, const Args& args);

  // Loops (jinja_loops.cpp).
  Eval<Value> loop_attribute(Loop& loop, const Value& self, std::string_view name);
  Eval<std::string> run_recursive(Loop& loop, const Value& iterable);

 private:
  friend class Nested;

  // Statements (jinja_statements.cpp).
  Eval<Flow> execute(Block block, Scope& scope);
  Eval<Flow> execute_statement(const Stmt& stmt, Scope& scope);
  Eval<Flow> execute_output(const Stmt& stmt, Scope& scope);
  Eval<Flow> execute_if(const Stmt& stmt, Scope& scope);
  Eval<Flow> execute_set(const Stmt& stmt, Scope& scope);
  Eval<Flow> execute_captured(const Stmt& stmt, Scope& scope);
  Eval<Flow> execute_with(const Stmt& stmt, Scope& scope);
  Eval<Flow> execute_call_block(const Stmt& stmt, Scope& scope);
  Eval<Flow> execute_for(const Stmt& stmt, Scope& scope, const Value& iterable,
                         std::int64_t depth0);
  Eval<bool> loop_pull(Loop& loop, Value& item);
  Eval<bool> loop_next(Loop& loop, Value& item);
  Eval<bool> loop_peek(Loop& loop);
  Eval<std::int64_t> loop_length(Loop& loop);
  Eval<void> assign(const Expr& target, const Value& value, Scope& scope);
  Eval<void> write(std::string_view text);
  Eval<std::string> capture(Block block, Scope& scope, Flow& flow);

  // Expressions (jinja_expressions.cpp).
  Eval<Value> evaluate(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_kind(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_name(const Expr& expr, const Scope& scope);
  Eval<Value> evaluate_items(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_dict(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_unary(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_binary(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_logic(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_concat(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_compare(const Expr& expr, Scope& scope);
  Eval<bool> compare(Comparison comparison, const Value& a, const Value& b);
  Eval<Value> evaluate_conditional(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_member(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_slice(const Expr& expr, Scope& scope);
  Eval<Value> evaluate_call(const Expr& expr, Scope& scope, const Value& caller);
  Eval<Value> evaluate_native(const Expr& expr, Scope& scope, const Value* body);
  Eval<Value> apply_block_filters(const Expr& expr, Scope& scope, const Value& body);

  struct Arguments;
  Eval<void> evaluate_arguments(const CallArguments& call, Scope& scope, Arguments& arguments);
  Eval<Value> call_macro(const Macro& macro, const Args& args);
  Eval<void> bind_macro(const Macro& macro, const Args& args, Scope& scope);

  // Operations.
  Eval<std::optional<Value>> member(const Value& object, std::string_view name);
  Eval<std::optional<Value>> element(const Value& object, const Value& key);
  Eval<Value> unsafe(const Value& object, std::string_view name);
  Eval<Value> add(const Value& a, const Value& b);
  Eval<Value> multiply(const Value& sequence, const Value& count);
  Eval<void> append_text(std::string& out, const Value& value, bool quoted);
  Eval<void> append_container(std::string& out, const Value& value);
  Eval<void> append_items(std::string& out, std::span<const Value> items);
  Eval<void> append_dict(std::string& out, const Dict& dict);

  Eval<Value> from_json(const json::value& value, std::size_t depth);
  void bind(Scope& scope, NameId id, const Value& value);
  static const Value* lookup(const Scope& scope, NameId id);

  Arena arena_;
  TemplateLimits limits_;
  std::string_view where_;
  std::span<const std::string_view> names_;
  std::time_t now_;
  std::size_t steps_ = 0;
  std::size_t depth_ = 0;
  std::uint32_t line_ = 0;
  std::string* out_ = nullptr;
  std::vector<Failure> late_errors_;  ///< of generators
};

}  // namespace tern::text::jinja
