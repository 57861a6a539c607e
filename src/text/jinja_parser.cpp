// Statements. Expressions are in jinja_parser_expressions.cpp.
#include "text/jinja_parser.h"

#include <algorithm>
#include <array>

namespace tern::text::jinja {

namespace {

constexpr std::array<std::string_view, 8> kRefusedTags = {
    "block", "extends", "include", "import", "from", "autoescape", "do", "trans"};

}  // namespace

Parser::Parser(std::vector<Token> tokens, Arena& arena, std::string_view where,
               std::size_t max_depth)
    : tokens_(std::move(tokens)),
      arena_(arena),
      where_(where),
      max_depth_(std::min<std::size_t>(max_depth, 10'000)) {
  for (const std::string_view name : {"loop", "caller", "varargs", "kwargs"}) intern(name);
}

Eval<Parsed> Parser::run() {
  TERN_TRY(const Block body, parse_body({}));
  TERN_TRY_VOID(check_known(0));
  return Parsed{body, std::move(names_)};
}

std::unexpected<Failure> Parser::error_at(std::uint32_t line, std::string what,
                                          ErrorCode code) const {
  return std::unexpected(std::make_unique<Error>(
      Error{code, std::move(what), std::string(where_) + ":" + std::to_string(line)}));
}

std::unexpected<Failure> Parser::error(std::string what, ErrorCode code) const {
  return error_at(current().line, std::move(what), code);
}

Parser::Done Parser::enter(std::uint32_t line) {
  if (++depth_ > max_depth_) {
    return error_at(line, "nested deeper than " + std::to_string(max_depth_) + " levels",
                    ErrorCode::too_large);
  }
  return {};
}

Parser::Done Parser::check_known(std::size_t since) {
  if (unknown_.size() <= since) return {};
  return std::unexpected(std::move(unknown_[since]));
}

NameId Parser::intern(std::string_view name) {
  const auto [at, added] = ids_.try_emplace(name, static_cast<NameId>(names_.size()));
  if (added) names_.push_back(name);
  return at->second;
}

void Parser::use(NameId id) {
  for (Uses& uses : uses_) {
    uses.caller |= id == kCallerId;
    uses.varargs |= id == kVarargsId;
    uses.kwargs |= id == kKwargsId;
  }
}

/// Statements and text up to one of `end_tags`, which becomes the current token.
Eval<Block> Parser::parse_body(std::span<const std::string_view> end_tags) {
  std::vector<const Stmt*> body;
  while (!at(TokenKind::end)) {
    const std::uint32_t line = current().line;
    if (at(TokenKind::data)) {
      body.push_back(make({.kind = StmtKind::data, .line = line, .text = next().text}));
    } else if (at(TokenKind::variable_begin)) {
      next();
      TERN_TRY(const Expr* value, parse_tuple());
      TERN_TRY_VOID(expect(TokenKind::variable_end, "end of print statement"));
      const std::vector<const Expr*> items = {value};
      body.push_back(make({.kind = StmtKind::output, .line = line, .items = keep(items)}));
    } else {
      next();  // block_begin
      if (at(TokenKind::name) && std::ranges::find(end_tags, current().text) != end_tags.end()) {
        return keep(body);
      }
      TERN_TRY(const Stmt* statement, parse_statement());
      if (statement) body.push_back(statement);
      TERN_TRY_VOID(expect(TokenKind::block_end, "end of statement block"));
    }
  }
  if (!end_tags.empty()) {
    return error("Unexpected end of template. Jinja was looking for '" +
                 std::string(end_tags.back()) + "'.");
  }
  return keep(body);
}

/// The rest of a tag, then a body.
Eval<Block> Parser::parse_statements(std::initializer_list<std::string_view> end_tags) {
  skip_op(":");
  TERN_TRY_VOID(expect(TokenKind::block_end, "end of statement block"));
  return parse_body({end_tags.begin(), end_tags.size()});
}

Parser::StmtResult Parser::parse_statement() {
  if (!at(TokenKind::name)) return error("tag name expected");
  const Nested nested(*this);
  TERN_TRY_VOID(enter(current().line));
  const std::string_view tag = current().text;
  if (tag == "if") return parse_if();
  if (tag == "for") return parse_for();
  if (tag == "set") return parse_set();
  if (tag == "with") return parse_with();
  if (tag == "macro") return parse_macro();
  if (tag == "call") return parse_call_block();
  if (tag == "filter") return parse_filter_block();
  if (tag == "print") return parse_print();
  if (tag == "generation") return parse_generation();
  if (tag == "break") return parse_loop_control(StmtKind::break_);
  if (tag == "continue") return parse_loop_control(StmtKind::continue_);
  if (std::ranges::find(kRefusedTags, tag) != kRefusedTags.end()) {
    return error("tag '" + std::string(tag) + "' is not supported in chat templates",
                 ErrorCode::unsupported);
  }
  const bool misplaced = tag.starts_with("end") || tag == "else" || tag == "elif";
  return error("Encountered unknown tag '" + std::string(tag) + "'.",
               misplaced ? ErrorCode::corrupt : ErrorCode::unsupported);
}

Parser::StmtResult Parser::parse_if() {
  Stmt stmt{.kind = StmtKind::if_, .line = next().line};
  const std::size_t unknown = unknown_.size();
  std::vector<Branch> branches;
  while (true) {
    TERN_TRY(const Expr* condition, parse_tuple(false));
    TERN_TRY(const Block body, parse_statements({"elif", "else", "endif"}));
    branches.push_back({condition, body});
    const std::string_view tag = next().text;
    if (tag == "elif") continue;
    if (tag == "else") {
      TERN_TRY(stmt.otherwise, parse_statements({"endif"}));
      next();
    }
    break;
  }
  unknown_.resize(std::min(unknown, unknown_.size()));
  stmt.branches = keep(branches);
  return make(stmt);
}

Parser::StmtResult Parser::parse_for() {
  Stmt stmt{.kind = StmtKind::for_, .line = next().line};
  ++for_nesting_;
  TERN_TRY(stmt.target, parse_target(false, TupleEnd::in));
  TERN_TRY_VOID(expect_name("in"));
  TERN_TRY(stmt.value, parse_tuple(false, false, TupleEnd::recursive));
  const std::size_t unknown = unknown_.size();
  if (skip_name("if")) {
    TERN_TRY(stmt.condition, parse_expression());
  }
  stmt.recursive = skip_name("recursive");
  const int outer_loops = loops_;
  ++loops_;
  TERN_TRY(stmt.body, parse_statements({"endfor", "else"}));
  loops_ = stmt.recursive ? 0 : outer_loops;
  if (next().text == "else") {
    TERN_TRY(stmt.otherwise, parse_statements({"endfor"}));
    next();
  }
  loops_ = outer_loops;
  --for_nesting_;
  TERN_TRY_VOID(check_known(unknown));
  return make(stmt);
}

Parser::StmtResult Parser::parse_set() {
  Stmt stmt{.kind = StmtKind::set, .line = next().line};
  TERN_TRY(stmt.target, parse_target(true));
  if (skip_op("=")) {
    TERN_TRY(stmt.value, parse_tuple());
    return make(stmt);
  }
  stmt.kind = StmtKind::set_block;
  const std::size_t unknown = unknown_.size();
  if (at_op("|")) {
    TERN_TRY(stmt.value, parse_filter(nullptr));
  }
  TERN_TRY(stmt.body, parse_statements({"endset"}));
  next();
  TERN_TRY_VOID(check_known(unknown));
  return make(stmt);
}

Parser::StmtResult Parser::parse_with() {
  Stmt stmt{.kind = StmtKind::with, .line = next().line};
  std::vector<const Expr*> items;
  const std::size_t unknown = unknown_.size();
  while (!at(TokenKind::block_end)) {
    if (!items.empty()) TERN_TRY_VOID(expect_op(","));
    TERN_TRY(const Expr* target, parse_target(false));
    TERN_TRY_VOID(expect_op("="));
    TERN_TRY(const Expr* value, parse_expression());
    items.push_back(target);
    items.push_back(value);
  }
  TERN_TRY(stmt.body, parse_statements({"endwith"}));
  next();
  TERN_TRY_VOID(check_known(unknown));
  stmt.items = keep(items);
  return make(stmt);
}

Parser::Done Parser::parse_signature(std::vector<Parameter>& parameters) {
  TERN_TRY_VOID(expect_op("("));
  bool defaults = false;
  while (!at_op(")")) {
    if (!parameters.empty()) TERN_TRY_VOID(expect_op(","));
    TERN_TRY(const std::string_view name, expect_identifier());
    const NameId id = intern(name);
    if (std::ranges::find(parameters, id, &Parameter::id) != parameters.end()) {
      return error("duplicate argument '" + std::string(name) + "' in macro definition");
    }
    Parameter parameter{id, name, nullptr};
    if (skip_op("=")) {
      TERN_TRY(parameter.fallback, parse_expression());
      defaults = true;
    } else if (defaults) {
      return error("non-default argument follows default argument");
    }
    parameters.push_back(parameter);
  }
  return expect_op(")");
}

/// The body of a macro or call block, in which loops around it do not count.
Eval<const MacroNode*> Parser::finish_macro(std::string_view name,
                                            std::vector<Parameter> parameters,
                                            std::string_view end_tag) {
  const std::size_t unknown = unknown_.size();
  const int outer_loops = std::exchange(loops_, 0);
  uses_.push_back({});
  TERN_TRY(const Block body, parse_statements({end_tag}));
  next();
  const Uses uses = uses_.back();
  uses_.pop_back();
  loops_ = outer_loops;
  TERN_TRY_VOID(check_known(unknown));
  const auto declares = [&](NameId id) {
    return std::ranges::find(parameters, id, &Parameter::id) != parameters.end();
  };
  if (uses.caller && declares(kCallerId)) {
    const auto caller = std::ranges::find(parameters, NameId(kCallerId), &Parameter::id);
    if (!caller->fallback) {
      return error(
          "When defining macros or call blocks the special \"caller\" argument must be omitted or "
          "be given a default.");
    }
  }
  return arena_.make<MacroNode>(
      name, intern(name), keep(parameters), body, uses.caller && !declares(kCallerId),
      uses.varargs && !declares(kVarargsId), uses.kwargs && !declares(kKwargsId));
}

Parser::StmtResult Parser::parse_macro() {
  Stmt stmt{.kind = StmtKind::macro, .line = next().line};
  TERN_TRY(const std::string_view name, expect_identifier());
  std::vector<Parameter> parameters;
  TERN_TRY_VOID(parse_signature(parameters));
  TERN_TRY(stmt.macro, finish_macro(name, std::move(parameters), "endmacro"));
  return make(stmt);
}

Parser::StmtResult Parser::parse_call_block() {
  Stmt stmt{.kind = StmtKind::call_block, .line = next().line};
  std::vector<Parameter> parameters;
  if (at_op("(")) TERN_TRY_VOID(parse_signature(parameters));
  TERN_TRY(stmt.value, parse_expression());
  if (stmt.value->kind != ExprKind::call) return error_at(stmt.line, "expected call");
  TERN_TRY(stmt.macro, finish_macro("", std::move(parameters), "endcall"));
  return make(stmt);
}

Parser::StmtResult Parser::parse_filter_block() {
  Stmt stmt{.kind = StmtKind::filter, .line = next().line};
  const std::size_t unknown = unknown_.size();
  TERN_TRY(stmt.value, parse_filter(nullptr, true));
  TERN_TRY(stmt.body, parse_statements({"endfilter"}));
  next();
  TERN_TRY_VOID(check_known(unknown));
  return make(stmt);
}

Parser::StmtResult Parser::parse_print() {
  Stmt stmt{.kind = StmtKind::output, .line = next().line};
  std::vector<const Expr*> items;
  while (!at(TokenKind::block_end)) {
    if (!items.empty()) TERN_TRY_VOID(expect_op(","));
    TERN_TRY(const Expr* item, parse_expression());
    items.push_back(item);
  }
  stmt.items = keep(items);
  return make(stmt);
}

/// {% generation %} marks what the assistant wrote, for training; it renders as its body.
Parser::StmtResult Parser::parse_generation() {
  Stmt stmt{.kind = StmtKind::scope, .line = next().line};
  const std::size_t unknown = unknown_.size();
  const int outer_loops = std::exchange(loops_, 0);
  TERN_TRY_VOID(expect(TokenKind::block_end, "end of statement block"));
  constexpr std::array<std::string_view, 1> kEnd = {"endgeneration"};
  TERN_TRY(stmt.body, parse_body(kEnd));
  next();
  loops_ = outer_loops;
  TERN_TRY_VOID(check_known(unknown));
  return make(stmt);
}

Parser::StmtResult Parser::parse_loop_control(StmtKind kind) {
  const Token& token = next();
  if (loops_ == 0) {
    return error_at(token.line, "'" + std::string(token.text) + "' outside loop");
  }
  return make({.kind = kind, .line = token.line});
}

Parser::Done Parser::check_target(const Expr& target) const {
  if (target.kind == ExprKind::tuple) {
    for (const Expr* item : target.items) TERN_TRY_VOID(check_target(*item));
    return {};
  }
  if (target.kind == ExprKind::namespace_target) return {};
  if (target.kind != ExprKind::name) return error_at(target.line, "can't assign to this");
  if (target.id == kLoopId && for_nesting_ > 0) {
    return error_at(target.line, "Can't assign to special loop variable in for-loop target");
  }
  return {};
}

Parser::ExprResult Parser::parse_target(bool with_namespace, TupleEnd end) {
  TERN_TRY(const Expr* target, parse_tuple_of(true, with_namespace, true, false, end));
  TERN_TRY_VOID(check_target(*target));
  return target;
}

}  // namespace tern::text::jinja
