#include "text/jinja_attribute_getter.h"

#include <algorithm>

#include "text/jinja_number.h"
#include "text/jinja_strings.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

AttributeGetter::AttributeGetter(Interpreter& in, const Value& attribute, bool ignore_case,
                                 const Value& fallback)
    : in_(in), ignore_case_(ignore_case), fallback_(fallback) {
  if (!attribute.present() || attribute.is(Kind::none)) return;
  if (!attribute.is(Kind::string)) {
    parts_.push_back(attribute);
    return;
  }
  for (const std::string_view part : split_text(attribute.string->bytes, ".", SIZE_MAX)) {
    const bool digits =
        !part.empty() && std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
    const auto number = digits ? parse_integer(in.arena(), part, 10) : std::optional<Value>();
    parts_.push_back(number ? *number : make_string_view(in.arena(), part));
  }
}

Eval<Value> AttributeGetter::operator()(Value item) const {
  for (const Value& part : parts_) {
    TERN_TRY(item, in_.item(item, part));
    if (item.is(Kind::undefined) && fallback_.present() && !fallback_.is(Kind::none)) {
      item = fallback_;
    }
  }
  if (!ignore_case_ || !item.is(Kind::string)) return item;
  TERN_TRY_VOID(in_.reserve(item.string->bytes.size(), 3));
  TERN_TRY_VOID(in_.charge(item.string->bytes.size() / 2));
  return in_.text(lower(item.string->bytes));
}

Eval<Value> lazy_result(Interpreter& in, std::string_view name, const std::vector<Value>& items,
                        Eval<void> outcome) {
  if (outcome) return in.generator(name, items);
  Failure failure = std::move(outcome).error();
  if (failure->code == ErrorCode::too_large) return std::unexpected(std::move(failure));
  return in.generator(name, items, std::move(failure));
}

}  // namespace tern::text::jinja
