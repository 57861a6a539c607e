#include "text/pattern_syntax.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "text/utf8.h"

namespace tern::text {
namespace {

using Kind = PatternNode::Kind;

class Parser {
 public:
  Parser(std::string_view expression, std::string_view where) : text_(expression), where_(where) {}

  Result<PatternTree> parse() {
    if (text_.size() > kMaxExpression)
      return error(ErrorCode::too_large, "expression of " + std::to_string(text_.size()) +
                                             " bytes, at most " + std::to_string(kMaxExpression));
    TERN_TRY(tree_.root, choice(0, false));
    if (at_ != text_.size()) return error(ErrorCode::corrupt, "')' without '('");
    return std::move(tree_);
  }

 private:
  bool more() const { return at_ < text_.size(); }
  bool eat(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  std::unexpected<Error> error(ErrorCode code, std::string what) const {
    return fail(code, "pre-tokenizer expression: " + std::move(what),
                std::string(where_) + ", byte " + std::to_string(at_) + " of the expression");
  }
  Result<char32_t> character() {
    if (!more()) return error(ErrorCode::corrupt, "it ends too early");
    const Utf8Step step = utf8_step(text_.substr(at_));
    if (!step.valid) return error(ErrorCode::corrupt, "not UTF-8");
    at_ += step.bytes;
    return step.code;
  }

  std::uint32_t node(PatternNode value) {
    tree_.nodes.push_back(std::move(value));
    return static_cast<std::uint32_t>(tree_.nodes.size() - 1);
  }
  std::uint32_t set(CodeSet value) {
    const auto known = std::ranges::find(tree_.sets, value);
    const auto index = static_cast<std::uint32_t>(known - tree_.sets.begin());
    if (known == tree_.sets.end()) tree_.sets.push_back(std::move(value));
    return index;
  }
  std::uint32_t set_node(CodeSet value, bool fold) {
    return node({.kind = Kind::set, .index = set(fold ? value.case_closed() : std::move(value))});
  }
  std::uint32_t look_node(bool ahead, bool negative, CodeSet value) {
    tree_.looks.push_back({ahead, negative, {{set(std::move(value))}}});
    return node({.kind = Kind::look, .index = static_cast<std::uint32_t>(tree_.looks.size() - 1)});
  }

  Result<std::uint32_t> choice(std::size_t depth, bool fold);
  Result<std::uint32_t> sequence(std::size_t depth, bool fold);
  Result<std::uint32_t> atom(std::size_t depth, bool fold);
  Result<std::uint32_t> group(std::size_t depth, bool fold);
  Result<std::uint32_t> look(std::size_t depth, bool fold, bool ahead, bool negative);
  Result<std::uint32_t> anchor(char32_t kind);
  Result<std::uint32_t> quantified(std::uint32_t atom_node);
  bool braces(std::uint32_t& min, std::uint32_t& max);
  std::uint32_t possessive(std::uint32_t repeat, std::uint32_t set_index);
  Result<std::vector<std::uint32_t>> fixed_sequence(std::uint32_t index) const;

  Result<CodeSet> bracket(std::size_t depth, bool fold);
  Result<std::optional<CodeSet>> class_escape();
  Result<CodeSet> property(bool negative);
  Result<char32_t> character_escape();
  Result<char32_t> hex(std::size_t min_digits, std::size_t max_digits);

  std::string_view text_, where_;
  std::size_t at_ = 0;
  PatternTree tree_;
  std::map<std::string, CodeSet, std::less<>> properties_;
};

Result<std::uint32_t> Parser::choice(std::size_t depth, bool fold) {
  if (depth > kMaxPatternDepth) return error(ErrorCode::too_large, "groups nest too deeply");
  std::vector<std::uint32_t> branches;
  do {
    TERN_TRY(const auto branch, sequence(depth, fold));
    branches.push_back(branch);
  } while (eat("|"));
  if (branches.size() == 1) return branches.front();
  return node({.kind = Kind::choice, .children = std::move(branches)});
}

Result<std::uint32_t> Parser::sequence(std::size_t depth, bool fold) {
  std::vector<std::uint32_t> parts;
  while (more() && text_[at_] != '|' && text_[at_] != ')') {
    if (eat("(?i)")) {  // reaches to the end of the group, alternatives included
      TERN_TRY(const auto rest, choice(depth + 1, true));
      parts.push_back(rest);
      break;
    }
    TERN_TRY(const auto first, atom(depth, fold));
    TERN_TRY(const auto part, quantified(first));
    parts.push_back(part);
  }
  if (parts.size() == 1) return parts.front();
  return node({.kind = parts.empty() ? Kind::empty : Kind::sequence, .children = std::move(parts)});
}

Result<std::uint32_t> Parser::atom(std::size_t depth, bool fold) {
  if (eat("(")) return group(depth + 1, fold);
  if (eat("[")) {
    TERN_TRY(auto members, bracket(depth + 1, fold));
    return set_node(std::move(members), false);
  }
  if (eat(".")) return set_node(CodeSet('\n', '\n').inverse(), false);
  if (eat("^")) return anchor('^');
  if (eat("$")) return anchor('$');
  if (text_[at_] == '*' || text_[at_] == '+' || text_[at_] == '?')
    return error(ErrorCode::corrupt, "nothing to repeat");
  if (eat("\\")) {
    if (eat("A")) return anchor('A');
    if (eat("z")) return anchor('z');
    TERN_TRY(auto members, class_escape());
    if (members) return set_node(*std::move(members), false);  // as Oniguruma: only in brackets
    TERN_TRY(const char32_t code, character_escape());
    return set_node(CodeSet(code, code), fold);
  }
  TERN_TRY(const char32_t code, character());
  return set_node(CodeSet(code, code), fold);
}

Result<std::uint32_t> Parser::group(std::size_t depth, bool fold) {
  const auto rest = [&](bool inner_fold) -> Result<std::uint32_t> {
    TERN_TRY(const auto inner, choice(depth, inner_fold));
    if (!eat(")")) return error(ErrorCode::corrupt, "'(' without ')'");
    return inner;
  };
  if (!eat("?")) return rest(fold);
  if (eat(":")) return rest(fold);
  if (eat("i:")) return rest(true);
  if (eat("-i:")) return rest(false);
  if (eat("=")) return look(depth, fold, true, false);
  if (eat("!")) return look(depth, fold, true, true);
  if (eat("<=")) return look(depth, fold, false, false);
  if (eat("<!")) return look(depth, fold, false, true);
  return error(ErrorCode::unsupported, "group (?" + std::string(text_.substr(at_, 2)) +
                                           "...; known are (?: (?i: (?-i: "
                                           "(?= (?! (?<= (?<!");
}

/// The sets of a node that is one character after another; an error for anything else.
Result<std::vector<std::uint32_t>> Parser::fixed_sequence(std::uint32_t index) const {
  const PatternNode& top = tree_.nodes[index];
  if (top.kind == Kind::set) return std::vector{top.index};
  std::vector<std::uint32_t> sets;
  bool fixed = top.kind == Kind::sequence;
  for (const std::uint32_t child : top.children) {
    fixed = fixed && tree_.nodes[child].kind == Kind::set;
    if (fixed) sets.push_back(tree_.nodes[child].index);
  }
  if (!fixed)
    return error(ErrorCode::unsupported,
                 "a look must be at single characters or fixed sequences of them");
  return sets;
}

Result<std::uint32_t> Parser::look(std::size_t depth, bool fold, bool ahead, bool negative) {
  TERN_TRY(const auto body, choice(depth, fold));
  if (!eat(")")) return error(ErrorCode::corrupt, "'(' without ')'");
  PatternLook result{ahead, negative, {}};
  std::vector<std::uint32_t> branches{body};
  if (tree_.nodes[body].kind == Kind::choice) branches = tree_.nodes[body].children;
  for (const std::uint32_t branch : branches) {
    TERN_TRY(auto sets, fixed_sequence(branch));
    result.alternatives.push_back(std::move(sets));
  }
  tree_.looks.push_back(std::move(result));
  return node({.kind = Kind::look, .index = static_cast<std::uint32_t>(tree_.looks.size() - 1)});
}

/// Anchors are looks: \A is "nothing before", ^ is \A or "a newline before and something after".
Result<std::uint32_t> Parser::anchor(char32_t kind) {
  const CodeSet newline('\n', '\n');
  if (kind == '$') return look_node(true, true, newline.inverse());
  if (kind == 'z') return look_node(true, true, CodeSet::all());
  const auto start = look_node(false, true, CodeSet::all());
  if (kind == 'A') return start;
  const auto after_newline = look_node(false, false, newline);
  const auto not_at_end = look_node(true, false, CodeSet::all());
  const auto inner = node({.kind = Kind::sequence, .children = {after_newline, not_at_end}});
  return node({.kind = Kind::choice, .children = {start, inner}});
}

/// {n}, {n,}, {,m}, {n,m}; anything else leaves the brace to be a literal.
bool Parser::braces(std::uint32_t& min, std::uint32_t& max) {
  const std::size_t close = text_.find('}', at_);
  if (close == std::string_view::npos) return false;
  const std::string_view body = text_.substr(at_ + 1, close - at_ - 1);
  const std::size_t comma = body.find(',');
  const auto number = [](std::string_view digits) -> std::optional<std::uint32_t> {
    if (digits.empty() || digits.size() > 6) return std::nullopt;
    std::uint32_t value = 0;
    for (const char digit : digits) {
      if (digit < '0' || digit > '9') return std::nullopt;
      value = value * 10 + static_cast<std::uint32_t>(digit - '0');
    }
    return value;
  };
  const auto low = number(body.substr(0, comma));
  const std::string_view high_text =
      comma == std::string_view::npos ? body : body.substr(comma + 1);
  const auto high = number(high_text);
  if (!low && !(comma == 0 && high)) return false;
  if (!high && !high_text.empty()) return false;
  min = low.value_or(0);
  max = high.value_or(kUnbounded);
  at_ = close + 1;
  return true;
}

/// X++ is X+(?!X) for one character class X: giving any X back would leave an X behind.
std::uint32_t Parser::possessive(std::uint32_t repeat, std::uint32_t set_index) {
  tree_.looks.push_back({true, true, {{set_index}}});
  const auto end =
      node({.kind = Kind::look, .index = static_cast<std::uint32_t>(tree_.looks.size() - 1)});
  if (tree_.nodes[repeat].max == kUnbounded)
    return node({.kind = Kind::sequence, .children = {repeat, end}});
  const std::uint32_t one = tree_.nodes[repeat].children.front();  // X?+ is X|(?!X)
  return node({.kind = Kind::choice, .children = {one, end}});
}

Result<std::uint32_t> Parser::quantified(std::uint32_t atom_node) {
  for (std::size_t count = 0; more(); ++count) {
    std::uint32_t min = 0;
    std::uint32_t max = kUnbounded;
    bool counted = false;
    if (eat("?")) {
      max = 1;
    } else if (eat("+")) {
      min = 1;
    } else if (!eat("*")) {
      counted = text_[at_] == '{' && braces(min, max);
      if (!counted) break;
    }
    if (count > 4) return error(ErrorCode::too_large, "quantifiers of quantifiers");
    if (min > kMaxRepeat || (max != kUnbounded && max > kMaxRepeat))
      return error(ErrorCode::too_large, "a repeat of more than " + std::to_string(kMaxRepeat));
    if (max < min) return error(ErrorCode::unsupported, "a repeat {n,m} with n > m");
    const bool lazy = eat("?");
    if (lazy && counted && min == max) return error(ErrorCode::unsupported, "the quantifier {n}?");
    const auto repeat =
        node({.kind = Kind::repeat, .children = {atom_node}, .min = min, .max = max, .lazy = lazy});
    if (lazy || counted || !eat("+")) {  // {n,m}+ repeats the repeat, as in Ruby
      atom_node = repeat;
      continue;
    }
    if (tree_.nodes[atom_node].kind != Kind::set)
      return error(ErrorCode::unsupported, "a possessive quantifier on more than one character");
    atom_node = possessive(repeat, tree_.nodes[atom_node].index);
  }
  return atom_node;
}

/// After "[": the members up to "]". Negation covers the whole intersection a&&b.
Result<CodeSet> Parser::bracket(std::size_t depth, bool fold) {
  if (depth > kMaxPatternDepth) return error(ErrorCode::too_large, "classes nest too deeply");
  if (text_.substr(at_).starts_with(":") && text_.find(":]", at_) != std::string_view::npos)
    return error(ErrorCode::unsupported, "a POSIX class [:...:]");
  const bool negative = eat("^");
  std::optional<CodeSet> product;
  CodeSet members;
  bool first = true;
  for (;; first = false) {
    if (!more()) return error(ErrorCode::corrupt, "'[' without ']'");
    if (!first && eat("]")) break;
    if (eat("&&")) {
      product = product ? product->intersection(members) : std::move(members);
      members = {};
      continue;
    }
    if (eat("[")) {
      TERN_TRY(const auto nested, bracket(depth + 1, fold));
      members.add(nested);
      continue;
    }
    char32_t low = 0;
    if (eat("\\")) {
      TERN_TRY(const auto escaped, class_escape());
      if (escaped) {
        members.add(*escaped);
        continue;
      }
      TERN_TRY(low, character_escape());
    } else {
      TERN_TRY(low, character());
    }
    const bool range = text_.substr(at_).starts_with("-") && !text_.substr(at_).starts_with("-]") &&
                       !text_.substr(at_).starts_with("-[") && eat("-");
    char32_t high = low;
    if (range && eat("\\")) {
      TERN_TRY(const auto escaped, class_escape());
      if (escaped) return error(ErrorCode::corrupt, "a class at the end of a range");
      TERN_TRY(high, character_escape());
    } else if (range) {
      TERN_TRY(high, character());
    }
    if (high < low) return error(ErrorCode::corrupt, "an empty range in a class");
    members.add(low, high);
  }
  if (product) members = product->intersection(members);
  if (fold) members = members.case_closed();
  return negative ? members.inverse() : members;
}

/// After "\": a set, or nothing when it is the escape of one character.
Result<std::optional<CodeSet>> Parser::class_escape() {
  if (eat("s")) return CodeSet::space();
  if (eat("S")) return CodeSet::space().inverse();
  if (eat("d")) return CodeSet::digit();
  if (eat("D")) return CodeSet::digit().inverse();
  if (eat("w")) return CodeSet::word();
  if (eat("W")) return CodeSet::word().inverse();
  if (eat("p{")) return property(false);
  if (eat("P{")) return property(true);
  return std::optional<CodeSet>();
}

Result<CodeSet> Parser::property(bool negative) {
  const std::size_t close = text_.find('}', at_);
  if (close == std::string_view::npos) return error(ErrorCode::corrupt, "\\p{ without }");
  std::string_view name = text_.substr(at_, close - at_);
  if (name.starts_with('^')) {
    negative = !negative;
    name.remove_prefix(1);
  }
  auto known = properties_.find(name);
  if (known == properties_.end()) {
    auto members = CodeSet::property(name);
    if (!members)
      return error(ErrorCode::unsupported, "property \\p{" + std::string(name.substr(0, 40)) +
                                               "}; general categories are known");
    known = properties_.emplace(std::string(name), *std::move(members)).first;
  }
  at_ = close + 1;
  return negative ? known->second.inverse() : known->second;
}

Result<char32_t> Parser::hex(std::size_t min_digits, std::size_t max_digits) {
  char32_t value = 0;
  std::size_t digits = 0;
  for (; digits < max_digits && more(); ++digits, ++at_) {
    const char c = text_[at_];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) break;
    value = value * 16 + static_cast<char32_t>(digit);
  }
  if (digits < min_digits || value >= kCodePoints)
    return error(ErrorCode::corrupt, "a hexadecimal escape that is no code point");
  return value;
}

/// After "\": one character. A letter or digit that means nothing here is refused, not guessed.
Result<char32_t> Parser::character_escape() {
  if (eat("x{")) {
    TERN_TRY(const char32_t code, hex(1, 6));
    if (!eat("}")) return error(ErrorCode::corrupt, "\\x{ without }");
    return code;
  }
  if (eat("x")) {
    TERN_TRY(const char32_t code, hex(1, 2));
    if (code > 0x7F) return error(ErrorCode::unsupported, "\\xHH above 7F, a byte of UTF-8");
    return code;
  }
  if (eat("u")) return hex(4, 4);
  TERN_TRY(const char32_t code, character());
  constexpr std::pair<char32_t, char32_t> kEscapes[] = {
      {'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'f', '\f'}, {'v', '\v'}, {'a', '\a'}, {'e', 0x1B}};
  for (const auto& [letter, value] : kEscapes)
    if (code == letter) return value;
  const bool meaningful =
      code < 0x80 && ((code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') ||
                      (code >= 'a' && code <= 'z'));
  if (meaningful)
    return error(ErrorCode::unsupported, std::string("escape \\") + static_cast<char>(code));
  return code;
}

}  // namespace

Result<PatternTree> parse_pattern(std::string_view expression, std::string_view where) {
  return Parser(expression, where).parse();
}

}  // namespace tern::text
