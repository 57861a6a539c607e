#include "eval/answering.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/json.h"
#include "eval/random.h"

namespace tern::eval {
namespace {

constexpr std::size_t kLongestThought = 512;  // tokens of an answer that may think

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         (c & '\x80') != 0;
}

bool is_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && std::ranges::all_of(text, is_digit);
}

/// The last number, with the minus sign that stands before it and after no other digit.
std::string_view last_number(std::string_view text) {
  const auto end = text.find_last_of("0123456789");
  if (end == std::string_view::npos) return {};
  std::size_t begin = end;
  while (begin > 0 && is_digit(text[begin - 1])) --begin;
  if (begin > 0 && text[begin - 1] == '-') --begin;
  return text.substr(begin, end + 1 - begin);
}

TokenId likeliest(std::span<const float> logits, std::span<const TokenId> banned) {
  TokenId best = 0;
  bool found = false;
  for (TokenId id = 0; id < logits.size(); ++id) {
    if (found && logits[id] <= logits[best]) continue;
    if (std::ranges::binary_search(banned, id)) continue;
    best = id;
    found = true;
  }
  return best;
}

Result<void> read_prompt(engine::Engine& engine, state::Sequence& sequence,
                         std::span<const TokenId> prompt, std::span<float> logits,
                         const Watch& watch) {
  for (std::size_t at = 0; at < prompt.size(); at += engine.prefill_chunk()) {
    TERN_TRY_VOID(watch.check());
    const auto part = prompt.subspan(at, std::min(engine.prefill_chunk(), prompt.size() - at));
    const bool last = at + part.size() == prompt.size();
    TERN_TRY_VOID(engine.forward(part, sequence,
                                 last ? model::LogitsMode::last : model::LogitsMode::none,
                                 last ? logits : std::span<float>()));
  }
  return {};
}

/// The ids after the end of the thinking, if there was any.
std::span<const TokenId> content(const engine::Vocabulary& vocabulary,
                                 std::span<const TokenId> ids) {
  if (!vocabulary.end_think) return ids;
  const auto end = std::ranges::find(ids, *vocabulary.end_think);
  return end == ids.end() ? ids : ids.subspan(static_cast<std::size_t>(end - ids.begin()) + 1);
}

Result<Question> parse_question(const engine::Engine& engine, std::string_view line,
                                const std::string& where) {
  TERN_TRY(const json::value value, parse_json(line, where));
  if (!value.is_object()) return fail(ErrorCode::corrupt, "expected a JSON object", where);
  const json::object& object = value.get_object();
  Question question;
  TERN_TRY(question.expected, get_string(object, "expected", where));
  TERN_TRY(const bool thinking, get_bool_or(object, "enable_thinking", false, where));
  for (const auto& [key, to] :
       {std::pair<const char*, std::string*>{"id", &question.id}, {"category", &question.category}})
    if (const auto* text = object.if_contains(key); text != nullptr && text->is_string())
      *to = text->get_string();
  const json::value* messages = object.if_contains("messages");
  if (messages == nullptr || !messages->is_array())
    return fail(ErrorCode::corrupt, "\"messages\" is no array", where);
  TERN_TRY(const std::string prompt,
           engine.chat().render(messages->get_array(), {.enable_thinking = thinking}));
  question.prompt = engine.vocabulary().tokenizer.encode(prompt);
  if (thinking) question.max_tokens = kLongestThought;
  return question;
}

}  // namespace

Result<std::optional<std::string>> answer(engine::Engine& engine, state::Sequence& sequence,
                                          const Question& question, const Watch& watch) {
  const engine::Vocabulary& vocabulary = engine.vocabulary();
  sequence.reset();
  std::vector<float> logits(vocabulary.size);
  TERN_TRY_VOID(read_prompt(engine, sequence, question.prompt, logits, watch));
  std::vector<TokenId> ids;
  while (ids.size() < question.max_tokens) {
    const TokenId next = likeliest(logits, vocabulary.media);
    if (vocabulary.ends(next))
      return vocabulary.tokenizer.decode(content(vocabulary, ids), /*skip_special=*/true);
    ids.push_back(next);
    TERN_TRY_VOID(watch.check());
    TERN_TRY_VOID(engine.forward({&next, 1}, sequence, model::LogitsMode::last, logits));
  }
  return std::nullopt;
}

bool is_right(std::string_view answer, std::string_view expected) {
  if (expected.empty()) return false;
  if (is_number(expected)) return last_number(answer) == expected;
  for (auto at = answer.find(expected); at != std::string_view::npos;
       at = answer.find(expected, at + 1)) {
    const std::size_t end = at + expected.size();
    if ((at == 0 || !is_word(answer[at - 1])) && (end == answer.size() || !is_word(answer[end])))
      return true;
  }
  return false;
}

Result<std::vector<TokenId>> prompt_of(const engine::Engine& engine,
                                       std::span<const Message> messages, bool thinking) {
  TERN_TRY(const std::string text, engine.chat().render(messages, {.enable_thinking = thinking}));
  return engine.vocabulary().tokenizer.encode(text);
}

Result<std::vector<Question>> parse_questions(const engine::Engine& engine, std::string_view lines,
                                              std::string_view where) {
  std::vector<Question> questions;
  for (std::size_t number = 1; !lines.empty(); ++number) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    TERN_TRY(auto question,
             parse_question(engine, line, fmt::format("{}, line {}", where, number)));
    questions.push_back(std::move(question));
  }
  if (questions.empty())
    return fail(ErrorCode::usage, "holds no question", std::string(where),
                "one JSON object on each line");
  return questions;
}

Result<std::vector<Question>> arithmetic_questions(const engine::Engine& engine, std::size_t count,
                                                   std::uint64_t seed) {
  Random random(seed ^ 0xa517);
  std::vector<Question> questions;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t a = random.between(11, 99), b = random.between(11, 99);
    const std::size_t kind = i % 4;  // half of them products
    const auto text = kind == 0   ? fmt::format("What is {} + {}?", a, b)
                      : kind == 1 ? fmt::format("What is {} - {}?", std::max(a, b), std::min(a, b))
                                  : fmt::format("Solve: {} * {}", a, b);
    const std::size_t result = kind == 0   ? a + b
                               : kind == 1 ? std::max(a, b) - std::min(a, b)
                                           : a * b;
    const bool thinking = kind >= 2;
    const Message message{"user", text};
    TERN_TRY(auto prompt, prompt_of(engine, {&message, 1}, thinking));
    questions.push_back({fmt::format("arithmetic-{}", i), "arithmetic", std::move(prompt),
                         std::to_string(result), kLongestThought});
  }
  return questions;
}

Result<std::vector<Accuracy>> ask(engine::Engine& engine,
                                  std::span<state::Sequence* const> sequences,
                                  std::span<const Question> questions, std::string_view what,
                                  const Watch& watch) {
  std::vector<Accuracy> accuracy(sequences.size());
  const std::size_t total = questions.size() * sequences.size();
  std::size_t done = 0;
  for (const Question& question : questions) {
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      watch.report(what, done++, total);
      TERN_TRY(const auto text, answer(engine, *sequences[i], question, watch));
      ++accuracy[i].asked;
      if (text && is_right(*text, question.expected)) ++accuracy[i].right;
    }
  }
  watch.report(what, total, total);
  return accuracy;
}

}  // namespace tern::eval
