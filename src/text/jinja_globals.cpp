// Global functions, and the methods of what they make.
#include <array>
#include <ctime>
#include <vector>

#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"

namespace tern::text::jinja {

namespace {

constexpr std::int64_t kMaxRange = 100'000;  ///< jinja2.sandbox.MAX_RANGE

Eval<std::int64_t> index_argument(Interpreter& in, const Value& v) {
  if (v.is_integer()) return as_int64(v);
  if (v.is(Kind::big)) {
    return in.raise("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).",
                    ErrorCode::too_large);
  }
  return in.raise("'" + std::string(type_name(v)) + "' object cannot be interpreted as an integer");
}

Eval<Value> range(Interpreter& in, std::span<const Value> args) {
  std::array<std::int64_t, 3> bounds = {0, 0, 1};
  const bool only_stop = !args[1].present();
  for (std::size_t i = 0; i < 3; ++i) {
    if (!args[i].present()) continue;
    TERN_TRY(bounds[only_stop ? 1 : i], index_argument(in, args[i]));
  }
  const auto [start, stop, step] = bounds;
  if (step == 0) return in.raise("range() arg 3 must not be zero");
  const bool forward = step > 0;
  std::uint64_t length = 0;
  if (forward ? start < stop : start > stop) {
    const auto low = static_cast<std::uint64_t>(forward ? start : stop);
    const auto high = static_cast<std::uint64_t>(forward ? stop : start);
    const auto by =
        forward ? static_cast<std::uint64_t>(step) : 0 - static_cast<std::uint64_t>(step);
    length = (high - low - 1) / by + 1;
  }
  if (length > std::uint64_t(kMaxRange)) {
    return in.raise("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).",
                    ErrorCode::too_large);
  }
  Value v;
  v.kind = Kind::range;
  v.range = in.arena().make<Range>(start, stop, step, static_cast<std::int64_t>(length));
  return v;
}

/// dict(mapping or pairs, **named).
Eval<std::vector<Entry>> dict_entries(Interpreter& in, const Args& args) {
  std::vector<Entry> entries;
  if (args.positional.size() > 1) {
    return in.raise("dict expected at most 1 argument, got " +
                    std::to_string(args.positional.size()));
  }
  if (args.positional.size() == 1 && args.positional[0].is(Kind::dict)) {
    const auto from = args.positional[0].dict->entries;
    TERN_TRY_VOID(in.reserve(from.size(), sizeof(Entry)));
    entries.assign(from.begin(), from.end());
  } else if (args.positional.size() == 1) {
    TERN_TRY(const std::span<const Value> pairs, in.iterate(args.positional[0]));
    for (const Value& pair : pairs) {
      TERN_TRY(const std::span<const Value> items, in.iterate(pair));
      if (items.size() != 2) {
        return in.raise("dictionary update sequence element has length " +
                        std::to_string(items.size()) + "; 2 is required");
      }
      entries.push_back({items[0], items[1]});
    }
  }
  for (const Attribute& named : args.named) {
    TERN_TRY(const Value key, in.text(named.name));
    entries.push_back({key, named.value});
  }
  return entries;
}

Eval<Value> make_dict_global(Interpreter& in, const Value&, const Args& args) {
  TERN_TRY(const std::vector<Entry> entries, dict_entries(in, args));
  return in.dict(entries);
}

Eval<Value> make_namespace(Interpreter& in, const Value&, const Args& args) {
  TERN_TRY(const std::vector<Entry> entries, dict_entries(in, args));
  TERN_TRY(const Value dict, in.dict(entries));
  Value v;
  v.kind = Kind::name_space;
  v.name_space = in.arena().make<Namespace>(std::pmr::vector<Attribute>(in.arena().resource()));
  for (const Entry& entry : dict.dict->entries) {
    if (!entry.key.is(Kind::string)) continue;  // unreachable by name
    if (entry.key.string->bytes.starts_with('_')) {
      return in.raise("Chat templates cannot store underscore-prefixed attributes on a namespace");
    }
    TERN_TRY_VOID(in.charge(8));
    v.name_space->attributes.push_back({entry.key.string->bytes, entry.value});
  }
  return v;
}

Eval<Value> make_cycler(Interpreter& in, const Value&, const Args& args) {
  if (args.positional.empty()) return in.raise("at least one item has to be provided");
  if (!args.named.empty()) return in.raise("cycler() takes no keyword arguments");
  Value v;
  v.kind = Kind::cycler;
  v.cycler = in.arena().make<Cycler>(in.arena().copy(args.positional));
  return v;
}

Eval<Value> make_joiner(Interpreter& in, std::span<const Value> args) {
  Value v;
  v.kind = Kind::joiner;
  TERN_TRY(const Value comma, in.text(", "));
  v.joiner = in.arena().make<Joiner>(args[0].present() ? args[0] : comma);
  return v;
}

Eval<Value> raise_exception(Interpreter& in, std::span<const Value> args) {
  TERN_TRY(const std::string_view message, in.str(args[0]));
  return in.raise(std::string(message));
}

Eval<Value> strftime_now(Interpreter& in, std::span<const Value> args) {
  if (!args[0].is(Kind::string)) return in.raise("strftime() argument 1 must be str");
  const std::string_view format = args[0].string->bytes;
  TERN_TRY_VOID(in.charge_bytes(format.size()));
  const std::time_t now = in.now();
  std::tm local{};
  localtime_r(&now, &local);
  // One directive at a time: strftime cannot tell an empty result from one that does not fit.
  std::string out;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    const std::size_t flags = format[i + 1] == '-' || format[i + 1] == '_' ? 3 : 2;
    const std::string directive(format.substr(i, flags));
    i += directive.size() - 1;
    if (directive == "%f") {
      out += "000000";
      continue;
    }
    std::array<char, 128> buffer{};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    out.append(buffer.data(),
               std::strftime(buffer.data(), buffer.size(), directive.c_str(), &local));
#pragma GCC diagnostic pop
  }
  return in.text(out);
}

Eval<Value> refused(Interpreter& in, const Value&, const Args&) {
  return in.raise("this function is not supported in chat templates", ErrorCode::unsupported);
}

Eval<Value> cycler_next(Interpreter&, std::span<const Value> args) {
  Cycler& cycler = *args[0].cycler;
  const Value current = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return current;
}

Eval<Value> cycler_reset(Interpreter&, std::span<const Value> args) {
  args[0].cycler->position = 0;
  return make_none();
}

constexpr std::array<std::string_view, 3> kRangeNames = {"/start", "/stop", "/step"};
constexpr std::array<std::string_view, 1> kSep = {"sep"};
constexpr std::array<std::string_view, 1> kMessage = {"message"};
constexpr std::array<std::string_view, 1> kFormat = {"format"};
constexpr std::array<std::string_view, 1> kSelf = {"/self"};

constexpr std::array<Native, 8> kGlobals = {{
    {.name = "range", .parameters = kRangeNames, .required = 1, .function = range},
    {.name = "dict", .variadic = make_dict_global},
    {.name = "namespace", .variadic = make_namespace},
    {.name = "cycler", .variadic = make_cycler},
    {.name = "joiner", .parameters = kSep, .function = make_joiner},
    {.name = "raise_exception", .parameters = kMessage, .required = 1, .function = raise_exception},
    {.name = "strftime_now", .parameters = kFormat, .required = 1, .function = strftime_now},
    {.name = "lipsum", .variadic = refused},
}};

constexpr std::array<Native, 2> kCyclerMethods = {{
    {.name = "next", .parameters = kSelf, .required = 1, .function = cycler_next},
    {.name = "reset", .parameters = kSelf, .required = 1, .function = cycler_reset},
}};

}  // namespace

const Native* find_global(std::string_view name) {
  return find_native(kGlobals, name);
}

const Native* find_cycler_method(std::string_view name) {
  return find_native(kCyclerMethods, name);
}

}  // namespace tern::text::jinja
