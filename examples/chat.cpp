// A chat in the terminal: example_chat [model], then one question for each line.
#include <iostream>
#include <string>
#include <tern/tern.hpp>
#include <vector>

int main(int argc, char** argv) {
  auto model = tern::Model::load(argc > 1 ? argv[1] : "demo");
  if (!model) {
    std::cerr << model.error().message() << '\n';
    return tern::exit_status(model.error().code);
  }
  // The session keeps what it has read: each turn reads only what is new.
  tern::Session session = model->new_session();
  std::vector<tern::Message> messages;

  for (std::string line; std::cout << "> " << std::flush, std::getline(std::cin, line);) {
    messages.push_back({.role = "user", .content = line});
    const auto prompt = model->apply_chat_template(messages);
    if (!prompt) {
      std::cerr << prompt.error().message() << '\n';
      return tern::exit_status(prompt.error().code);
    }
    const auto answer =
        session.generate(model->tokenize(*prompt), {}, [](const tern::Piece& piece) {
          (piece.reasoning ? std::cerr : std::cout) << piece.text << std::flush;
          return tern::Continue::yes;
        });
    if (!answer) {
      std::cerr << answer.error().message() << '\n';
      return tern::exit_status(answer.error().code);
    }
    std::cout << '\n';
    messages.push_back(
        {.role = "assistant", .content = answer->content, .reasoning_content = answer->reasoning});
  }
}
