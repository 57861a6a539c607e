// Expressions, in the order of Jinja2's grammar: conditional, or, and, not, comparisons, + -, ~,
// * / // %, **, unary, then postfix operators, filters and tests.
#include <algorithm>
#include <array>

#include "text/jinja_parser.h"

namespace tern::text::jinja {

namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::data:
      return "template data / text";
    case TokenKind::block_begin:
      return "begin of statement block";
    case TokenKind::block_end:
      return "end of statement block";
    case TokenKind::variable_begin:
      return "begin of print statement";
    case TokenKind::variable_end:
      return "end of print statement";
    case TokenKind::string:
      return "string";
    case TokenKind::integer:
      return "integer";
    case TokenKind::real:
      return "float";
    case TokenKind::end:
      return "end of template";
    default:
      return std::string(token.text);
  }
}

std::optional<Comparison> comparison_of(const Token& token) {
  constexpr std::array<std::pair<std::string_view, Comparison>, 6> kSigns = {{
      {"==", Comparison::eq},
      {"!=", Comparison::ne},
      {"<", Comparison::lt},
      {"<=", Comparison::le},
      {">", Comparison::gt},
      {">=", Comparison::ge},
  }};
  if (token.kind != TokenKind::op) return std::nullopt;
  for (const auto& [sign, comparison] : kSigns) {
    if (token.text == sign) return comparison;
  }
  return std::nullopt;
}

std::optional<Operator> product_operator(const Token& token) {
  if (token.kind != TokenKind::op) return std::nullopt;
  if (token.text == "*") return Operator::multiply;
  if (token.text == "/") return Operator::divide;
  if (token.text == "//") return Operator::floor_divide;
  if (token.text == "%") return Operator::modulo;
  return std::nullopt;
}

std::size_t height_of(const Expr* expr) {
  return expr ? expr->height : 0;
}

}  // namespace

bool Parser::skip_op(std::string_view op) {
  if (!at_op(op)) return false;
  next();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!at_name(name)) return false;
  next();
  return true;
}

Parser::Done Parser::expect(TokenKind kind, std::string_view described) {
  if (at(kind)) {
    next();
    return {};
  }
  if (at(TokenKind::end)) {
    return error("unexpected end of template, expected '" + std::string(described) + "'.");
  }
  return error("expected token '" + std::string(described) + "', got '" + describe(current()) +
               "'");
}

Parser::Done Parser::expect_op(std::string_view op) {
  if (skip_op(op)) return {};
  return error("expected token '" + std::string(op) + "', got '" + describe(current()) + "'");
}

Parser::Done Parser::expect_name(std::string_view name) {
  if (skip_name(name)) return {};
  return error("expected token '" + std::string(name) + "', got '" + describe(current()) + "'");
}

Eval<std::string_view> Parser::expect_identifier() {
  if (at(TokenKind::name)) return next().text;
  return error("expected token 'name', got '" + describe(current()) + "'");
}

/// Keeps the node, and refuses chains that would nest too deep when they are evaluated.
Parser::ExprResult Parser::finish(Expr expr) {
  std::size_t height =
      std::max({height_of(expr.left), height_of(expr.right), height_of(expr.condition)});
  for (const Expr* item : expr.items) height = std::max(height, height_of(item));
  if (expr.call) {
    for (const Expr* argument : expr.call->positional) {
      height = std::max(height, height_of(argument));
    }
    for (const KeywordArgument& argument : expr.call->named) {
      height = std::max(height, height_of(argument.value));
    }
    height = std::max({height, height_of(expr.call->star), height_of(expr.call->double_star)});
  }
  if (height + 1 > max_depth_) {
    return error_at(expr.line, "nested deeper than " + std::to_string(max_depth_) + " levels",
                    ErrorCode::too_large);
  }
  expr.height = static_cast<std::uint16_t>(height + 1);
  return arena_.make<Expr>(expr);
}

Parser::ExprResult Parser::parse_expression(bool with_conditional) {
  return with_conditional ? parse_conditional() : parse_or();
}

Parser::ExprResult Parser::parse_conditional() {
  const Nested nested(*this);
  const std::size_t unknown = unknown_.size();
  std::uint32_t line = current().line;
  TERN_TRY(const Expr* value, parse_or());
  while (skip_name("if")) {
    TERN_TRY_VOID(enter(line));
    Expr expr{.kind = ExprKind::conditional, .line = line, .left = value};
    TERN_TRY(expr.condition, parse_or());
    if (skip_name("else")) {
      TERN_TRY(expr.right, parse_conditional());
    }
    unknown_.resize(std::min(unknown, unknown_.size()));
    TERN_TRY(value, finish(expr));
    line = current().line;
  }
  return value;
}

Parser::ExprResult Parser::parse_or() {
  std::uint32_t line = current().line;
  TERN_TRY(const Expr* left, parse_and());
  while (skip_name("or")) {
    TERN_TRY(const Expr* right, parse_and());
    TERN_TRY(left, finish({.kind = ExprKind::or_, .line = line, .left = left, .right = right}));
    line = current().line;
  }
  return left;
}

Parser::ExprResult Parser::parse_and() {
  std::uint32_t line = current().line;
  TERN_TRY(const Expr* left, parse_not());
  while (skip_name("and")) {
    TERN_TRY(const Expr* right, parse_not());
    TERN_TRY(left, finish({.kind = ExprKind::and_, .line = line, .left = left, .right = right}));
    line = current().line;
  }
  return left;
}

Parser::ExprResult Parser::parse_not() {
  if (!at_name("not")) return parse_compare();
  const Nested nested(*this);
  const std::uint32_t line = next().line;
  TERN_TRY_VOID(enter(line));
  TERN_TRY(const Expr* operand, parse_not());
  return finish({.kind = ExprKind::not_, .line = line, .left = operand});
}

Parser::ExprResult Parser::parse_compare() {
  const std::uint32_t line = current().line;
  TERN_TRY(const Expr* left, parse_sum());
  std::vector<const Expr*> operands;
  std::vector<Comparison> comparisons;
  while (true) {
    if (const auto sign = comparison_of(current())) {
      next();
      comparisons.push_back(*sign);
    } else if (skip_name("in")) {
      comparisons.push_back(Comparison::in);
    } else if (at_name("not") && look().kind == TokenKind::name && look().text == "in") {
      next();
      next();
      comparisons.push_back(Comparison::not_in);
    } else {
      break;
    }
    TERN_TRY(const Expr* operand, parse_sum());
    operands.push_back(operand);
  }
  if (operands.empty()) return left;
  return finish({.kind = ExprKind::compare,
                 .line = line,
                 .left = left,
                 .items = keep(operands),
                 .comparisons = keep(comparisons)});
}

Parser::ExprResult Parser::parse_sum() {
  std::uint32_t line = current().line;
  TERN_TRY(const Expr* left, parse_concat());
  while (at_op("+") || at_op("-")) {
    const Operator op = next().text == "+" ? Operator::add : Operator::subtract;
    TERN_TRY(const Expr* right, parse_concat());
    TERN_TRY(
        left,
        finish({.kind = ExprKind::binary, .op = op, .line = line, .left = left, .right = right}));
    line = current().line;
  }
  return left;
}

Parser::ExprResult Parser::parse_concat() {
  const std::uint32_t line = current().line;
  TERN_TRY(const Expr* first, parse_product());
  if (!at_op("~")) return first;
  std::vector<const Expr*> items = {first};
  while (skip_op("~")) {
    TERN_TRY(const Expr* item, parse_product());
    items.push_back(item);
  }
  return finish({.kind = ExprKind::concat, .line = line, .items = keep(items)});
}

Parser::ExprResult Parser::parse_product() {
  std::uint32_t line = current().line;
  TERN_TRY(const Expr* left, parse_power());
  while (const auto op = product_operator(current())) {
    next();
    TERN_TRY(const Expr* right, parse_power());
    TERN_TRY(
        left,
        finish({.kind = ExprKind::binary, .op = *op, .line = line, .left = left, .right = right}));
    line = current().line;
  }
  return left;
}

Parser::ExprResult Parser::parse_power() {
  std::uint32_t line = current().line;
  TERN_TRY(const Expr* left, parse_unary());
  while (skip_op("**")) {
    TERN_TRY(const Expr* right, parse_unary());
    TERN_TRY(left, finish({.kind = ExprKind::binary,
                           .op = Operator::power,
                           .line = line,
                           .left = left,
                           .right = right}));
    line = current().line;
  }
  return left;
}

Parser::ExprResult Parser::parse_unary(bool with_filter) {
  const Nested nested(*this);
  const std::uint32_t line = current().line;
  TERN_TRY_VOID(enter(line));
  const Expr* node = nullptr;
  if (at_op("-") || at_op("+")) {
    const ExprKind kind = next().text == "-" ? ExprKind::negate : ExprKind::plus;
    TERN_TRY(const Expr* operand, parse_unary(false));
    TERN_TRY(node, finish({.kind = kind, .line = line, .left = operand}));
  } else {
    TERN_TRY(node, parse_primary());
  }
  TERN_TRY(node, parse_postfix(node));
  return with_filter ? parse_filters_and_tests(node) : node;
}

Parser::ExprResult Parser::parse_primary(bool with_namespace) {
  const Token& token = current();
  if (token.kind == TokenKind::name) return parse_name(with_namespace);
  if (token.kind == TokenKind::integer || token.kind == TokenKind::real) return parse_number();
  if (token.kind == TokenKind::string) {
    std::string text;
    while (at(TokenKind::string)) text += next().text;
    return finish(
        {.kind = ExprKind::constant, .line = token.line, .constant = make_string(arena_, text)});
  }
  if (at_op("(")) {
    next();
    TERN_TRY(const Expr* inner, parse_tuple(true, true));
    TERN_TRY_VOID(expect_op(")"));
    return inner;
  }
  if (at_op("[")) return parse_list();
  if (at_op("{")) return parse_dict();
  return error("unexpected '" + describe(token) + "'");
}

Parser::ExprResult Parser::parse_name(bool with_namespace) {
  const Token& token = next();
  const std::string_view name = token.text;
  Expr expr{.kind = ExprKind::constant, .line = token.line};
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    expr.constant = make_bool(name.size() == 4);
  } else if (name == "none" || name == "None") {
    expr.constant = make_none();
  } else {
    expr.kind = ExprKind::name;
    expr.id = intern(name);
    expr.text = name;
    if (with_namespace && skip_op(".")) {
      expr.kind = ExprKind::namespace_target;
      TERN_TRY(expr.text, expect_identifier());
    }
    use(expr.id);
  }
  return finish(expr);
}

Parser::ExprResult Parser::parse_number() {
  const Token& token = next();
  Expr expr{.kind = ExprKind::constant, .line = token.line};
  if (token.kind == TokenKind::real) {
    const auto number = parse_float(token.text);
    if (!number) return error_at(token.line, "invalid number " + std::string(token.text));
    expr.constant = make_real(*number);
  } else {
    const auto number = parse_integer(arena_, token.text, 0);
    if (!number) {
      return error_at(token.line, "integer literal of more than 4300 digits", ErrorCode::too_large);
    }
    expr.constant = *number;
  }
  return finish(expr);
}

bool Parser::at_tuple_end(TupleEnd end) const {
  if (at(TokenKind::variable_end) || at(TokenKind::block_end) || at_op(")")) return true;
  if (end == TupleEnd::in) return at_name("in");
  return end == TupleEnd::recursive && at_name("recursive");
}

Parser::ExprResult Parser::parse_tuple(bool with_conditional, bool parenthesized, TupleEnd end) {
  return parse_tuple_of(false, false, with_conditional, parenthesized, end);
}

/// One expression, or several with commas as a tuple. Targets of assignments are `primaries`.
Parser::ExprResult Parser::parse_tuple_of(bool primaries, bool with_namespace,
                                          bool with_conditional, bool parenthesized, TupleEnd end) {
  const std::uint32_t line = current().line;
  std::vector<const Expr*> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) TERN_TRY_VOID(expect_op(","));
    if (at_tuple_end(end)) break;
    TERN_TRY(const Expr* item,
             primaries ? parse_primary(with_namespace) : parse_expression(with_conditional));
    items.push_back(item);
    if (!at_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!items.empty()) return items[0];
    if (!parenthesized) {
      return error("Expected an expression, got '" + describe(current()) + "'");
    }
  }
  return finish({.kind = ExprKind::tuple, .line = line, .items = keep(items)});
}

Parser::ExprResult Parser::parse_list() {
  const std::uint32_t line = next().line;
  std::vector<const Expr*> items;
  while (!at_op("]")) {
    if (!items.empty()) TERN_TRY_VOID(expect_op(","));
    if (at_op("]")) break;
    TERN_TRY(const Expr* item, parse_expression());
    items.push_back(item);
  }
  next();
  return finish({.kind = ExprKind::list, .line = line, .items = keep(items)});
}

Parser::ExprResult Parser::parse_dict() {
  const std::uint32_t line = next().line;
  std::vector<const Expr*> items;
  while (!at_op("}")) {
    if (!items.empty()) TERN_TRY_VOID(expect_op(","));
    if (at_op("}")) break;
    TERN_TRY(const Expr* key, parse_expression());
    TERN_TRY_VOID(expect_op(":"));
    TERN_TRY(const Expr* value, parse_expression());
    items.push_back(key);
    items.push_back(value);
  }
  next();
  return finish({.kind = ExprKind::dict, .line = line, .items = keep(items)});
}

}  // namespace tern::text::jinja
