// Tokens to the tree of jinja_ast.h: the grammar of Jinja2.
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace tern::text::jinja {

struct Parsed {
  Block body;
  std::vector<std::string_view> names;  ///< by NameId
};

/// Recursive descent. Depth is bounded: of blocks in blocks, of expressions in expressions, and of
/// chains such as a.b.c (whose evaluation nests).
class Parser {
 public:
  Parser(std::vector<Token> tokens, Arena& arena, std::string_view where, std::size_t max_depth);

  /// @error corrupt, unsupported (a tag, filter or test), too_large (nesting); with line.
  Eval<Parsed> run();

 private:
  using ExprResult = Eval<const Expr*>;
  using StmtResult = Eval<const Stmt*>;
  using Done = Eval<void>;
  enum class TupleEnd : std::uint8_t { none, in, recursive };

  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  bool at(TokenKind kind) const { return current().kind == kind; }
  bool at_op(std::string_view op) const { return at(TokenKind::op) && current().text == op; }
  bool at_name(std::string_view name) const {
    return at(TokenKind::name) && current().text == name;
  }
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  Done expect_op(std::string_view op);
  Done expect(TokenKind kind, std::string_view described);
  Done expect_name(std::string_view name);
  Eval<std::string_view> expect_identifier();
  std::unexpected<Failure> error(std::string what, ErrorCode code = ErrorCode::corrupt) const;
  std::unexpected<Failure> error_at(std::uint32_t line, std::string what,
                                    ErrorCode code = ErrorCode::corrupt) const;

  // Statements.
  Eval<Block> parse_body(std::span<const std::string_view> end_tags);
  Eval<Block> parse_statements(std::initializer_list<std::string_view> end_tags);
  StmtResult parse_statement();
  StmtResult parse_if();
  StmtResult parse_for();
  StmtResult parse_set();
  StmtResult parse_with();
  StmtResult parse_macro();
  StmtResult parse_call_block();
  StmtResult parse_filter_block();
  StmtResult parse_print();
  StmtResult parse_generation();
  StmtResult parse_loop_control(StmtKind kind);
  Done parse_signature(std::vector<Parameter>& parameters);
  Eval<const MacroNode*> finish_macro(std::string_view name, std::vector<Parameter> parameters,
                                      std::string_view end_tag);
  ExprResult parse_target(bool with_namespace, TupleEnd end = TupleEnd::none);
  Done check_target(const Expr& target) const;

  // Expressions, loosest first.
  ExprResult parse_expression(bool with_conditional = true);
  ExprResult parse_conditional();
  ExprResult parse_or();
  ExprResult parse_and();
  ExprResult parse_not();
  ExprResult parse_compare();
  ExprResult parse_sum();
  ExprResult parse_concat();
  ExprResult parse_product();
  ExprResult parse_power();
  ExprResult parse_unary(bool with_filter = true);
  ExprResult parse_postfix(const Expr* node);
  ExprResult parse_filters_and_tests(const Expr* node);
  ExprResult parse_primary(bool with_namespace = false);
  ExprResult parse_name(bool with_namespace);
  ExprResult parse_number();
  ExprResult parse_list();
  ExprResult parse_dict();
  ExprResult parse_tuple(bool with_conditional = true, bool parenthesized = false,
                         TupleEnd end = TupleEnd::none);
  ExprResult parse_tuple_of(bool primaries, bool with_namespace, bool with_conditional,
                            bool parenthesized, TupleEnd end);
  ExprResult parse_subscript(const Expr* node);
  ExprResult parse_subscript_part(const Expr* node, bool& is_slice);
  ExprResult parse_call(const Expr* node);
  Eval<const CallArguments*> parse_arguments();
  Done parse_argument(CallArguments& call, std::vector<const Expr*>& positional,
                      std::vector<KeywordArgument>& named, std::uint32_t line);
  ExprResult parse_filter(const Expr* node, bool inline_start = false);
  ExprResult parse_test(const Expr* node);
  Eval<std::string_view> parse_dotted_name();
  bool at_tuple_end(TupleEnd end) const;
  bool next_begins_test_argument() const;

  // Nodes.
  NameId intern(std::string_view name);
  ExprResult finish(Expr expr);
  const Stmt* make(Stmt stmt) { return arena_.make<Stmt>(stmt); }
  template <class T>
  std::span<const T> keep(const std::vector<T>& items) {
    return arena_.copy(std::span<const T>(items));
  }
  void use(NameId id);
  /// Jinja2 looks a filter or test up when it compiles, except in the branches of an if (statement
  /// or expression), where it fails when it is reached.
  Done check_known(std::size_t since);

  Done enter(std::uint32_t line);
  /// Leaves what enter() entered since, however the function returns.
  class Nested {
   public:
    explicit Nested(Parser& parser) : parser_(parser), depth_(parser.depth_) {}
    ~Nested() { parser_.depth_ = depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Parser& parser_;
    std::size_t depth_;
  };

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  Arena& arena_;
  std::string_view where_;
  std::size_t max_depth_;
  std::size_t depth_ = 0;
  int loops_ = 0;                 ///< for-bodies around this place, within the same macro
  int for_nesting_ = 0;           ///< for-statements around
  std::vector<Failure> unknown_;  ///< filters and tests that do not exist, not yet excused
  std::vector<std::string_view> names_;
  std::unordered_map<std::string_view, NameId> ids_;

  /// What a macro's body reads without setting it first: caller, varargs, kwargs.
  struct Uses {
    bool caller = false, varargs = false, kwargs = false;
  };
  std::vector<Uses> uses_;
};

}  // namespace tern::text::jinja
