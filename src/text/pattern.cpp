#include "text/pattern.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/check.h"
#include "text/pattern_syntax.h"
#include "text/utf8.h"

namespace tern::text {
namespace {

constexpr std::size_t kMaxSteps = 8192;  ///< of one program
constexpr std::size_t kMaxSlots = 256;   ///< remembered branches: 32 bytes for each character

enum class Op : std::uint8_t {
  set,    ///< consume one character of a set
  loop,   ///< consume as many characters of a set as possible, give back one by one
  split,  ///< try `next`, then `other`
  jump,
  look,
  match,
};

struct Step {
  Op op = Op::match;
  bool cyclic = false;      ///< a split that heads a loop
  std::uint32_t index = 0;  ///< of a set or a look
  std::uint32_t next = 0, other = 0;
  std::uint32_t slot = 0;  ///< of splits and loops: the bit that remembers failure
};

/// Rows of bits.
class BitTable {
 public:
  BitTable() = default;
  BitTable(std::size_t rows, std::size_t columns)
      : words_((columns + 63) / 64), bits_(rows * words_) {}
  bool get(std::size_t row, std::size_t column) const {
    return (bits_[row * words_ + column / 64] >> (column % 64) & 1) != 0;
  }
  void set(std::size_t row, std::size_t column) {
    bits_[row * words_ + column / 64] |= std::uint64_t{1} << (column % 64);
  }
  /// Adds a row of another table of the same width; whether that changed anything.
  bool merge(std::size_t row, const BitTable& from, std::size_t from_row) {
    bool changed = false;
    for (std::size_t word = 0; word < words_; ++word) {
      const std::uint64_t before = bits_[row * words_ + word];
      bits_[row * words_ + word] |= from.bits_[from_row * words_ + word];
      changed = changed || bits_[row * words_ + word] != before;
    }
    return changed;
  }
  void fill(std::size_t row) {
    for (std::size_t word = 0; word < words_; ++word) bits_[row * words_ + word] = ~std::uint64_t{};
  }

 private:
  std::size_t words_ = 0;
  std::vector<std::uint64_t> bits_;
};

}  // namespace

struct Pattern::Program {
  std::vector<Step> steps;
  std::vector<PatternLook> looks;
  BitTable members;  ///< [sets][symbols]
  BitTable first;    ///< [steps][symbols]: symbols that the step can go on with
  std::size_t row_bytes = 1;
  std::uint16_t end_symbol = 0;

  // The symbol of a code point: two-level, pages of 256.
  std::vector<std::uint32_t> pages;
  std::vector<std::uint16_t> symbols;
  std::uint16_t symbol(char32_t code) const { return symbols[pages[code >> 8] + (code & 0xFF)]; }
};

namespace {

/// Code points that no set tells apart share a symbol.
class Alphabet {
 public:
  explicit Alphabet(const std::vector<CodeSet>& sets) : starts_{0} {
    for (const CodeSet& set : sets)
      for (const auto& [first, last] : set.ranges()) {
        starts_.push_back(first);
        if (last + 1 < kCodePoints) starts_.push_back(last + 1);
      }
    std::ranges::sort(starts_);
    starts_.erase(std::ranges::unique(starts_).begin(), starts_.end());
    ids_.assign(starts_.size(), 0);
    for (const CodeSet& set : sets) refine(set);
    compact();
  }

  std::size_t size() const { return count_; }

  void fill(Pattern::Program& program, const std::vector<CodeSet>& sets) const {
    program.members = BitTable(sets.size(), count_ + 1);
    for (std::size_t set = 0; set < sets.size(); ++set)
      for_intervals(sets[set], [&](std::size_t i) { program.members.set(set, ids_[i]); });

    std::map<std::uint32_t, std::uint32_t> uniform;  // offsets of pages of one symbol
    std::size_t interval = 0;
    for (char32_t page = 0; page < kCodePoints; page += 256) {
      const auto fresh = static_cast<std::uint32_t>(program.symbols.size());
      const auto advance = [&](char32_t code) {
        while (interval + 1 < starts_.size() && starts_[interval + 1] <= code) ++interval;
        return static_cast<std::uint16_t>(ids_[interval]);
      };
      const std::uint16_t first = advance(page);
      const bool one = interval + 1 == starts_.size() || starts_[interval + 1] >= page + 256;
      program.pages.push_back(one ? uniform.try_emplace(first, fresh).first->second : fresh);
      if (program.pages.back() != fresh) continue;
      for (char32_t code = page; code < page + 256; ++code)
        program.symbols.push_back(advance(code));
    }
  }

 private:
  template <class Use>
  void for_intervals(const CodeSet& set, Use use) const {
    for (const auto& [first, last] : set.ranges()) {
      auto i = static_cast<std::size_t>(std::ranges::lower_bound(starts_, first) - starts_.begin());
      for (; i < starts_.size() && starts_[i] <= last; ++i) use(i);
    }
  }

  void refine(const CodeSet& set) {
    std::map<std::uint32_t, std::uint32_t> inside;
    for_intervals(set, [&](std::size_t i) {
      const auto [place, fresh] = inside.try_emplace(ids_[i], next_);
      if (fresh) ++next_;
      ids_[i] = place->second;
    });
  }

  void compact() {
    std::map<std::uint32_t, std::uint32_t> dense;
    for (std::uint32_t& id : ids_)
      id = dense.try_emplace(id, static_cast<std::uint32_t>(dense.size())).first->second;
    count_ = dense.size();
  }

  std::vector<char32_t> starts_;    ///< of intervals that no set cuts
  std::vector<std::uint32_t> ids_;  ///< the symbol of each interval
  std::uint32_t next_ = 1;
  std::size_t count_ = 0;
};

/// Tree to steps, from the back: every node is built with the step that follows it.
class Compiler {
 public:
  explicit Compiler(const PatternTree& tree) : tree_(tree) {}

  /// Nothing when the program is over its limits.
  std::optional<std::vector<Step>> compile(std::uint32_t& start) {
    const std::uint32_t match = emit({});
    start = node(tree_.root, match);
    if (full() || slots_ > kMaxSlots) return std::nullopt;
    return std::move(steps_);
  }
  std::size_t slots() const { return slots_; }

 private:
  std::uint32_t emit(const Step& step) {
    // Past the limit the program is thrown away; it only has to stay finite until then.
    if (steps_.size() <= kMaxSteps) steps_.push_back(step);
    return static_cast<std::uint32_t>(steps_.size() - 1);
  }
  bool full() const { return steps_.size() > kMaxSteps || visits_ > 4 * kMaxSteps; }
  std::uint32_t slot() { return static_cast<std::uint32_t>(slots_++); }

  std::uint32_t split(std::uint32_t first, std::uint32_t second, bool cyclic = false) {
    return emit(
        {.op = Op::split, .cyclic = cyclic, .next = first, .other = second, .slot = slot()});
  }

  // The depth of the recursion is the depth of the tree, which the parser limits.
  std::uint32_t node(std::uint32_t index, std::uint32_t next) {
    ++visits_;  // (?:){1000}{1000} visits often and emits nothing
    if (full()) return next;
    const PatternNode& n = tree_.nodes[index];
    switch (n.kind) {
      case PatternNode::Kind::empty:
        return next;
      case PatternNode::Kind::set:
        return emit({.op = Op::set, .index = n.index, .next = next});
      case PatternNode::Kind::look:
        return emit({.op = Op::look, .index = n.index, .next = next});
      case PatternNode::Kind::sequence: {
        std::uint32_t step = next;
        for (std::size_t i = n.children.size(); i-- > 0;) step = node(n.children[i], step);
        return step;
      }
      case PatternNode::Kind::choice: {
        std::uint32_t step = node(n.children.back(), next);
        for (std::size_t i = n.children.size() - 1; i-- > 0;)
          step = split(node(n.children[i], next), step);
        return step;
      }
      case PatternNode::Kind::repeat:
        return repeat(n, next);
    }
    return next;
  }

  std::uint32_t repeat(const PatternNode& n, std::uint32_t next) {
    const std::uint32_t child = n.children.front();
    std::uint32_t step = next;
    if (n.max == kUnbounded) {
      step = star(child, n.lazy, next);
    } else {
      for (std::uint32_t i = n.min; i < n.max && !full(); ++i) {
        const std::uint32_t more = node(child, step);
        step = n.lazy ? split(next, more) : split(more, next);
      }
    }
    for (std::uint32_t i = 0; i < n.min && !full(); ++i) step = node(child, step);
    return step;
  }

  std::uint32_t star(std::uint32_t child, bool lazy, std::uint32_t next) {
    const PatternNode& body = tree_.nodes[child];
    if (body.kind == PatternNode::Kind::set && !lazy)
      return emit({.op = Op::loop, .index = body.index, .next = next, .slot = slot()});
    const std::uint32_t head = split(next, next, true);
    const std::uint32_t again = node(child, head);
    if (full()) return head;
    (lazy ? steps_[head].other : steps_[head].next) = again;
    return head;
  }

  const PatternTree& tree_;
  std::vector<Step> steps_;
  std::size_t slots_ = 0, visits_ = 0;
};

/// first[step] = the symbols with which the step can still lead to a match (never too few).
void find_first_symbols(Pattern::Program& program) {
  program.first = BitTable(program.steps.size(), program.end_symbol + std::size_t{1});
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t i = 0; i < program.steps.size(); ++i) {
      const Step& step = program.steps[i];
      if (step.op == Op::match) program.first.fill(i);
      if (step.op == Op::set || step.op == Op::loop)
        changed |= program.first.merge(i, program.members, step.index);
      if (step.op != Op::match && step.op != Op::set)
        changed |= program.first.merge(i, program.first, step.next);
      if (step.op == Op::split) changed |= program.first.merge(i, program.first, step.other);
    }
  }
}

}  // namespace

Result<Pattern> Pattern::compile(std::string_view expression, std::string_view where) {
  TERN_TRY(PatternTree tree, parse_pattern(expression, where));
  auto program = std::make_shared<Program>();
  Compiler compiler(tree);
  std::uint32_t start = 0;
  auto steps = compiler.compile(start);
  const Alphabet alphabet(tree.sets);
  if (!steps || alphabet.size() >= UINT16_MAX)
    return fail(ErrorCode::too_large, "pre-tokenizer expression: too complex", std::string(where),
                "at most " + std::to_string(kMaxSteps) + " steps and " + std::to_string(kMaxSlots) +
                    " branches are matched");
  program->steps = *std::move(steps);
  program->steps.push_back({.op = Op::jump, .next = start});  // the last step is the entry
  program->looks = std::move(tree.looks);
  program->row_bytes = std::max<std::size_t>(1, (compiler.slots() + 7) / 8);
  program->end_symbol = static_cast<std::uint16_t>(alphabet.size());
  alphabet.fill(*program, tree.sets);
  find_first_symbols(*program);
  return Pattern(std::move(program));
}

PatternSearch::PatternSearch(const Pattern& pattern, std::string_view text)
    : program_(&pattern.program()), text_(text) {
  symbols_.reserve(text.size() + 1);
  for (std::string_view rest = text; !rest.empty();) {
    const Utf8Step step = utf8_step(rest);
    symbols_.push_back(program_->symbol(step.code));
    rest.remove_prefix(step.bytes);
  }
  symbols_.push_back(program_->end_symbol);
  failed_.resize(symbols_.size() * program_->row_bytes);
}

bool PatternSearch::failed_before(std::uint32_t slot, std::size_t position) const {
  return (failed_[position * program_->row_bytes + slot / 8] >> (slot % 8) & 1) != 0;
}

void PatternSearch::remember(std::uint32_t slot, std::size_t position) {
  auto& bits = failed_[position * program_->row_bytes + slot / 8];
  bits = static_cast<std::uint8_t>(bits | 1u << (slot % 8));
}

bool PatternSearch::look(std::uint32_t index, std::size_t position) const {
  const PatternLook& look = program_->looks[index];
  const auto holds = [&](const std::vector<std::uint32_t>& sets) {
    if (!look.ahead && position < sets.size()) return false;
    std::size_t at = look.ahead ? position : position - sets.size();
    for (const std::uint32_t set : sets)  // the end symbol is in no set and stops the walk
      if (!program_->members.get(set, symbols_[at++])) return false;
    return true;
  };
  return std::ranges::any_of(look.alternatives, holds) != look.negative;
}

/// Takes up the latest open choice; false when there is none left.
bool PatternSearch::backtrack(std::uint32_t& step, std::size_t& position) {
  while (!stack_.empty()) {
    Frame& frame = stack_.back();
    step = frame.resume;
    position = frame.position;
    if (frame.loop == kNoLoop) {
      stack_.pop_back();
      return true;
    }
    // A loop gives one character back. Leaving it at `position` has failed, so entering it there
    // would fail too: whatever lies beyond has been tried.
    remember(frame.loop, position);
    while (position > frame.lowest) {
      frame.position = --position;
      if (program_->first.get(step, symbols_[position])) return true;
      remember(frame.loop, position);
    }
    stack_.pop_back();
  }
  return false;
}

std::optional<std::size_t> PatternSearch::match_at(std::size_t start) {
  const Pattern::Program& program = *program_;
  stack_.clear();
  auto step = static_cast<std::uint32_t>(program.steps.size() - 1);
  std::size_t position = start;
  for (;;) {
    const Step& now = program.steps[step];
    bool failed = false;
    switch (now.op) {
      case Op::match:
        // States on the way to this match are marked as tried but have not failed; those at its
        // end are the only ones that a later match can meet.
        std::fill_n(failed_.begin() + static_cast<std::ptrdiff_t>(position * program.row_bytes),
                    program.row_bytes, std::uint8_t{0});
        return position;
      case Op::jump:
        step = now.next;
        break;
      case Op::look:
        failed = !look(now.index, position);
        step = now.next;
        break;
      case Op::set:
        failed = !program.members.get(now.index, symbols_[position]);
        ++position;
        step = now.next;
        break;
      case Op::split: {
        const bool first = program.first.get(now.next, symbols_[position]);
        const bool second = program.first.get(now.other, symbols_[position]);
        failed = (!first && !second) || failed_before(now.slot, position);
        if (failed) break;
        if (now.cyclic || (first && second)) remember(now.slot, position);
        if (first && second) stack_.push_back({now.other, kNoLoop, position, position});
        step = first ? now.next : now.other;
        break;
      }
      case Op::loop: {
        failed = failed_before(now.slot, position);
        if (failed) break;
        const std::size_t lowest = position;
        while (program.members.get(now.index, symbols_[position]) &&
               !failed_before(now.slot, position + 1))
          ++position;
        if (position > lowest) stack_.push_back({now.next, now.slot, position, lowest});
        step = now.next;
        break;
      }
    }
    if (failed && !backtrack(step, position)) return std::nullopt;
  }
}

void PatternSearch::advance_to(std::size_t position) {
  for (; at_ < position; ++at_) at_byte_ += utf8_step(text_.substr(at_byte_)).bytes;
}

std::optional<PatternMatch> PatternSearch::next() {
  for (std::size_t start = at_; start < symbols_.size(); ++start) {
    const auto end = match_at(start);
    if (!end || (*end == start && last_end_ == start)) continue;
    advance_to(start);
    PatternMatch match{at_byte_, 0};
    advance_to(*end);
    match.end = at_byte_;
    last_end_ = *end;
    return match;
  }
  at_ = symbols_.size();
  return std::nullopt;
}

}  // namespace tern::text
