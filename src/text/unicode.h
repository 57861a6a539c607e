// Unicode general categories and sets of code points, as Hugging Face tokenizers see them.
//
// Source: UnicodeData.txt of Unicode 16.0, the version of the Oniguruma inside tokenizers 0.23.
// utf8proc 2.8 has Unicode 15.0; what 15.1 and 16.0 added is a table here.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace tern::text {

/// In the order of utf8proc_category_t.
// clang-format off
enum class Category : std::uint8_t {
  Cn, Lu, Ll, Lt, Lm, Lo, Mn, Mc, Me, Nd, Nl, No, Pc, Pd, Ps, Pe, Pi, Pf, Po, Sm, Sc, Sk, So, Zs,
  Zl, Zp, Cc, Cf, Cs, Co,
};
// clang-format on

inline constexpr char32_t kCodePoints = 0x110000;

Category category(char32_t code);

/// White_Space, which is what \s means.
bool is_space(char32_t code);

/// A set of code points: sorted ranges that neither overlap nor touch.
class CodeSet {
 public:
  struct Range {
    char32_t first, last;
    bool operator==(const Range&) const = default;
  };

  CodeSet() = default;
  CodeSet(char32_t first, char32_t last);
  static CodeSet all() { return {0, kCodePoints - 1}; }
  static CodeSet of(std::initializer_list<Category> categories);
  static const CodeSet& space();
  static const CodeSet& digit();
  /// \w of Oniguruma: Alphabetic, marks, decimal digits, connectors, and six Latin-1 numbers.
  static const CodeSet& word();
  /// \p{name}: a general category ("Lu") or group of them ("L"), or one of a few long names.
  static std::optional<CodeSet> property(std::string_view name);

  void add(char32_t first, char32_t last);
  void add(const CodeSet& other);
  CodeSet inverse() const;
  CodeSet intersection(const CodeSet& other) const;
  /// With every code point that differs from a member only in case (simple case folding).
  CodeSet case_closed() const;

  bool contains(char32_t code) const;
  bool empty() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }
  bool operator==(const CodeSet&) const = default;

 private:
  void normalize();
  std::vector<Range> ranges_;
};

}  // namespace tern::text
