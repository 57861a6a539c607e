// "..." % values, "...".format(...) and the format specifications behind them.
#pragma once
#include "text/jinja_interpreter.h"

namespace tern::text::jinja {

/// printf-style formatting: `format` % `values`.
Eval<Value> format_percent(Interpreter& in, const Value& format, const Value& values);
/// str.format.
Eval<Value> format_braces(Interpreter& in, const Value& format, const Args& args);

}  // namespace tern::text::jinja
