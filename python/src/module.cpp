// The native half of the Python module: models, sessions and samplers. Everything that users see
// is in python/tern.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <tern/tern.hpp>

#include "python/src/chain_sampler.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace tern_python {
namespace {

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Row = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const std::uint32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Array = nb::ndarray<nb::numpy, float>;

/// As an exception of tern.errors.
[[noreturn]] void raise(const tern::Error& error) {
  const nb::object exception = nb::module_::import_("tern.errors")
                                   .attr("from_native")(std::string(tern::name(error.code)),
                                                        error.what, error.where, error.hint);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw nb::python_error();
}

template <class T>
T value_of(tern::Result<T> result) {
  if (!result) raise(result.error());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

/// Runs `f` while other Python threads run.
template <class F>
auto without_gil(F f) {
  const nb::gil_scoped_release release;
  return f();
}

std::span<const tern::TokenId> span_of(const Ids& ids) {
  return {ids.data(), ids.size()};
}
std::span<const float> span_of(const Floats& values) {
  return {values.data(), values.size()};
}

Array new_array(std::vector<float> values, std::initializer_list<std::size_t> shape) {
  auto held = std::make_unique<std::vector<float>>(std::move(values));
  float* const data = held->data();
  const nb::capsule owner(
      held.get(), [](void* memory) noexcept { delete static_cast<std::vector<float>*>(memory); });
  held.release();
  return Array(data, shape.size(), shape.begin(), owner);
}

/// A session that says so when two threads use it at once.
class Session {
 public:
  explicit Session(tern::Session session) : session_(std::move(session)) {}

  void read(const Ids& tokens) {
    const auto turn = take();
    bool interrupted = false;
    const auto result = without_gil([&] {
      return session_.read(span_of(tokens), [&](std::size_t, std::size_t) {
        const nb::gil_scoped_acquire acquire;
        interrupted = PyErr_CheckSignals() != 0;
        return interrupted ? tern::Continue::no : tern::Continue::yes;
      });
    });
    if (interrupted) throw nb::python_error();
    if (!result) raise(result.error());
  }

  /// [vocabulary] of the last token read.
  Array logits() {
    const auto turn = take();
    const std::span<const float> last = session_.last_logits();
    if (last.empty())
      raise({tern::ErrorCode::usage, "there are no logits", "session", "read a token first"});
    return new_array({last.begin(), last.end()}, {last.size()});
  }

  /// [tokens, vocabulary] of `tokens`, which are appended.
  Array all_logits(const Ids& tokens) {
    const auto turn = take();
    auto result = without_gil([&] { return session_.logits(span_of(tokens)); });
    std::vector<float> values = value_of(std::move(result));
    const std::size_t rows = tokens.size(), columns = rows == 0 ? 0 : values.size() / rows;
    return new_array(std::move(values), {rows, columns});
  }

  std::size_t position() {
    const auto turn = take();
    return session_.position();
  }
  std::vector<tern::TokenId> tokens() {
    const auto turn = take();
    return {session_.tokens().begin(), session_.tokens().end()};
  }
  void mark() {
    const auto turn = take();
    without_gil([&] { session_.mark(); });
  }
  void truncate(std::size_t position) {
    const auto turn = take();
    value_of(without_gil([&] { return session_.truncate(position); }));
  }
  void reset() {
    const auto turn = take();
    session_.reset();
  }
  std::unique_ptr<Session> fork() {
    const auto turn = take();
    return std::make_unique<Session>(value_of(without_gil([&] { return session_.fork(); })));
  }
  /// Appends one token to each session, in one step.
  static void step(const std::vector<Session*>& sessions, const Ids& tokens) {
    std::vector<std::unique_lock<std::mutex>> turns;
    std::vector<tern::Session*> held;
    for (Session* const session : sessions) {
      turns.push_back(session->take());
      held.push_back(&session->session_);
    }
    const auto results = without_gil([&] { return tern::Session::step(held, span_of(tokens)); });
    for (const auto& result : results)
      if (!result) raise(result.error());
  }

  void save(const std::string& path, const std::string& metadata) {
    const auto turn = take();
    value_of(without_gil([&] { return session_.save(path, metadata); }));
  }

 private:
  std::unique_lock<std::mutex> take() {
    std::unique_lock turn(mutex_, std::try_to_lock);
    if (!turn)
      raise({tern::ErrorCode::busy, "another thread is using this prompt cache", "prompt_cache",
             "give each thread one of its own (copy.deepcopy copies one)"});
    return turn;
  }

  tern::Session session_;
  std::mutex mutex_;
};

tern::KvOptions kv_options(const std::string& kv, std::size_t quantized_start) {
  tern::KvOptions options;
  options.keys = kv;
  options.quantized_start = quantized_start;
  return options;
}

/// Shows the caller's function how loading goes, and looks for Ctrl-C. The engine keeps its
/// callback for good: after loading it does nothing.
class Watch {
 public:
  explicit Watch(nb::object progress) : progress_(std::move(progress)) {}

  void report(std::string_view what, std::size_t done, std::size_t total) {
    if (!loading_) return;
    const nb::gil_scoped_acquire acquire;
    if (raised_) return;
    try {
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
      if (!progress_.is_none()) progress_(nb::str(what.data(), what.size()), done, total);
    } catch (nb::python_error& error) {
      raised_ = std::make_unique<nb::python_error>(std::move(error));
      cancel.request();
    }
  }

  /// Throws what the caller's function threw.
  void finish() {
    loading_ = false;
    progress_ = nb::none();
    if (!raised_) return;
    const std::unique_ptr<nb::python_error> raised = std::move(raised_);
    raised->restore();
    throw nb::python_error();
  }

  tern::Cancel cancel;

 private:
  nb::object progress_;
  std::unique_ptr<nb::python_error> raised_;
  std::atomic<bool> loading_{true};
};

std::unique_ptr<tern::Model> load(const std::string& model, std::size_t threads,
                                  std::size_t context, const std::string& kv,
                                  const std::string& revision, bool pull, nb::object progress) {
  const auto watch = std::make_shared<Watch>(std::move(progress));
  tern::LoadOptions options;
  options.threads = threads;
  options.context = context;
  options.kv = kv_options(kv, 0);
  options.revision = revision;
  options.pull = pull;
  options.cancel = &watch->cancel;
  options.progress = [watch](std::string_view what, std::size_t done, std::size_t total) {
    watch->report(what, done, total);
  };
  auto loaded = without_gil([&] { return tern::Model::load(model, options); });
  watch->finish();
  return std::make_unique<tern::Model>(value_of(std::move(loaded)));
}

nb::dict info(const tern::Model& model) {
  const tern::ModelInfo from = model.info();
  nb::dict info;
  info["name"] = from.name;
  info["architecture"] = from.architecture;
  info["container"] = from.container;
  info["layers"] = from.layers;
  info["vocabulary"] = from.vocabulary;
  info["context"] = from.context;
  info["trained_context"] = from.trained_context;
  info["parameters"] = from.parameters;
  info["weight_bytes"] = from.weight_bytes;
  info["kv_keys"] = from.kv_keys;
  info["kv_values"] = from.kv_values;
  info["kv_from_name"] = from.kv_from_name;
  info["kv_bytes_per_token"] = from.kv_bytes_per_token;
  info["kv_window_bytes"] = from.kv_window_bytes;
  info["state_bytes"] = from.state_bytes;
  info["resident_weight_bytes"] = from.resident_weight_bytes;
  return info;
}

nb::dict tokenizer_info(const tern::Model& model) {
  const tern::TokenizerInfo from = model.tokenizer_info();
  nb::dict info;
  info["size"] = from.size;
  info["end_tokens"] = from.end_tokens;
  info["special_tokens"] = from.special_tokens;
  info["think"] = from.think;
  info["end_think"] = from.end_think;
  info["chat_template"] = from.chat_template;
  return info;
}

std::string apply_chat_template(const tern::Model& model, const std::string& messages,
                                const std::string& tools, const std::string& variables,
                                const std::string& chat_template, bool add_generation_prompt,
                                bool enable_thinking) {
  const tern::ChatTemplateOptions options = {.add_generation_prompt = add_generation_prompt,
                                             .enable_thinking = enable_thinking,
                                             .tools_json = tools,
                                             .variables_json = variables,
                                             .chat_template = chat_template};
  return value_of(without_gil([&] { return model.apply_chat_template_json(messages, options); }));
}

std::unique_ptr<Session> new_session(const tern::Model& model, std::optional<std::string> kv,
                                     std::size_t quantized_start) {
  if (!kv) return std::make_unique<Session>(model.new_session());
  return std::make_unique<Session>(value_of(model.new_session(kv_options(*kv, quantized_start))));
}

std::unique_ptr<Session> load_session(const tern::Model& model, const std::string& path) {
  return std::make_unique<Session>(value_of(without_gil([&] { return model.load_session(path); })));
}

/// (name of the model, tokens, metadata)
nb::tuple inspect_session(const std::string& path) {
  const tern::SavedSession saved =
      value_of(without_gil([&] { return tern::inspect_session(path); }));
  return nb::make_tuple(saved.model, saved.tokens, saved.metadata);
}

std::uint32_t sample(ChainSampler& sampler, const Floats& logits) {
  std::uint32_t token = 0;
  if (logits.size() == 0 || !sampler.sample(span_of(logits), token))
    raise({tern::ErrorCode::numeric, "no token can be chosen: every logit is -inf, or one is NaN",
           "logits", "a logits processor that removes every token, or a broken model file"});
  return token;
}

void bind_model(nb::module_& m) {
  nb::class_<tern::Model>(m, "Model")
      .def_static("load", &load, "model"_a, "threads"_a, "context"_a, "kv"_a, "revision"_a,
                  "pull"_a, "progress"_a.none())
      .def("info", &info)
      .def("tokenizer_info", &tokenizer_info)
      .def("side_file", [](const tern::Model& model,
                           const std::string& name) { return value_of(model.side_file(name)); })
      .def("apply_chat_template", &apply_chat_template, "messages"_a, "tools"_a, "variables"_a,
           "chat_template"_a, "add_generation_prompt"_a, "enable_thinking"_a)
      .def("tokenize",
           [](const tern::Model& model, const std::string& text, bool parse_special) {
             return without_gil([&] { return model.tokenize(text, parse_special); });
           })
      .def("detokenize",
           [](const tern::Model& model, const Ids& tokens, bool skip_special) {
             const std::string text = model.detokenize(span_of(tokens), skip_special);
             return nb::bytes(text.data(), text.size());
           })
      .def("new_session", &new_session, "kv"_a.none(), "quantized_start"_a)
      .def("load_session", &load_session);
  m.def("inspect_session", &inspect_session);
}

void bind_session(nb::module_& m) {
  nb::class_<Session>(m, "Session")
      .def("read", &Session::read)
      .def("logits", &Session::logits)
      .def_static("step", &Session::step)
      .def("all_logits", &Session::all_logits)
      .def_prop_ro("position", &Session::position)
      .def("tokens", &Session::tokens)
      .def("mark", &Session::mark)
      .def("truncate", &Session::truncate)
      .def("reset", &Session::reset)
      .def("fork", &Session::fork)
      .def("save", &Session::save);
}

void bind_samplers(nb::module_& m) {
  nb::class_<ChainSampler>(m, "ChainSampler")
      .def(
          "__init__",
          [](ChainSampler* self, float temp, float top_p, float min_p,
             std::size_t min_tokens_to_keep, std::size_t top_k, float xtc_probability,
             float xtc_threshold, std::vector<std::uint32_t> xtc_special_tokens,
             std::uint64_t seed) {
            new (self) ChainSampler({temp, top_p, min_p, min_tokens_to_keep, top_k, xtc_probability,
                                     xtc_threshold, std::move(xtc_special_tokens)},
                                    seed);
          },
          "temp"_a, "top_p"_a, "min_p"_a, "min_tokens_to_keep"_a, "top_k"_a, "xtc_probability"_a,
          "xtc_threshold"_a, "xtc_special_tokens"_a, "seed"_a)
      .def("sample", &sample);
  m.def("apply_top_p", [](const Row& row, float top_p) {
    if (row.size() > 0) apply_top_p({row.data(), row.size()}, top_p);
  });
  m.def("apply_min_p", [](const Row& row, float min_p, std::size_t keep) {
    if (row.size() > 0) apply_min_p({row.data(), row.size()}, min_p, keep);
  });
  m.def("apply_top_k", [](const Row& row, std::size_t top_k) {
    if (row.size() > 0) apply_top_k({row.data(), row.size()}, top_k);
  });
  m.def("apply_xtc",
        [](const Row& row, float threshold, const std::vector<std::uint32_t>& special) {
          if (row.size() > 0) apply_xtc({row.data(), row.size()}, threshold, special);
        });
}

}  // namespace
}  // namespace tern_python

NB_MODULE(_tern, m) {
  m.doc() = "The native half of tern.";
  tern_python::bind_model(m);
  tern_python::bind_session(m);
  tern_python::bind_samplers(m);
}
