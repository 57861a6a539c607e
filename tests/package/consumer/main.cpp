// Uses each part of the public interface once; the status says whether it held.
#include <cstdio>
#include <tern/tern.hpp>

int main() {
  const auto missing = tern::Model::load("/no/such/model");
  if (missing || tern::exit_status(missing.error().code) == 0) return 1;

  auto model = tern::Model::load("demo", {.threads = 2, .context = 512});
  if (!model) {
    std::fprintf(stderr, "%s\n", model.error().message().c_str());
    return 2;
  }
  if (model->info().context != 512) return 3;
  const auto prompt = model->apply_chat_template({{.role = "user", .content = "Hello"}});
  if (!prompt || model->detokenize(model->tokenize(*prompt)) != *prompt) return 4;

  tern::Session session = model->new_session();
  std::string streamed;
  const auto answer =
      session.generate(model->tokenize(*prompt), {.max_tokens = 8}, [&](const tern::Piece& piece) {
        streamed += piece.text;
        return tern::Continue::yes;
      });
  if (!answer || answer->reasoning + answer->content != streamed) return 5;
  if (session.position() < answer->prompt_tokens) return 6;
  std::printf("%s: %zu tokens\n", std::string(tern::name(answer->finish)).c_str(),
              answer->tokens.size());
  return 0;
}
