#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <span>

namespace tern::text {
namespace {

struct CategoryRange {
  char32_t first, last;
  Category category;
};

// What Unicode 15.1 and 16.0 changed against 15.0.
constexpr CategoryRange kUnicode16[] = {
    {0x897, 0x897, Category::Mn},     {0x1B4E, 0x1B4F, Category::Po},
    {0x1B7F, 0x1B7F, Category::Po},   {0x1C89, 0x1C89, Category::Lu},
    {0x1C8A, 0x1C8A, Category::Ll},   {0x2427, 0x2429, Category::So},
    {0x2FFC, 0x2FFF, Category::So},   {0x31E4, 0x31E5, Category::So},
    {0x31EF, 0x31EF, Category::So},   {0xA7CB, 0xA7CC, Category::Lu},
    {0xA7CD, 0xA7CD, Category::Ll},   {0xA7DA, 0xA7DA, Category::Lu},
    {0xA7DB, 0xA7DB, Category::Ll},   {0xA7DC, 0xA7DC, Category::Lu},
    {0x105C0, 0x105F3, Category::Lo}, {0x10D40, 0x10D49, Category::Nd},
    {0x10D4A, 0x10D4D, Category::Lo}, {0x10D4E, 0x10D4E, Category::Lm},
    {0x10D4F, 0x10D4F, Category::Lo}, {0x10D50, 0x10D65, Category::Lu},
    {0x10D69, 0x10D6D, Category::Mn}, {0x10D6E, 0x10D6E, Category::Pd},
    {0x10D6F, 0x10D6F, Category::Lm}, {0x10D70, 0x10D85, Category::Ll},
    {0x10D8E, 0x10D8F, Category::Sm}, {0x10EC2, 0x10EC4, Category::Lo},
    {0x10EFC, 0x10EFC, Category::Mn}, {0x11380, 0x11389, Category::Lo},
    {0x1138B, 0x1138B, Category::Lo}, {0x1138E, 0x1138E, Category::Lo},
    {0x11390, 0x113B5, Category::Lo}, {0x113B7, 0x113B7, Category::Lo},
    {0x113B8, 0x113BA, Category::Mc}, {0x113BB, 0x113C0, Category::Mn},
    {0x113C2, 0x113C2, Category::Mc}, {0x113C5, 0x113C5, Category::Mc},
    {0x113C7, 0x113CA, Category::Mc}, {0x113CC, 0x113CD, Category::Mc},
    {0x113CE, 0x113CE, Category::Mn}, {0x113CF, 0x113CF, Category::Mc},
    {0x113D0, 0x113D0, Category::Mn}, {0x113D1, 0x113D1, Category::Lo},
    {0x113D2, 0x113D2, Category::Mn}, {0x113D3, 0x113D3, Category::Lo},
    {0x113D4, 0x113D5, Category::Po}, {0x113D7, 0x113D8, Category::Po},
    {0x113E1, 0x113E2, Category::Mn}, {0x116D0, 0x116E3, Category::Nd},
    {0x1171E, 0x1171E, Category::Mc}, {0x11BC0, 0x11BE0, Category::Lo},
    {0x11BE1, 0x11BE1, Category::Po}, {0x11BF0, 0x11BF9, Category::Nd},
    {0x11F5A, 0x11F5A, Category::Mn}, {0x13460, 0x143FA, Category::Lo},
    {0x16100, 0x1611D, Category::Lo}, {0x1611E, 0x16129, Category::Mn},
    {0x1612A, 0x1612C, Category::Mc}, {0x1612D, 0x1612F, Category::Mn},
    {0x16130, 0x16139, Category::Nd}, {0x16D40, 0x16D42, Category::Lm},
    {0x16D43, 0x16D6A, Category::Lo}, {0x16D6B, 0x16D6C, Category::Lm},
    {0x16D6D, 0x16D6F, Category::Po}, {0x16D70, 0x16D79, Category::Nd},
    {0x18CFF, 0x18CFF, Category::Lo}, {0x1CC00, 0x1CCEF, Category::So},
    {0x1CCF0, 0x1CCF9, Category::Nd}, {0x1CD00, 0x1CEB3, Category::So},
    {0x1E5D0, 0x1E5ED, Category::Lo}, {0x1E5EE, 0x1E5EF, Category::Mn},
    {0x1E5F0, 0x1E5F0, Category::Lo}, {0x1E5F1, 0x1E5FA, Category::Nd},
    {0x1E5FF, 0x1E5FF, Category::Po}, {0x1F8B2, 0x1F8BB, Category::So},
    {0x1F8C0, 0x1F8C1, Category::So}, {0x1FA89, 0x1FA89, Category::So},
    {0x1FA8F, 0x1FA8F, Category::So}, {0x1FABE, 0x1FABE, Category::So},
    {0x1FAC6, 0x1FAC6, Category::So}, {0x1FADC, 0x1FADC, Category::So},
    {0x1FADF, 0x1FADF, Category::So}, {0x1FAE9, 0x1FAE9, Category::So},
    {0x1FBCB, 0x1FBEF, Category::So}, {0x2EBF0, 0x2EE5D, Category::Lo},
};

/// One byte for each code point: the lookup is on the path of every character.
const std::vector<Category>& categories() {
  static const std::vector<Category> table = [] {
    std::vector<Category> all(kCodePoints);
    for (char32_t code = 0; code < kCodePoints; ++code)
      all[code] = static_cast<Category>(utf8proc_category(static_cast<utf8proc_int32_t>(code)));
    for (const auto& [first, last, value] : kUnicode16)
      std::fill(all.begin() + first, all.begin() + last + 1, value);
    return all;
  }();
  return table;
}

/// Simple case folding by way of the upper case, so that three-way classes (K, k, kelvin) meet.
char32_t fold(char32_t code) {
  if (code == 0x130 || code == 0x131) return code;  // dotted and dotless i fold only in Turkish
  const auto value = static_cast<utf8proc_int32_t>(code);
  return static_cast<char32_t>(utf8proc_tolower(utf8proc_toupper(value)));
}

/// Code points by their fold, only where a class has more than one member.
const std::map<char32_t, std::vector<char32_t>>& fold_classes() {
  static const auto table = [] {
    std::map<char32_t, std::vector<char32_t>> classes;
    for (char32_t code = 0; code < kCodePoints; ++code)
      if (const char32_t folded = fold(code); folded != code) classes[folded].push_back(code);
    for (auto& [folded, members] : classes) members.push_back(folded);
    return classes;
  }();
  return table;
}

struct PropertyName {
  std::string_view name;
  std::initializer_list<Category> categories;
};

using enum Category;
const PropertyName kProperties[] = {
    {"L", {Lu, Ll, Lt, Lm, Lo}},
    {"LC", {Lu, Ll, Lt}},
    {"M", {Mn, Mc, Me}},
    {"N", {Nd, Nl, No}},
    {"P", {Pc, Pd, Ps, Pe, Pi, Pf, Po}},
    {"S", {Sm, Sc, Sk, So}},
    {"Z", {Zs, Zl, Zp}},
    {"C", {Cc, Cf, Cs, Co, Cn}},
    {"Letter", {Lu, Ll, Lt, Lm, Lo}},
    {"Mark", {Mn, Mc, Me}},
    {"Number", {Nd, Nl, No}},
    {"Punctuation", {Pc, Pd, Ps, Pe, Pi, Pf, Po}},
    {"Symbol", {Sm, Sc, Sk, So}},
    {"Lu", {Lu}},
    {"Ll", {Ll}},
    {"Lt", {Lt}},
    {"Lm", {Lm}},
    {"Lo", {Lo}},
    {"Mn", {Mn}},
    {"Mc", {Mc}},
    {"Me", {Me}},
    {"Nd", {Nd}},
    {"Nl", {Nl}},
    {"No", {No}},
    {"Pc", {Pc}},
    {"Pd", {Pd}},
    {"Ps", {Ps}},
    {"Pe", {Pe}},
    {"Pi", {Pi}},
    {"Pf", {Pf}},
    {"Po", {Po}},
    {"Sm", {Sm}},
    {"Sc", {Sc}},
    {"Sk", {Sk}},
    {"So", {So}},
    {"Zs", {Zs}},
    {"Zl", {Zl}},
    {"Zp", {Zp}},
    {"Cc", {Cc}},
    {"Cf", {Cf}},
    {"Cs", {Cs}},
    {"Co", {Co}},
    {"Cn", {Cn}},
};

/// The categories as about 3,300 ranges.
const std::vector<CategoryRange>& category_ranges() {
  static const std::vector<CategoryRange> ranges = [] {
    std::vector<CategoryRange> all;
    const auto& table = categories();
    for (char32_t code = 0; code < kCodePoints; ++code) {
      if (all.empty() || all.back().category != table[code])
        all.push_back({code, code, table[code]});
      all.back().last = code;
    }
    return all;
  }();
  return ranges;
}

CodeSet collect(std::span<const Category> wanted) {
  CodeSet set;
  for (const auto& [first, last, value] : category_ranges())
    if (std::ranges::find(wanted, value) != wanted.end()) set.add(first, last);
  return set;
}

}  // namespace

Category category(char32_t code) {
  return code < kCodePoints ? categories()[code] : Category::Cn;
}

bool is_space(char32_t code) {
  if (code < 0x80) return code == ' ' || (code >= '\t' && code <= '\r');
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

CodeSet::CodeSet(char32_t first, char32_t last) {
  add(first, last);
}

CodeSet CodeSet::of(std::initializer_list<Category> wanted) {
  return collect({wanted.begin(), wanted.size()});
}

const CodeSet& CodeSet::space() {
  static const CodeSet known = [] {
    CodeSet set;
    for (char32_t code = 0; code <= 0x3000; ++code)
      if (is_space(code)) set.add(code, code);
    return set;
  }();
  return known;
}

const CodeSet& CodeSet::digit() {
  static const CodeSet known = of({Nd});
  return known;
}

const CodeSet& CodeSet::word() {
  static const CodeSet known = [] {
    CodeSet set = of({Lu, Ll, Lt, Lm, Lo, Mn, Mc, Me, Nd, Nl, Pc});
    constexpr Range kOthers[] = {{0xB2, 0xB3},      {0xB9, 0xB9},       {0xBC, 0xBE},
                                 {0x24B6, 0x24E9},  {0x1F130, 0x1F149}, {0x1F150, 0x1F169},
                                 {0x1F170, 0x1F189}};
    for (const auto& [first, last] : kOthers) set.add(first, last);
    return set;
  }();
  return known;
}

std::optional<CodeSet> CodeSet::property(std::string_view name) {
  for (const auto& known : kProperties)
    if (known.name == name) return collect({known.categories.begin(), known.categories.size()});
  return std::nullopt;
}

void CodeSet::add(char32_t first, char32_t last) {
  if (!ranges_.empty() && first == ranges_.back().last + 1) {
    ranges_.back().last = last;
    return;
  }
  const bool in_order = ranges_.empty() || first > ranges_.back().last;
  ranges_.push_back({first, last});
  if (!in_order) normalize();
}

void CodeSet::add(const CodeSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
  normalize();
}

void CodeSet::normalize() {
  std::ranges::sort(ranges_, {}, &Range::first);
  std::size_t kept = 0;
  for (std::size_t i = 1; i < ranges_.size(); ++i) {
    if (ranges_[i].first <= ranges_[kept].last + 1)
      ranges_[kept].last = std::max(ranges_[kept].last, ranges_[i].last);
    else
      ranges_[++kept] = ranges_[i];
  }
  if (!ranges_.empty()) ranges_.resize(kept + 1);
}

CodeSet CodeSet::inverse() const {
  CodeSet set;
  char32_t next = 0;
  for (const auto& [first, last] : ranges_) {
    if (first > next) set.ranges_.push_back({next, first - 1});
    next = last + 1;
  }
  if (next < kCodePoints) set.ranges_.push_back({next, kCodePoints - 1});
  return set;
}

CodeSet CodeSet::intersection(const CodeSet& other) const {
  CodeSet outside = inverse();
  outside.add(other.inverse());
  return outside.inverse();
}

CodeSet CodeSet::case_closed() const {
  CodeSet set = *this;
  for (const auto& [folded, members] : fold_classes())
    if (std::ranges::any_of(members, [&](char32_t code) { return contains(code); }))
      for (const char32_t code : members) set.ranges_.push_back({code, code});
  set.normalize();
  return set;
}

bool CodeSet::contains(char32_t code) const {
  const auto after = std::ranges::upper_bound(ranges_, code, {}, &Range::first);
  return after != ranges_.begin() && code <= std::prev(after)->last;
}

}  // namespace tern::text
