// {% for %} and the `loop` variable.
#include <vector>

#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"

namespace tern::text::jinja {

namespace {

std::span<const std::string_view> no_parameters() {
  return {};
}

Eval<Value> cycle(Interpreter& in, const Value& self, const Args& args) {
  if (args.positional.empty()) return in.raise("no items for cycling given");
  const auto index = static_cast<std::size_t>(self.loop->index0);
  return args.positional[index % args.positional.size()];
}

Eval<Value> changed(Interpreter& in, const Value& self, const Args& args) {
  const Value now = in.list(args.positional, Kind::tuple);
  if (self.loop->last_changed.present()) {
    TERN_TRY(const bool same, in.equal(self.loop->last_changed, now));
    if (same) return make_bool(false);
  }
  self.loop->last_changed = now;
  return make_bool(true);
}

const Native kCycle{.name = "cycle", .parameters = no_parameters(), .variadic = cycle};
const Native kChanged{.name = "changed", .parameters = no_parameters(), .variadic = changed};

}  // namespace

/// The next item that passes the loop's condition; false at the end.
Eval<bool> Interpreter::loop_pull(Loop& loop, Value& item) {
  while (!loop.source.empty()) {
    item = loop.source.front();
    loop.source = loop.source.subspan(1);
    if (!loop.filtered) return true;
    Scope inner{loop.scope, nullptr};
    TERN_TRY_VOID(charge(1));
    TERN_TRY_VOID(assign(*loop.statement->target, item, inner));
    TERN_TRY(const Value passes, evaluate(*loop.statement->condition, inner));
    if (truth(passes)) return true;
  }
  if (loop.error) return raise_error(*loop.error);
  return false;
}

Eval<bool> Interpreter::loop_peek(Loop& loop) {
  if (loop.after.present()) return true;
  Value item;
  TERN_TRY(const bool more, loop_pull(loop, item));
  if (more) loop.after = item;
  return more;
}

Eval<bool> Interpreter::loop_next(Loop& loop, Value& item) {
  if (loop.after.present()) {
    item = std::exchange(loop.after, Value{});
  } else {
    TERN_TRY(const bool more, loop_pull(loop, item));
    if (!more) return false;
  }
  ++loop.index0;
  loop.before = std::exchange(loop.current, item);
  return true;
}

/// A loop with a condition must look at all its items for this.
Eval<std::int64_t> Interpreter::loop_length(Loop& loop) {
  if (loop.length >= 0) return loop.length;
  if (loop.filtered) {
    std::vector<Value> rest;
    Value item;
    while (true) {
      TERN_TRY(const bool more, loop_pull(loop, item));
      if (!more) break;
      rest.push_back(item);
    }
    loop.filtered = false;
    loop.source = arena_.copy(std::span<const Value>(rest));
  }
  const std::int64_t taken = loop.index0 + 1 + std::int64_t(loop.after.present());
  loop.length = taken + static_cast<std::int64_t>(loop.source.size());
  return loop.length;
}

Eval<Value> Interpreter::loop_attribute(Loop& loop, const Value& self, std::string_view name) {
  if (name == "index") return make_int(loop.index0 + 1);
  if (name == "index0") return make_int(loop.index0);
  if (name == "first") return make_bool(loop.index0 == 0);
  if (name == "depth") return make_int(loop.depth0 + 1);
  if (name == "depth0") return make_int(loop.depth0);
  if (name == "cycle") return bind(self, &kCycle);
  if (name == "changed") return bind(self, &kChanged);
  if (name == "last") {
    TERN_TRY(const bool more, loop_peek(loop));
    return make_bool(!more);
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    TERN_TRY(const std::int64_t length, loop_length(loop));
    if (name == "length") return make_int(length);
    return make_int(length - loop.index0 - (name == "revindex" ? 0 : 1));
  }
  if (name == "previtem") {
    return loop.index0 == 0 ? undefined("there is no previous item") : loop.before;
  }
  if (name == "nextitem") {
    TERN_TRY(const bool more, loop_peek(loop));
    return more ? loop.after : undefined("there is no next item");
  }
  return Value{};
}

Eval<Flow> Interpreter::execute_for(const Stmt& stmt, Scope& scope, const Value& iterable,
                                    std::int64_t depth0) {
  Value self;
  self.kind = Kind::loop;
  self.loop = arena_.make<Loop>();
  Loop& loop = *self.loop;
  loop.statement = &stmt;
  loop.scope = &scope;
  loop.filtered = stmt.condition != nullptr;
  loop.depth0 = depth0;
  if (iterable.is(Kind::generator)) {
    loop.source = std::exchange(iterable.generator->items, {});
    loop.error = std::exchange(iterable.generator->error, nullptr);
  } else {
    TERN_TRY(loop.source, iterate(iterable));
  }
  bool empty = true;
  while (true) {
    Value item;
    TERN_TRY(const bool more, loop_next(loop, item));
    if (!more) break;
    TERN_TRY_VOID(charge(1));
    Scope* inner = arena_.make<Scope>(&scope);
    bind(*inner, kLoopId, self);
    TERN_TRY_VOID(assign(*stmt.target, item, *inner));
    TERN_TRY(const Flow flow, execute(stmt.body, *inner));
    if (flow == Flow::break_) break;
    if (flow == Flow::normal) empty = false;  // Jinja2 notes a pass when it reaches its end
  }
  if (!empty) return Flow::normal;
  return execute(stmt.otherwise, *arena_.make<Scope>(&scope));
}

Eval<std::string> Interpreter::run_recursive(Loop& loop, const Value& iterable) {
  if (!loop.statement->recursive) {
    return raise("The loop must have the 'recursive' marker to be called recursively.");
  }
  const Nested nested(*this);
  TERN_TRY_VOID(enter());
  std::string aside;
  std::string* outside = std::exchange(out_, &aside);
  Eval<Flow> result = execute_for(*loop.statement, *loop.scope, iterable, loop.depth0 + 1);
  out_ = outside;
  if (!result) return std::unexpected(std::move(result).error());
  return aside;
}

}  // namespace tern::text::jinja
