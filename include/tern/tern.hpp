// tern: run a model of the Nemotron-3-Nano-Omni family in your own program.
//
//   auto model = tern::Model::load("path/to/model");          // or "demo"
//   if (!model) { std::cerr << model.error().message(); return 1; }
//   auto prompt = model->apply_chat_template({{.role = "user", .content = "Solve: 17 * 23"}});
//   auto answer = model->generate(*prompt, {}, [](const tern::Piece& piece) {
//     std::cout << piece.text << std::flush;
//     return tern::Continue::yes;
//   });
//
// Nothing here throws (std::bad_alloc apart), prints or exits.
#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tern/error.hpp>
#include <tern/export.hpp>
#include <vector>

namespace tern {

using TokenId = std::uint32_t;

/// The attention cache. Types are named as docs/kv-cache.md lists them: "f16", "q8_0", "turbo4"...
/// A query at position p reads position s as 16-bit floats if s < sinks, s > p - recent or
/// p < quantized_start, and as codes otherwise; so results depend on tokens and positions alone.
struct KvOptions {
  /// "turbo4"; "turbo4:turbo3" for keys and values apart. Empty: what the model's name promises
  /// (-TQ-KV: turbo4, -RQ-KV: iso4), else f16.
  std::string keys = {};
  std::string values = {};          ///< empty: as `keys` says
  std::size_t sinks = 4;            ///< first tokens that stay 16-bit
  std::size_t recent = 128;         ///< last tokens that are still 16-bit
  std::size_t quantized_start = 0;  ///< before it, nothing is quantized
  /// Attention layers that stay f16, counted from 0 among the attention layers.
  std::vector<std::size_t> full_layers = {};
};

class Cancel;

struct LoadOptions {
  std::size_t threads = 0;  ///< 0: every CPU that the process may use
  /// Most tokens that a conversation may hold; 0: the model's own limit, or what memory allows.
  std::size_t context = 0;
  KvOptions kv = {};
  /// Moves the rotation of the cache type into copies of the projections, in float32. Not for
  /// quantized models. Folders that tern fold wrote need it not.
  bool fold = false;
  /// How a session keeps recurrent state that it does not compute with (points to go back to,
  /// rest): "f32", "lossless", or with loss "q8", "q6", "q4"; docs/state.md has sizes and losses.
  std::string state_codec = "f32";
  std::size_t prefill_chunk = 512;  ///< tokens that are processed together; also the cancel grain
  /// Whether a model that is named, and is not in the cache, is downloaded. Without it that is an
  /// error which says how to fetch it.
  bool pull = false;
  std::string revision = {};       ///< of a named model: branch, tag or commit; empty: main
  const Cancel* cancel = nullptr;  ///< stops a download; what has arrived is kept
  /// Called while the model is opened and between prefill chunks, on the thread that waits for it:
  /// what, done, total. While "downloading", done and total are bytes; while "reading the prompts"
  /// (generate_batch), tokens of all of them.
  std::function<void(std::string_view what, std::size_t done, std::size_t total)> progress = {};
};

/// One turn of a conversation.
struct Message {
  std::string role;  ///< "system", "user", "assistant" or "tool"
  std::string content;
  std::string reasoning_content = {};  ///< assistant only: what it thought; "" for none
};

struct ChatTemplateOptions {
  bool add_generation_prompt = true;
  bool enable_thinking = true;
  std::string tools_json = {};      ///< JSON array of OpenAI-shaped tools; "" for none
  std::string variables_json = {};  ///< JSON object of further template variables; "" for none
  std::string chat_template = {};   ///< a template to use instead of the model's own; "" for none
};

/// How the next token is chosen: penalties, logit_bias, then temperature, top_k, top_p, min_p, as
/// in transformers. A value that is not set takes the family's default for the mode: with thinking
/// temperature 0.6, top_p 0.95 (or what generation_config.json says); without, temperature 0.2,
/// top_k 1, where the latter only holds if temperature, top_p and min_p are not set either.
struct SamplingOptions {
  std::optional<float> temperature = {};  ///< 0: greedy
  std::optional<std::size_t> top_k = {};  ///< 0: off
  std::optional<float> top_p = {};        ///< (0, 1]; 1: off
  std::optional<float> min_p = {};        ///< [0, 1); 0: off
  /// > 0; 1: off (as in transformers). Default: generation_config.json's, else 1.
  std::optional<float> repetition_penalty = {};
  /// Last tokens that the penalties look at; 0: all, which is the default for a penalty of the
  /// model's own, as in transformers; else the default is 64.
  std::optional<std::size_t> repetition_window = {};
  float presence_penalty = 0.0f;             ///< [-2, 2]; of generated tokens, as in OpenAI's API
  float frequency_penalty = 0.0f;            ///< [-2, 2]; the same
  std::map<TokenId, float> logit_bias = {};  ///< added to logits; -100 and below bans
  /// The same seed gives the same tokens, whatever the machine's threads; the largest value:
  /// random.
  std::uint64_t seed = std::numeric_limits<std::uint64_t>::max();
};

struct GenerateOptions {
  SamplingOptions sampling = {};
  std::optional<std::size_t> max_tokens = {};  ///< default 20480 thinking, 1024 not
  /// Texts that end the answer and are not part of it. They are looked for in the content, not in
  /// the reasoning.
  std::vector<std::string> stop = {};
  bool ignore_eos = false;  ///< go on after 2 and 11 (benchmarks)
  /// Thinking tokens after which a newline or sentence end is waited for, at most `grace` more, and
  /// then </think> is forced. Default 16384 and 1024; only while thinking. Budget 0: no thought.
  std::optional<std::size_t> reasoning_budget = {};
  std::optional<std::size_t> reasoning_grace = {};
  /// Whether the prompt left the model thinking. Not set: found from the prompt's last think tag; a
  /// prompt without one is continued to the letter, else white space around the answer is dropped.
  std::optional<bool> thinking = {};
};

enum class Continue : bool { no, yes };

/// A piece of the answer as it appears; always whole UTF-8 characters, never empty.
struct Piece {
  std::string_view text;
  bool reasoning = false;  ///< inside <think>
};
using OnPiece = std::function<Continue(const Piece&)>;

enum class FinishReason : std::uint8_t {
  stop,       ///< an end-of-turn token or a stop text
  length,     ///< max_tokens, or the context is full
  cancelled,  ///< the callback or a Cancel said so
};
TERN_EXPORT std::string_view name(FinishReason reason);

/// What came out, and what it cost.
struct Generation {
  std::string content;    ///< the answer, without reasoning
  std::string reasoning;  ///< what was thought
  FinishReason finish = FinishReason::stop;
  std::vector<TokenId> tokens;  ///< as generated, end token included
  std::size_t prompt_tokens = 0;
  std::size_t reasoning_tokens = 0;
  std::size_t reused_tokens = 0;  ///< prompt tokens that the session already held
  std::chrono::duration<double> prefill_time{0};
  std::chrono::duration<double> decode_time{0};
  std::uint64_t seed = 0;  ///< the one that was used
};

/// Called after every chunk of a prompt: tokens read, and all of them; no: stops.
using OnRead = std::function<Continue(std::size_t done, std::size_t total)>;

/// Stops a generation from another thread or a signal handler: `cancel.request()`.
class Cancel {
 public:
  void request() noexcept { requested_.store(true, std::memory_order_relaxed); }
  void reset() noexcept { requested_.store(false, std::memory_order_relaxed); }
  bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> requested_{false};
};

class Model;

/// One conversation: the tokens so far and the state that they left. What the session already holds
/// of a prompt is not read again; when a prompt leaves what is held, reading goes on from the last
/// turn before. Belongs to one thread at a time; keeps its model loaded.
class TERN_EXPORT Session {
 public:
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  /// Reads `prompt` (ids, the whole conversation), then generates. Afterwards the session holds
  /// prompt and answer; the last token of the answer is read with the next prompt.
  /// @error too_large  the prompt leaves no room in the context; the session is unchanged.
  /// @error mismatch   an id outside the vocabulary; the session is unchanged.
  /// @error usage      an option outside its range.
  /// @error numeric    activations or logits that are not finite: a broken model file.
  /// @error no_memory  the session holds what was read so far, or nothing.
  Result<Generation> generate(std::span<const TokenId> prompt, const GenerateOptions& options = {},
                              const OnPiece& on_piece = {}, const Cancel* cancel = nullptr);

  /// Logits [tokens, vocabulary] of every position of `tokens`, appended to the session.
  /// @error too_large, mismatch, numeric, no_memory  as generate
  /// @error cancelled  the session holds whole chunks of `tokens`
  Result<std::vector<float>> logits(std::span<const TokenId> tokens,
                                    const Cancel* cancel = nullptr);

  /// Appends `tokens` to what is held, in chunks; `last_logits` are then those of the last one.
  /// @error usage  no tokens
  /// @error too_large, mismatch  the session is unchanged
  /// @error cancelled, no_memory  it holds whole chunks of `tokens`. numeric  it is empty
  Result<void> read(std::span<const TokenId> tokens, const OnRead& on_read = {},
                    const Cancel* cancel = nullptr);
  /// [vocabulary] of the last token held, when `read` or `truncate` was the last to read one; else
  /// empty. Valid until the session changes.
  std::span<const float> last_logits() const;
  /// Appends one token to each of several sessions of one model in one step, which reads the
  /// weights once for all of them; `last_logits` of each are then what `read` would give, to the
  /// bit.
  /// @param sessions  no two the same. @param tokens  one for each
  /// @return of each, errors as `read`; usage for all: sessions of several models, one that comes
  ///         twice, or another number of tokens, and then nothing was read
  static std::vector<Result<void>> step(std::span<Session* const> sessions,
                                        std::span<const TokenId> tokens);
  /// What is held; valid until the session changes.
  std::span<const TokenId> tokens() const;

  /// Makes the present position a point to go back to, which costs a copy of the recurrent state
  /// (ModelInfo::state_bytes; LoadOptions::state_codec). Two are kept; `generate` makes its own.
  void mark();
  /// Keeps the first `position` tokens. Recurrent state cannot be taken back, so this goes on from
  /// the last point before and reads the tokens from there to `position` again: the same bits as if
  /// the rest had never been read (with a lossless state_codec).
  /// @error usage  fewer are held. cancelled, no_memory  the session holds a beginning of them.
  Result<void> truncate(std::size_t position, const Cancel* cancel = nullptr);
  /// An independent copy. @error no_memory
  Result<Session> fork() const;
  /// Writes the session to a file, atomically; Model::load_session reads it. Logits and points to
  /// go back to are not kept.
  /// @param metadata  a text of the caller's, at most 1 MB of UTF-8
  /// @error io, busy  the file cannot be written, and what was there is unchanged. usage, no_memory
  Result<void> save(const std::string& path, std::string_view metadata = {}) const;

  /// Packs the recurrent state until the session is used again: as LoadOptions::state_codec says,
  /// without loss if that is f32.
  /// @error no_memory  the session is unchanged
  Result<void> rest();

  /// Tokens held.
  std::size_t position() const;
  /// Forgets everything.
  void reset();

  struct State;

 private:
  friend class Model;  // new_session, generate_batch
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// What a file of Session::save says of itself.
struct SavedSession {
  std::string model;  ///< as it was given to load
  std::size_t tokens = 0;
  std::string metadata;  ///< the caller's text
};
/// @error not_found, io, corrupt  as Model::load_session
TERN_EXPORT Result<SavedSession> inspect_session(const std::string& path);

/// One of several prompts that are answered together.
struct BatchRequest {
  std::vector<TokenId> prompt;
  GenerateOptions options = {};
  OnPiece on_piece = {};           ///< called by the thread that waits for the batch
  const Cancel* cancel = nullptr;  ///< of this request alone
  /// Goes on with what the session holds, as Session::generate; in no other request of the batch.
  /// Null: a session of its own.
  Session* session = nullptr;
};

struct BatchOptions {
  std::size_t sequences = 8;  ///< most that are answered at a time
  /// Bytes that keys, values and states of those may come to take, each as long as it may get; who
  /// does not fit waits. 0: three quarters of the machine's memory without the weights.
  std::uint64_t memory = 0;
};

/// What a model is and needs.
struct ModelInfo {
  std::string name;          ///< as given to load
  std::string architecture;  ///< for example "nemotron_h"
  std::string container;     ///< "safetensors" or "gguf"
  std::size_t layers = 0;
  std::size_t vocabulary = 0;
  std::size_t context = 0;  ///< tokens
  std::uint64_t parameters = 0;
  std::uint64_t weight_bytes = 0;
  std::string kv_keys;  ///< cache types, for example "turbo4"
  std::string kv_values;
  bool kv_from_name = false;                ///< the model's name asked for them
  std::uint64_t kv_bytes_per_token = 0;     ///< of a long context, windows apart
  std::uint64_t kv_window_bytes = 0;        ///< of the 16-bit first and last tokens
  std::uint64_t state_bytes = 0;            ///< recurrent state of one session
  std::uint64_t resident_weight_bytes = 0;  ///< of the mapped files, in memory now
  std::size_t trained_context = 0;          ///< tokens that the model was made for; 0: not said
};

/// What the tokenizer knows beyond text and ids.
struct TokenizerInfo {
  std::size_t size = 0;                               ///< ids that have a text
  std::vector<TokenId> end_tokens;                    ///< any of them ends an answer; ascending
  std::map<std::string, std::string> special_tokens;  ///< "bos_token", "eos_token"...: their text
  std::optional<TokenId> think = {};                  ///< <think>
  std::optional<TokenId> end_think = {};              ///< </think>
  std::string chat_template;                          ///< its source; "" for none
};

/// A loaded model. Weights stay in their mapped files. Safe to share between threads; generations
/// take turns, token by token.
class TERN_EXPORT Model {
 public:
  /// @param model  a directory, a .gguf file, "demo", the model inside the library, or the name of
  ///               a model: "majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-TurboQuant-MLX-4bit",
  ///               found in the cache of Hugging Face's tools (docs/models.md)
  /// @error not_found, corrupt, unsupported, mismatch (all misfits at once), too_large, io; with
  ///        `pull` what a download adds: unreachable, offline, denied (no access), cancelled
  static Result<Model> load(std::string_view model, const LoadOptions& options = {});

  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  ModelInfo info() const;

  /// The prompt for a conversation, as the model's own template renders it.
  Result<std::string> apply_chat_template(std::span<const Message> messages,
                                          const ChatTemplateOptions& options = {}) const;
  Result<std::string> apply_chat_template(std::initializer_list<Message> messages,
                                          const ChatTemplateOptions& options = {}) const;
  /// The same for messages as a JSON array in the OpenAI shape (parts, tool calls, tool results).
  Result<std::string> apply_chat_template_json(std::string_view messages_json,
                                               const ChatTemplateOptions& options = {}) const;

  /// Ids of a prompt. @param parse_special  false for text that must not become control tokens
  std::vector<TokenId> tokenize(std::string_view text, bool parse_special = true) const;
  std::string detokenize(std::span<const TokenId> tokens, bool skip_special = false) const;

  /// Text of a small file beside the weights ("config.json"), nothing where there is none; for GGUF
  /// and unknown names always nothing.
  /// @error io, too_large, usage (no plain file name)
  Result<std::optional<std::string>> side_file(std::string_view name) const;
  TokenizerInfo tokenizer_info() const;

  Session new_session() const;
  /// With a cache of its own; types that are left open are the model's.
  /// @error usage, unsupported  an unknown type or one that does not fit the model
  Result<Session> new_session(const KvOptions& kv) const;
  /// A session that Session::save wrote: goes on with the same bits. Its cache type is the saved
  /// one.
  /// @param metadata  receives the caller's text; may be null
  /// @error not_found, io, corrupt; mismatch  of another model; too_large  longer than the context
  Result<Session> load_session(const std::string& path, std::string* metadata = nullptr) const;

  /// One answer to a rendered prompt, in a session of its own.
  Result<Generation> generate(std::string_view prompt, const GenerateOptions& options = {},
                              const OnPiece& on_piece = {}, const Cancel* cancel = nullptr) const;

  /// Answers all requests, several at a time: every step reads the weights once for all of them.
  /// One that is complete leaves, and the next joins while the others go on. What each answers is
  /// the same as alone. Times are of the steps that an answer took part in.
  /// @return in order of `requests`; errors as Session::generate, of one request alone
  std::vector<Result<Generation>> generate_batch(std::span<const BatchRequest> requests,
                                                 const BatchOptions& options = {}) const;

  struct State;

 private:
  explicit Model(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace tern
