// The parsed template. Nodes live in the program's arena and never change.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "text/jinja_number.h"
#include "text/jinja_value.h"

namespace tern::text::jinja {

/// Names of variables, numbered once for the whole template.
using NameId = std::uint32_t;

/// Names with a meaning, in the order in which the parser numbers them first.
enum : NameId { kLoopId, kCallerId, kVarargsId, kKwargsId };

enum class ExprKind : std::uint8_t {
  constant,          ///< constant
  name,              ///< id, text
  tuple,             ///< items
  list,              ///< items
  dict,              ///< items: key, value, key, value, ...
  negate,            ///< left
  plus,              ///< left
  not_,              ///< left
  binary,            ///< left, right, op
  and_,              ///< left, right
  or_,               ///< left, right
  concat,            ///< items
  compare,           ///< left, then `comparisons` with items
  conditional,       ///< left if condition else right (null: undefined)
  attribute,         ///< left, text
  item,              ///< left, right
  slice,             ///< left, items: start, stop, step (null when left out)
  call,              ///< left, call
  filter,            ///< left (null: the body of a block), text, native, call
  test,              ///< left, text, native, call
  namespace_target,  ///< id, text: `ns.attribute` on the left of a set
};

enum class Comparison : std::uint8_t { eq, ne, lt, le, gt, ge, in, not_in };

struct Expr;

struct KeywordArgument {
  std::string_view name;
  const Expr* value = nullptr;
};

struct CallArguments {
  std::span<const Expr* const> positional = {};
  std::span<const KeywordArgument> named = {};
  const Expr* star = nullptr;         ///< *args
  const Expr* double_star = nullptr;  ///< **kwargs
};

struct Expr {
  ExprKind kind = ExprKind::constant;
  Operator op = Operator::add;
  std::uint16_t height = 1;  ///< levels of nesting below and including this one
  std::uint32_t line = 0;
  NameId id = 0;
  Value constant = {};
  std::string_view text = {};
  const Expr* left = nullptr;
  const Expr* right = nullptr;
  const Expr* condition = nullptr;
  std::span<const Expr* const> items = {};
  std::span<const Comparison> comparisons = {};
  const Native* native = nullptr;
  const CallArguments* call = nullptr;
};

enum class StmtKind : std::uint8_t {
  data,        ///< text
  output,      ///< items
  if_,         ///< branches, otherwise
  for_,        ///< target, value, condition (filter), body, otherwise, recursive
  set,         ///< target, value
  set_block,   ///< target, value (filters around the body, or null), body
  macro,       ///< macro
  call_block,  ///< macro (the caller), value (the call)
  filter,      ///< value, body
  with,        ///< items: target, value, ...; body
  scope,       ///< body in a scope of its own (generation)
  break_,
  continue_,
};

struct Stmt;
using Block = std::span<const Stmt* const>;

struct Branch {
  const Expr* condition = nullptr;
  Block body = {};
};

struct Parameter {
  NameId id = 0;
  std::string_view name;
  const Expr* fallback = nullptr;
};

struct MacroNode {
  std::string_view name;
  NameId id = 0;
  std::span<const Parameter> parameters = {};
  Block body = {};
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

struct Stmt {
  StmtKind kind = StmtKind::data;
  bool recursive = false;
  std::uint32_t line = 0;
  std::string_view text = {};
  const Expr* target = nullptr;
  const Expr* value = nullptr;
  const Expr* condition = nullptr;
  std::span<const Expr* const> items = {};
  std::span<const Branch> branches = {};
  Block body = {};
  Block otherwise = {};
  const MacroNode* macro = nullptr;
};

}  // namespace tern::text::jinja
