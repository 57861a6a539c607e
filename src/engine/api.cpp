// The public interface over the engine.
#include <algorithm>
#include <new>
#include <tern/tern.hpp>

#include "engine/engine.h"
#include "engine/scheduler.h"
#include "engine/session.h"
#include "engine/session_file.h"

namespace tern {

std::string_view name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      break;
  }
  return "cancelled";
}

struct Model::State {
  std::unique_ptr<engine::Engine> engine;
};

struct Session::State {
  State(std::shared_ptr<Model::State> owner, engine::Session held)
      : model(std::move(owner)), session(std::move(held)) {}

  std::shared_ptr<Model::State> model;  // keeps the engine alive
  engine::Session session;
};

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Result<Generation> Session::generate(std::span<const TokenId> prompt,
                                     const GenerateOptions& options, const OnPiece& on_piece,
                                     const Cancel* cancel) {
  return state_->session.generate(prompt, options, on_piece, cancel);
}

Result<std::vector<float>> Session::logits(std::span<const TokenId> tokens, const Cancel* cancel) {
  return state_->session.logits(tokens, cancel);
}

Result<void> Session::read(std::span<const TokenId> tokens, const OnRead& on_read,
                           const Cancel* cancel) {
  return state_->session.read(tokens, on_read, cancel);
}

std::vector<Result<void>> Session::step(std::span<Session* const> sessions,
                                        std::span<const TokenId> tokens) {
  const auto refused = [&](const char* what) {
    return std::vector<Result<void>>(sessions.size(), fail(ErrorCode::usage, what, "sessions"));
  };
  if (sessions.size() != tokens.size()) return refused("there must be one token for each session");
  std::vector<engine::Session*> held;
  for (Session* const session : sessions) {
    if (session->state_->model != sessions.front()->state_->model)
      return refused("the sessions belong to several models");
    held.push_back(&session->state_->session);
  }
  std::vector<engine::Session*> sorted = held;
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted) != sorted.end()) return refused("a session comes twice");
  return engine::Session::step(held, tokens);
}

std::span<const float> Session::last_logits() const {
  return state_->session.last_logits();
}

std::span<const TokenId> Session::tokens() const {
  return state_->session.tokens();
}

void Session::mark() {
  state_->session.mark();
}

Result<void> Session::truncate(std::size_t position, const Cancel* cancel) {
  return state_->session.truncate(position, cancel);
}

Result<Session> Session::fork() const {
  TERN_TRY(engine::Session copy, state_->session.fork());
  return Session(std::make_unique<State>(state_->model, std::move(copy)));
}

Result<void> Session::save(const std::string& path, std::string_view metadata) const {
  return engine::save_session(*state_->model->engine, state_->session.context(), metadata, path);
}

Result<void> Session::rest() {
  return state_->session.rest();
}

std::size_t Session::position() const {
  return state_->session.position();
}

void Session::reset() {
  state_->session.reset();
}

Result<SavedSession> inspect_session(const std::string& path) {
  return engine::inspect_session(path);
}

Model::Model(std::shared_ptr<State> state) : state_(std::move(state)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Result<Model> Model::load(std::string_view model, const LoadOptions& options) try {
  TERN_TRY(auto engine, engine::Engine::load(model, options));
  return Model(std::make_shared<State>(State{std::move(engine)}));
} catch (const std::bad_alloc&) {
  return std::unexpected(
      Error{ErrorCode::no_memory, "out of memory while loading", std::string(model)});
}

ModelInfo Model::info() const {
  return state_->engine->info();
}

Result<std::string> Model::apply_chat_template(std::span<const Message> messages,
                                               const ChatTemplateOptions& options) const {
  return state_->engine->chat().render(messages, options);
}

Result<std::string> Model::apply_chat_template(std::initializer_list<Message> messages,
                                               const ChatTemplateOptions& options) const {
  return apply_chat_template(std::span(messages.begin(), messages.size()), options);
}

Result<std::string> Model::apply_chat_template_json(std::string_view messages_json,
                                                    const ChatTemplateOptions& options) const {
  return state_->engine->chat().render_json(messages_json, options);
}

std::vector<TokenId> Model::tokenize(std::string_view text, bool parse_special) const {
  return state_->engine->vocabulary().tokenizer.encode(
      text, parse_special ? text::Specials::parse : text::Specials::ignore);
}

std::string Model::detokenize(std::span<const TokenId> tokens, bool skip_special) const {
  return state_->engine->vocabulary().tokenizer.decode(tokens, skip_special);
}

Result<std::optional<std::string>> Model::side_file(std::string_view name) const {
  TERN_TRY(const auto text, state_->engine->checkpoint().side_file(name));
  return text ? std::optional(std::string(*text)) : std::nullopt;
}

TokenizerInfo Model::tokenizer_info() const {
  const engine::Vocabulary& vocabulary = state_->engine->vocabulary();
  const engine::Chat& chat = state_->engine->chat();
  return {.size = vocabulary.tokenizer.vocabulary_size(),
          .end_tokens = vocabulary.end_tokens,
          .special_tokens = chat.special_token_texts(),
          .think = vocabulary.think,
          .end_think = vocabulary.end_think,
          .chat_template = chat.source()};
}

Session Model::new_session() const {
  return Session(std::make_unique<Session::State>(state_, engine::Session(*state_->engine)));
}

Result<Session> Model::new_session(const KvOptions& kv) const {
  engine::Engine& engine = *state_->engine;
  TERN_TRY(state::KvConfig config, engine.kv_config(kv));
  engine::Session session(engine, engine::Context(engine, std::move(config)));
  return Session(std::make_unique<Session::State>(state_, std::move(session)));
}

Result<Session> Model::load_session(const std::string& path, std::string* metadata) const {
  engine::Engine& engine = *state_->engine;
  TERN_TRY(engine::StoredSession stored, engine::load_session(engine, path));
  if (metadata != nullptr) *metadata = std::move(stored.metadata);
  engine::Session session(engine, std::move(stored.context));
  return Session(std::make_unique<Session::State>(state_, std::move(session)));
}

Result<Generation> Model::generate(std::string_view prompt, const GenerateOptions& options,
                                   const OnPiece& on_piece, const Cancel* cancel) const {
  return new_session().generate(tokenize(prompt), options, on_piece, cancel);
}

std::vector<Result<Generation>> Model::generate_batch(std::span<const BatchRequest> requests,
                                                      const BatchOptions& options) const {
  std::vector<Result<Generation>> results(requests.size());
  engine::Scheduler scheduler(*state_->engine, options);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const BatchRequest& request = requests[i];
    scheduler.submit(
        {.prompt = request.prompt,
         .options = request.options,
         .on_piece = request.on_piece,
         .cancel = request.cancel,
         .context = request.session ? &request.session->state_->session.context() : nullptr,
         .on_done = [&results, i](Result<Generation> result) { results[i] = std::move(result); }});
  }
  while (scheduler.step()) {
  }
  return results;
}

}  // namespace tern
