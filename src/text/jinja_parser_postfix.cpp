// What follows a primary expression: subscripts, calls, filters and tests.
#include <algorithm>

#include "text/jinja_natives.h"
#include "text/jinja_parser.h"

namespace tern::text::jinja {

Parser::ExprResult Parser::parse_postfix(const Expr* node) {
  while (true) {
    if (at_op(".") || at_op("[")) {
      TERN_TRY(node, parse_subscript(node));
    } else if (at_op("(")) {
      TERN_TRY(node, parse_call(node));
    } else {
      return node;
    }
  }
}

Parser::ExprResult Parser::parse_filters_and_tests(const Expr* node) {
  while (true) {
    if (at_op("|")) {
      TERN_TRY(node, parse_filter(node));
    } else if (at_name("is")) {
      TERN_TRY(node, parse_test(node));
    } else if (at_op("(")) {
      TERN_TRY(node, parse_call(node));
    } else {
      return node;
    }
  }
}

Parser::ExprResult Parser::parse_subscript(const Expr* node) {
  const Token& token = next();
  if (token.text == ".") {
    if (at(TokenKind::name)) {
      const std::string_view name = next().text;
      return finish({.kind = ExprKind::attribute, .line = token.line, .text = name, .left = node});
    }
    if (!at(TokenKind::integer)) return error("expected name or number");
    TERN_TRY(const Expr* number, parse_number());
    return finish({.kind = ExprKind::item, .line = token.line, .left = node, .right = number});
  }
  std::vector<const Expr*> parts;
  bool is_slice = false;
  while (!at_op("]")) {
    if (!parts.empty()) TERN_TRY_VOID(expect_op(","));
    TERN_TRY(const Expr* part, parse_subscript_part(node, is_slice));
    parts.push_back(part);
  }
  next();
  if (parts.size() == 1 && is_slice) return parts[0];
  if (is_slice)
    return error_at(token.line, "slices in a subscript of several parts", ErrorCode::unsupported);
  const Expr* index = parts.empty() ? nullptr : parts[0];
  if (parts.size() != 1) {
    TERN_TRY(index, finish({.kind = ExprKind::tuple, .line = token.line, .items = keep(parts)}));
  }
  return finish({.kind = ExprKind::item, .line = token.line, .left = node, .right = index});
}

/// An index, or start:stop:step.
Parser::ExprResult Parser::parse_subscript_part(const Expr* node, bool& is_slice) {
  const std::uint32_t line = current().line;
  std::vector<const Expr*> parts(3, nullptr);
  if (!at_op(":")) {
    TERN_TRY(parts[0], parse_expression());
    if (!at_op(":")) return parts[0];
  }
  next();
  is_slice = true;
  const auto at_end = [&] { return at_op("]") || at_op(","); };
  if (!at_op(":") && !at_end()) {
    TERN_TRY(parts[1], parse_expression());
  }
  if (skip_op(":") && !at_end()) {
    TERN_TRY(parts[2], parse_expression());
  }
  return finish({.kind = ExprKind::slice, .line = line, .left = node, .items = keep(parts)});
}

Parser::ExprResult Parser::parse_call(const Expr* node) {
  const std::uint32_t line = current().line;
  TERN_TRY(const CallArguments* call, parse_arguments());
  return finish({.kind = ExprKind::call, .line = line, .left = node, .call = call});
}

Eval<const CallArguments*> Parser::parse_arguments() {
  const std::uint32_t line = current().line;
  TERN_TRY_VOID(expect_op("("));
  CallArguments call;
  std::vector<const Expr*> positional;
  std::vector<KeywordArgument> named;
  bool first = true;
  while (!at_op(")")) {
    if (!first) {
      TERN_TRY_VOID(expect_op(","));
      if (at_op(")")) break;
    }
    first = false;
    TERN_TRY_VOID(parse_argument(call, positional, named, line));
  }
  next();
  call.positional = keep(positional);
  call.named = keep(named);
  return arena_.make<CallArguments>(call);
}

Parser::Done Parser::parse_argument(CallArguments& call, std::vector<const Expr*>& positional,
                                    std::vector<KeywordArgument>& named, std::uint32_t line) {
  const auto invalid = [&] {
    return error_at(line, "invalid syntax for function call expression");
  };
  if (skip_op("*")) {
    if (call.star || call.double_star) return invalid();
    TERN_TRY(call.star, parse_expression());
    return {};
  }
  if (skip_op("**")) {
    if (call.double_star) return invalid();
    TERN_TRY(call.double_star, parse_expression());
    return {};
  }
  if (at(TokenKind::name) && look().kind == TokenKind::op && look().text == "=") {
    if (call.double_star) return invalid();
    const std::string_view name = next().text;
    next();
    TERN_TRY(const Expr* value, parse_expression());
    if (std::ranges::find(named, name, &KeywordArgument::name) != named.end()) {
      return error_at(line, "keyword argument repeated: " + std::string(name));
    }
    named.push_back({name, value});
    return {};
  }
  if (call.star || call.double_star || !named.empty()) return invalid();
  TERN_TRY(const Expr* value, parse_expression());
  positional.push_back(value);
  return {};
}

Eval<std::string_view> Parser::parse_dotted_name() {
  TERN_TRY(std::string_view name, expect_identifier());
  while (skip_op(".")) {
    TERN_TRY(const std::string_view part, expect_identifier());
    name = arena_.copy(std::string(name) + "." + std::string(part));
  }
  return name;
}

/// `| name(arguments)`, as often as it comes. A null `node` stands for the body of a block.
Parser::ExprResult Parser::parse_filter(const Expr* node, bool inline_start) {
  while (at_op("|") || inline_start) {
    if (!inline_start) next();
    inline_start = false;
    const std::uint32_t line = current().line;
    TERN_TRY(const std::string_view name, parse_dotted_name());
    Expr expr{.kind = ExprKind::filter, .line = line, .text = name, .left = node};
    expr.native = find_filter(name);
    if (!expr.native) {
      unknown_.push_back(
          error_at(line, "No filter named '" + std::string(name) + "'.", ErrorCode::unsupported)
              .error());
    }
    if (at_op("(")) {
      TERN_TRY(expr.call, parse_arguments());
    } else {
      expr.call = arena_.make<CallArguments>();
    }
    TERN_TRY(node, finish(expr));
  }
  return node;
}

bool Parser::next_begins_test_argument() const {
  switch (current().kind) {
    case TokenKind::name:
      return !at_name("else") && !at_name("or") && !at_name("and");
    case TokenKind::string:
    case TokenKind::integer:
    case TokenKind::real:
      return true;
    default:
      return at_op("[") || at_op("{");
  }
}

Parser::ExprResult Parser::parse_test(const Expr* node) {
  const std::uint32_t line = next().line;  // is
  const bool negated = skip_name("not");
  TERN_TRY(const std::string_view name, parse_dotted_name());
  Expr expr{.kind = ExprKind::test, .line = line, .text = name, .left = node};
  expr.native = find_test(name);
  if (!expr.native) {
    unknown_.push_back(
        error_at(line, "No test named '" + std::string(name) + "'.", ErrorCode::unsupported)
            .error());
  }
  CallArguments* call = arena_.make<CallArguments>();
  expr.call = call;
  if (at_op("(")) {
    TERN_TRY(expr.call, parse_arguments());
  } else if (next_begins_test_argument()) {
    if (at_name("is")) return error("You cannot chain multiple tests with is");
    TERN_TRY(const Expr* argument, parse_primary());
    TERN_TRY(argument, parse_postfix(argument));
    const std::vector<const Expr*> positional = {argument};
    call->positional = keep(positional);
  }
  TERN_TRY(const Expr* test, finish(expr));
  if (!negated) return test;
  return finish({.kind = ExprKind::not_, .line = line, .left = test});
}

}  // namespace tern::text::jinja
