// What several sequence filters share: keys from dotted attributes, and lazy results.
#pragma once
#include <string_view>
#include <vector>

#include "text/jinja_interpreter.h"

namespace tern::text::jinja {

/// Looks "a.b.0" up, part by part; lower case if `ignore_case`.
class AttributeGetter {
 public:
  /// An absent or none `attribute` is the item itself. `fallback` stands in for undefined parts.
  AttributeGetter(Interpreter& in, const Value& attribute, bool ignore_case = false,
                  const Value& fallback = {});

  Eval<Value> operator()(Value item) const;

 private:
  Interpreter& in_;
  bool ignore_case_;
  Value fallback_;
  std::vector<Value> parts_;
};

/// Result of a lazy filter: what it made before it failed, if it did. Limits fail at once.
Eval<Value> lazy_result(Interpreter& in, std::string_view name, const std::vector<Value>& items,
                        Eval<void> outcome);

}  // namespace tern::text::jinja
