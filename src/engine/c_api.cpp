// The C interface over the C++ one.
#include <tern/tern.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <tern/tern.hpp>
#include <utility>
#include <vector>

#include "base/error.h"

struct tern_model {
  tern::Model model;
  tern::ModelInfo info;  // whose texts tern_model_get_info hands out
};

struct tern_session {
  tern::Session session;
};

struct tern_cancel {
  tern::Cancel cancel;
};

namespace {

using tern::Error;
using tern::ErrorCode;
using tern::Result;

static_assert(static_cast<int>(TERN_FINISH_CANCELLED) ==
              static_cast<int>(tern::FinishReason::cancelled));

// The numbers of the C interface stay when codes are added.
constexpr std::pair<ErrorCode, tern_status> kStatuses[] = {
    {ErrorCode::usage, TERN_USAGE},
    {ErrorCode::not_found, TERN_NOT_FOUND},
    {ErrorCode::corrupt, TERN_CORRUPT},
    {ErrorCode::unsupported, TERN_UNSUPPORTED},
    {ErrorCode::mismatch, TERN_MISMATCH},
    {ErrorCode::too_large, TERN_TOO_LARGE},
    {ErrorCode::busy, TERN_BUSY},
    {ErrorCode::io, TERN_IO},
    {ErrorCode::no_memory, TERN_NO_MEMORY},
    {ErrorCode::numeric, TERN_NUMERIC},
    {ErrorCode::cancelled, TERN_CANCELLED},
    {ErrorCode::internal, TERN_INTERNAL},
    {ErrorCode::unreachable, TERN_UNREACHABLE},
    {ErrorCode::denied, TERN_DENIED},
    {ErrorCode::offline, TERN_OFFLINE},
};

tern_status status_of(ErrorCode code) {
  const auto known = std::ranges::find(kStatuses, code, [](const auto& row) { return row.first; });
  return known == std::end(kStatuses) ? TERN_INTERNAL : known->second;
}

struct LastError {
  Error error;
  tern_error shown = {TERN_OK, "", "", ""};
};

LastError& last_error() {
  thread_local LastError error;
  return error;
}

tern_status refuse(Error error) {
  LastError& last = last_error();
  last.error = std::move(error);
  last.shown = {status_of(last.error.code), last.error.what.c_str(), last.error.where.c_str(),
                last.error.hint.c_str()};
  return last.shown.status;
}

tern_status refuse_no_memory() {
  last_error().shown = {TERN_NO_MEMORY, "out of memory", "", ""};  // without allocating
  return TERN_NO_MEMORY;
}

/// Runs `body`, which returns a Result<void>; nothing gets out of it.
template <class F>
tern_status guarded(F body) noexcept try {
  last_error().shown = {TERN_OK, "", "", ""};
  const Result<void> result = body();
  return result ? TERN_OK : refuse(result.error());
} catch (const std::bad_alloc&) {
  return refuse_no_memory();
} catch (const std::exception& exception) {
  try {
    return refuse({ErrorCode::internal, exception.what()});
  } catch (const std::bad_alloc&) {
    return refuse_no_memory();
  }
}

template <class... Pointers>
Result<void> given(const Pointers*... pointers) {
  if ((... && (pointers != nullptr))) return {};
  return tern::fail(ErrorCode::usage, "an argument is NULL that must not be", "arguments");
}

/// The caller's structure, which may be older or newer than ours; `defaults` for what it lacks.
template <class T>
Result<T> options_of(const T* options, T defaults) {
  if (options == nullptr) return defaults;
  if (options->size < sizeof(size_t) || options->size > 65536)
    return tern::fail(ErrorCode::usage, "a structure without its size", "options",
                      "initialize it with its ..._INIT macro");
  std::memcpy(&defaults, options, std::min(options->size, sizeof(T)));
  return defaults;
}

/// Fills as much of the caller's structure as it has.
template <class T>
Result<void> fill(T* out, T values) {
  if (out->size < sizeof(size_t) || out->size > 65536)
    return tern::fail(ErrorCode::usage, "a structure without its size", "result",
                      "initialize it with its ..._INIT macro");
  values.size = out->size;
  std::memcpy(out, &values, std::min(out->size, sizeof(T)));
  return {};
}

/// For tern_free, with a zero behind its `bytes` bytes.
char* new_memory(const void* from, size_t bytes) {
  char* const memory = static_cast<char*>(std::malloc(bytes + 1));
  if (memory == nullptr) throw std::bad_alloc();
  if (bytes > 0) std::memcpy(memory, from, bytes);
  memory[bytes] = '\0';
  return memory;
}

char* new_text(std::string_view text) {
  return new_memory(text.data(), text.size());
}

void give(const std::vector<tern::TokenId>& tokens, uint32_t** out, size_t* count) {
  *out = static_cast<uint32_t*>(
      static_cast<void*>(new_memory(tokens.data(), tokens.size() * sizeof(uint32_t))));
  *count = tokens.size();
}

const char* text_of(const char* text) {
  return text == nullptr ? "" : text;
}

tern::KvOptions kv_of(const char* kv) {
  tern::KvOptions options;
  options.keys = text_of(kv);
  return options;
}

template <class T, class N>
std::optional<T> unless_negative(N value) {
  return value < 0 ? std::nullopt : std::optional(static_cast<T>(value));
}

tern::GenerateOptions generate_options(const tern_generate_options& from) {
  tern::GenerateOptions options;
  options.sampling.temperature = unless_negative<float>(from.temperature);
  options.sampling.top_k = unless_negative<std::size_t>(from.top_k);
  options.sampling.top_p = unless_negative<float>(from.top_p);
  options.sampling.min_p = unless_negative<float>(from.min_p);
  if (from.repetition_penalty != 0.0f)
    options.sampling.repetition_penalty = from.repetition_penalty;
  options.sampling.presence_penalty = from.presence_penalty;
  options.sampling.frequency_penalty = from.frequency_penalty;
  if (from.seed >= 0) options.sampling.seed = static_cast<std::uint64_t>(from.seed);
  options.max_tokens = unless_negative<std::size_t>(from.max_tokens);
  options.reasoning_budget = unless_negative<std::size_t>(from.reasoning_budget);
  options.ignore_eos = from.ignore_eos != 0;
  for (size_t i = 0; i < from.stops; ++i) options.stop.emplace_back(text_of(from.stop[i]));
  return options;
}

const tern::Cancel* of(const tern_cancel* cancel) {
  return cancel == nullptr ? nullptr : &cancel->cancel;
}

}  // namespace

extern "C" {

int tern_c_api_version(void) {
  return TERN_C_API_VERSION;
}

const char* tern_version(void) {
  return TERN_VERSION;
}

const tern_error* tern_last_error(void) {
  return &last_error().shown;
}

const char* tern_status_name(tern_status status) {
  if (status == TERN_OK) return "ok";
  const auto known =
      std::ranges::find(kStatuses, status, [](const auto& row) { return row.second; });
  return known == std::end(kStatuses) ? "unknown" : tern::name(known->first).data();
}

tern_status tern_model_load(const char* model, const tern_load_options* options, tern_model** out) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(model, out));
    TERN_TRY(const auto asked, options_of(options, tern_load_options(TERN_LOAD_OPTIONS_INIT)));
    tern::LoadOptions load;
    load.threads = asked.threads;
    load.context = asked.context;
    load.kv = kv_of(asked.kv);
    if (asked.progress != nullptr)
      load.progress = [asked](std::string_view what, std::size_t done, std::size_t total) {
        asked.progress(asked.progress_user, std::string(what).c_str(), done, total);
      };
    TERN_TRY(tern::Model loaded, tern::Model::load(model, load));
    tern::ModelInfo info = loaded.info();
    *out = new tern_model{std::move(loaded), std::move(info)};
    return {};
  });
}

void tern_model_free(tern_model* model) {
  delete model;
}

tern_status tern_model_get_info(const tern_model* model, tern_model_info* info) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(model, info));
    const tern::ModelInfo& from = model->info;
    tern_model_info values = TERN_MODEL_INFO_INIT;
    values.name = from.name.c_str();
    values.architecture = from.architecture.c_str();
    values.container = from.container.c_str();
    values.kv_keys = from.kv_keys.c_str();
    values.kv_values = from.kv_values.c_str();
    values.layers = from.layers;
    values.vocabulary = from.vocabulary;
    values.context = from.context;
    values.parameters = from.parameters;
    values.weight_bytes = from.weight_bytes;
    values.kv_bytes_per_token = from.kv_bytes_per_token;
    values.state_bytes = from.state_bytes;
    values.trained_context = from.trained_context;
    return fill(info, values);
  });
}

void tern_free(void* memory) {
  std::free(memory);
}

tern_status tern_apply_chat_template(const tern_model* model, const char* messages_json,
                                     const tern_template_options* options, char** out) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(model, messages_json, out));
    TERN_TRY(const auto asked,
             options_of(options, tern_template_options(TERN_TEMPLATE_OPTIONS_INIT)));
    const tern::ChatTemplateOptions chat = {
        .add_generation_prompt = asked.add_generation_prompt != 0,
        .enable_thinking = asked.enable_thinking != 0,
        .tools_json = text_of(asked.tools_json),
        .variables_json = text_of(asked.variables_json)};
    TERN_TRY(const std::string prompt, model->model.apply_chat_template_json(messages_json, chat));
    *out = new_text(prompt);
    return {};
  });
}

tern_status tern_tokenize(const tern_model* model, const char* text, size_t bytes,
                          int parse_special, uint32_t** out, size_t* count) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(model, text, out, count));
    give(model->model.tokenize({text, bytes}, parse_special != 0), out, count);
    return {};
  });
}

tern_status tern_detokenize(const tern_model* model, const uint32_t* tokens, size_t count,
                            int skip_special, char** out, size_t* bytes) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(model, out));
    if (count > 0) TERN_TRY_VOID(given(tokens));
    const std::string text = model->model.detokenize({tokens, count}, skip_special != 0);
    *out = new_text(text);
    if (bytes != nullptr) *bytes = text.size();
    return {};
  });
}

tern_status tern_end_tokens(const tern_model* model, uint32_t** out, size_t* count) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(model, out, count));
    give(model->model.tokenizer_info().end_tokens, out, count);
    return {};
  });
}

tern_status tern_session_new(const tern_model* model, const char* kv, tern_session** out) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(model, out));
    if (kv == nullptr) {
      *out = new tern_session{model->model.new_session()};
      return {};
    }
    TERN_TRY(tern::Session session, model->model.new_session(kv_of(kv)));
    *out = new tern_session{std::move(session)};
    return {};
  });
}

void tern_session_free(tern_session* session) {
  delete session;
}

tern_status tern_session_reset(tern_session* session) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(session));
    session->session.reset();
    return {};
  });
}

size_t tern_session_position(const tern_session* session) {
  return session == nullptr ? 0 : session->session.position();
}

tern_status tern_session_fork(const tern_session* session, tern_session** out) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(session, out));
    TERN_TRY(tern::Session copy, session->session.fork());
    *out = new tern_session{std::move(copy)};
    return {};
  });
}

tern_status tern_session_mark(tern_session* session) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(session));
    session->session.mark();
    return {};
  });
}

tern_status tern_session_truncate(tern_session* session, size_t position) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(session));
    return session->session.truncate(position);
  });
}

tern_status tern_session_save(const tern_session* session, const char* path, const char* metadata) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(session, path));
    return session->session.save(path, text_of(metadata));
  });
}

tern_status tern_session_load(const tern_model* model, const char* path, tern_session** out,
                              char** metadata) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(model, path, out));
    std::string text;
    TERN_TRY(tern::Session session, model->model.load_session(path, &text));
    auto held = std::make_unique<tern_session>(std::move(session));
    if (metadata != nullptr) *metadata = new_text(text);
    *out = held.release();
    return {};
  });
}

tern_status tern_cancel_new(tern_cancel** out) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(out));
    *out = new tern_cancel;
    return {};
  });
}

void tern_cancel_free(tern_cancel* cancel) {
  delete cancel;
}

void tern_cancel_request(tern_cancel* cancel) {
  if (cancel != nullptr) cancel->cancel.request();
}

void tern_cancel_reset(tern_cancel* cancel) {
  if (cancel != nullptr) cancel->cancel.reset();
}

tern_status tern_generate(tern_session* session, const uint32_t* prompt, size_t count,
                          const tern_generate_options* options, tern_on_piece on_piece, void* user,
                          tern_cancel* cancel, tern_generation* result) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(session, prompt));
    TERN_TRY(const auto asked,
             options_of(options, tern_generate_options(TERN_GENERATE_OPTIONS_INIT)));
    if (asked.stops > 0) TERN_TRY_VOID(given(asked.stop));
    tern::OnPiece pieces;
    if (on_piece != nullptr)
      pieces = [&](const tern::Piece& piece) {
        return on_piece(user, piece.text.data(), piece.text.size(), piece.reasoning ? 1 : 0) != 0
                   ? tern::Continue::yes
                   : tern::Continue::no;
      };
    TERN_TRY(
        const tern::Generation generation,
        session->session.generate({prompt, count}, generate_options(asked), pieces, of(cancel)));
    if (result == nullptr) return {};
    tern_generation values = TERN_GENERATION_INIT;
    values.finish = static_cast<tern_finish>(static_cast<int>(generation.finish));
    values.prompt_tokens = generation.prompt_tokens;
    values.reused_tokens = generation.reused_tokens;
    values.generated_tokens = generation.tokens.size();
    values.reasoning_tokens = generation.reasoning_tokens;
    values.prefill_seconds = generation.prefill_time.count();
    values.decode_seconds = generation.decode_time.count();
    values.seed = generation.seed;
    return fill(result, values);
  });
}

tern_status tern_session_read(tern_session* session, const uint32_t* tokens, size_t count,
                              tern_cancel* cancel) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(session, tokens));
    return session->session.read({tokens, count}, {}, of(cancel));
  });
}

tern_status tern_session_logits(const tern_session* session, const float** out, size_t* count) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(session, out, count));
    const std::span<const float> logits = session->session.last_logits();
    if (logits.empty())
      return tern::fail(ErrorCode::usage, "there are no logits", "session",
                        "read a token with tern_session_read first");
    *out = logits.data();
    *count = logits.size();
    return {};
  });
}

tern_status tern_session_tokens(const tern_session* session, const uint32_t** out, size_t* count) {
  return guarded([&]() -> Result<void> {
    TERN_TRY_VOID(given(session, out, count));
    const std::span<const tern::TokenId> tokens = session->session.tokens();
    *out = tokens.data();
    *count = tokens.size();
    return {};
  });
}

}  // extern "C"
