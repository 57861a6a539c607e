// Values of the template language: Python's, as far as templates can see them.
//
// Every object lives in the arena of one rendering (or of the parsed program, for constants), is
// immutable unless said otherwise, and is freed with it: there is nothing to count and no cycle
// can leak.
#pragma once
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace tern::text::jinja {

/// Evaluation hands values around by the million: a failure is one pointer.
using Failure = std::unique_ptr<Error>;
template <class T>
using Eval = std::expected<T, Failure>;

enum class Kind : std::uint8_t {
  absent,     ///< no value: an argument that was not given (templates never see one)
  undefined,  ///< jinja2.Undefined
  none,
  boolean,
  integer,  ///< fits 64 bits
  big,      ///< an integer that does not
  real,     ///< Python float
  string,   ///< str, or Markup (marked safe for HTML)
  list,
  tuple,
  dict,
  dict_view,  ///< dict.keys(), .values(), .items()
  range,
  generator,   ///< what lazy filters return: iterable once, no length
  name_space,  ///< namespace(...): the one thing templates may change
  macro,
  loop,    ///< the `loop` variable
  native,  ///< a global function
  method,  ///< a function bound to its object
  cycler,
  joiner,
};

struct String;
struct Sequence;
struct Dict;
struct DictView;
struct Range;
struct Generator;
struct Namespace;
struct Macro;
struct Loop;
struct Native;
struct Method;
struct Cycler;
struct Joiner;
struct Undefined;
struct Big;

struct Value {
  Kind kind = Kind::absent;
  union {
    std::int64_t integer = 0;
    bool boolean;
    double real;
    const Big* big;
    const String* string;
    const Sequence* sequence;  ///< list, tuple
    const Dict* dict;
    const DictView* dict_view;
    const Range* range;
    const Undefined* undefined;
    const Macro* macro;
    const Native* native;
    const Method* method;
    Generator* generator;
    Namespace* name_space;
    Loop* loop;
    Cycler* cycler;
    Joiner* joiner;
    const void* object;
  };

  bool is(Kind k) const { return kind == k; }
  bool present() const { return kind != Kind::absent; }
  bool is_integer() const { return kind == Kind::integer || kind == Kind::boolean; }
  bool is_number() const { return is_integer() || kind == Kind::big || kind == Kind::real; }
};

/// UTF-8 with its length in code points, which is what templates count in.
struct String {
  std::string_view bytes;
  std::size_t length = 0;
  bool markup = false;  ///< markupsafe.Markup: joins with plain text by escaping it

  bool ascii() const { return length == bytes.size(); }
};

struct Sequence {
  std::span<const Value> items = {};
  bool group = false;  ///< a group of groupby: a tuple with `grouper` and `list`
};

struct Entry {
  Value key, value;
};

/// Insertion-ordered. `order` holds entry numbers sorted by key (empty for a few entries): lookups
/// are logarithmic whatever the keys, so that nobody can craft collisions.
struct Dict {
  std::span<const Entry> entries = {};
  std::span<const std::uint32_t> order = {};
};

enum class View : std::uint8_t { keys, values, items };

struct DictView {
  const Dict* dict = nullptr;
  View view = View::keys;
};

struct Range {
  std::int64_t start = 0, stop = 0, step = 1;
  std::int64_t length = 0;
};

/// What is left of a lazy sequence. An error found while producing it is raised when it is reached.
struct Generator {
  std::span<const Value> items;
  const Error* error = nullptr;
  std::string_view name;
};

struct Attribute {
  std::string_view name;
  Value value;
};

struct Namespace {
  std::pmr::vector<Attribute> attributes = {};
  Value* find(std::string_view name);
};

struct Cycler {
  std::span<const Value> items;
  std::size_t position = 0;
};

struct Joiner {
  Value separator;
  bool used = false;
};

/// Why a value is undefined: `hint`, or the object that lacks `name`, or just the name.
struct Undefined {
  std::string_view hint = {};
  Value object = {};
  Value name = {};
};

/// Sign and magnitude of an integer beyond 64 bits, least significant limb first.
struct Big {
  bool negative = false;
  std::span<const std::uint32_t> limbs;
};

struct Method {
  Value self;
  const Native* function = nullptr;
};

class Interpreter;

struct Args {
  std::span<const Value> positional;
  std::span<const Attribute> named;
};

/// A filter, a test, a method or a global function.
///
/// With `parameters`, arguments are bound as Python would and `function` gets one value for each
/// parameter (absent where there is a default); "/" before a name makes it positional only.
/// Without, `variadic` gets them as they came.
struct Native {
  std::string_view name;
  std::span<const std::string_view> parameters = {};
  std::size_t required = 0;
  Eval<Value> (*function)(Interpreter&, std::span<const Value>) = nullptr;
  Eval<Value> (*variadic)(Interpreter&, const Value& self, const Args&) = nullptr;
};

/// Bump allocator. Everything in it is trivially destructible or a pmr container of it.
class Arena {
 public:
  Arena() : memory_(1 << 12) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  template <class T, class... A>
  T* make(A&&... args) {
    bytes_ += sizeof(T);
    return new (memory_.allocate(sizeof(T), alignof(T))) T{std::forward<A>(args)...};
  }

  template <class T>
  std::span<T> array(std::size_t n) {
    if (n == 0) return {};
    bytes_ += n * sizeof(T);
    T* first = static_cast<T*>(memory_.allocate(n * sizeof(T), alignof(T)));
    for (std::size_t i = 0; i < n; ++i) new (first + i) T();
    return {first, n};
  }

  template <class T>
  std::span<const T> copy(std::span<const T> from) {
    const std::span<T> to = array<T>(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = from[i];
    return to;
  }

  std::string_view copy(std::string_view text);

  std::pmr::memory_resource* resource() { return &memory_; }
  /// Bytes handed out so far.
  std::size_t bytes() const { return bytes_; }

 private:
  std::pmr::monotonic_buffer_resource memory_;
  std::size_t bytes_ = 0;
};

inline Value make_none() {
  Value v;
  v.kind = Kind::none;
  return v;
}
inline Value make_bool(bool b) {
  Value v;
  v.kind = Kind::boolean;
  v.boolean = b;
  return v;
}
inline Value make_int(std::int64_t i) {
  Value v;
  v.kind = Kind::integer;
  v.integer = i;
  return v;
}
inline Value make_size(std::size_t n) {
  return make_int(static_cast<std::int64_t>(n));
}
inline Value make_real(double d) {
  Value v;
  v.kind = Kind::real;
  v.real = d;
  return v;
}
/// `text` must outlive the value.
Value make_string_view(Arena& arena, std::string_view text, bool markup = false);
Value make_string(Arena& arena, std::string_view text, bool markup = false);
Value make_list(Arena& arena, std::span<const Value> items, Kind kind = Kind::list);

/// The 0 or 1 of a bool, or the integer.
inline std::int64_t as_int64(const Value& v) {
  return v.kind == Kind::boolean ? std::int64_t(v.boolean) : v.integer;
}

/// Python's name for the type: "str", "int", "dict", "NoneType", ...
std::string_view type_name(const Value& v);

/// Python's truth value. An Undefined is false; a generator is always true.
bool truth(const Value& v);

/// A total order over what can be a dictionary key, agreeing with Python's equality: 1 == 1.0 ==
/// True. Nothing when a key is not hashable or nested too deep.
std::optional<int> order_keys(const Value& a, const Value& b, int depth = 0);
bool hashable(const Value& v, int depth = 0);

/// Later entries win; the first spelling of a key and its place stay, as in Python.
/// Keys must be hashable.
const Dict* make_dict(Arena& arena, std::span<const Entry> entries, bool unique_keys = false);
Value dict_value(const Dict* dict);
const Value* find(const Dict& dict, const Value& key);
const Value* find(const Dict& dict, std::string_view key);

}  // namespace tern::text::jinja
