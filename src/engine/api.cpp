// The public interface over the engine.
#include <new>
#include <tern/tern.hpp>

#include "engine/engine.h"
#include "engine/scheduler.h"
#include "engine/session.h"

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
  State(std::shared_ptr<Model::State> owner, engine::Engine& engine)
      : model(std::move(owner)), session(engine) {}

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

Result<void> Session::rest() {
  return state_->session.rest();
}

std::size_t Session::position() const {
  return state_->session.position();
}

void Session::reset() {
  state_->session.reset();
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

Session Model::new_session() const {
  return Session(std::make_unique<Session::State>(state_, *state_->engine));
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
