#include "eval/conversation.h"

#include <algorithm>
#include <set>
#include <span>

namespace tern::eval {
namespace {

constexpr const char* kThings[] = {
    "amber",    "anchor", "apple",   "arrow",   "badge",   "basket",  "beacon",  "bell",
    "bottle",   "branch", "bridge",  "button",  "cabin",   "camera",  "candle",  "canyon",
    "castle",   "circle", "cloud",   "copper",  "coral",   "crystal", "desert",  "diamond",
    "dragon",   "eagle",  "engine",  "falcon",  "feather", "forest",  "fossil",  "fountain",
    "garden",   "garnet", "ginger",  "glacier", "granite", "hammer",  "harbor",  "island",
    "ivory",    "jacket", "jasper",  "jungle",  "kettle",  "ladder",  "lantern", "lemon",
    "lily",     "magnet", "maple",   "marble",  "meadow",  "mirror",  "moon",    "mountain",
    "needle",   "ocean",  "olive",   "onyx",    "opal",    "orchid",  "otter",   "palace",
    "panda",    "paper",  "pearl",   "pepper",  "pillow",  "planet",  "prism",   "quartz",
    "rabbit",   "raven",  "ribbon",  "river",   "rocket",  "ruby",    "saddle",  "saffron",
    "sapphire", "shadow", "silver",  "spider",  "spruce",  "star",    "storm",   "sugar",
    "sunset",   "temple", "thunder", "tiger",   "topaz",   "tower",   "tulip",   "tunnel",
    "turtle",   "valley", "velvet",  "violet",  "walnut",  "willow",  "window",  "winter"};
constexpr const char* kNouns[] = {"code", "number", "password", "secret code", "pin"};
constexpr const char* kQuestions[] = {"What is the ", "Tell me the ", "What was the ",
                                      "Give me the "};
constexpr const char* kSubjects[] = {"The old man",
                                     "A small bird",
                                     "The river",
                                     "My neighbor",
                                     "The wind",
                                     "A young woman",
                                     "The train",
                                     "The teacher",
                                     "Our team",
                                     "The children",
                                     "The market",
                                     "A quiet street",
                                     "The morning light",
                                     "The gardener",
                                     "The library",
                                     "The shop on the corner",
                                     "The road to the north",
                                     "An empty boat",
                                     "The village",
                                     "A group of friends",
                                     "The sky",
                                     "The captain",
                                     "The long winter",
                                     "The clock on the wall"};
constexpr const char* kVerbs[] = {
    "walked slowly past", "looked over",      "was close to",       "waited near",
    "moved along",        "turned toward",    "could be seen from", "stood behind",
    "came back to",       "was painted like", "ran across",         "changed with",
    "sounded like",       "kept watch over",  "rested beside",      "was much older than"};
constexpr const char* kObjects[] = {
    "the hills",       "the water",      "a row of houses", "the open field",  "the stone wall",
    "the bridge",      "an old tree",    "the harbor",      "the busy square", "a narrow path",
    "the last lamp",   "the tall grass", "the station",     "the mountains",   "a closed door",
    "the evening sun", "the garden",     "the first snow",  "a field of corn", "the lighthouse"};
constexpr const char* kTails[] = {"",
                                  " in the early morning",
                                  " after the rain",
                                  " without a sound",
                                  " for a long time",
                                  " as always",
                                  " before noon",
                                  " while people talked",
                                  " at the end of the day",
                                  " and nobody noticed",
                                  " on that cold day",
                                  " again and again"};

constexpr std::size_t kMostQuestions = 16, kTokensOfTurn = 35;

std::string digits(Random& random) {
  std::string text;
  for (std::size_t n = random.between(3, 5); n > 0; --n)
    text += static_cast<char>('0' + random.below(10));
  return text;
}

/// A conversation over `facts` facts and `fillers` other sentences, with `questions` questions.
Conversation recall(Random random, std::size_t facts, std::size_t questions, std::size_t fillers) {
  const std::vector<Fact> known = make_facts(random, facts);
  std::vector<std::string> sentences;
  for (const Fact& fact : known) sentences.push_back(fact.text);
  for (std::size_t i = 0; i < fillers; ++i) sentences.push_back(filler_sentence(random));
  random.shuffle(sentences);
  std::string body;
  for (const std::string& sentence : sentences) body += sentence + " ";
  body.back() = '\n';
  std::vector<std::size_t> order(facts);
  for (std::size_t i = 0; i < facts; ++i) order[i] = i;
  random.shuffle(order);
  Conversation conversation;
  for (const std::size_t i : std::span(order).first(questions))
    conversation.push_back({known[i].question, known[i].text});
  conversation.front().question = body + "\n" + conversation.front().question;
  return conversation;
}

/// The longest conversation of one random stream that fits `context` tokens.
Result<Window> fitted(const engine::Engine& engine, std::size_t context, std::uint64_t seed) {
  Random random(seed);
  const std::size_t facts =
      std::clamp<std::size_t>(random.between(context / 90, context / 60), 2, 60);
  // Half of the text at most is questions and answers.
  const std::size_t questions =
      std::clamp<std::size_t>(context / 2 / kTokensOfTurn, 1, std::min(facts, kMostQuestions));
  // Sentences take 13 tokens or so; what is over or under is corrected.
  std::size_t fillers = context / 13;
  while (true) {
    TERN_TRY(auto window, transcript(engine, recall(random, facts, questions, fillers)));
    if (window.tokens.size() <= context) return window;
    if (fillers == 0)
      return fail(ErrorCode::too_large,
                  "a conversation of " + std::to_string(window.tokens.size()) +
                      " tokens does not fit a window of " + std::to_string(context),
                  "context");
    const std::size_t over = window.tokens.size() - context;
    fillers -= std::min(fillers, std::max<std::size_t>(1, over / 16));
  }
}

}  // namespace

std::vector<Fact> make_facts(Random& random, std::size_t count) {
  std::vector<Fact> facts;
  std::set<std::size_t> used;
  while (facts.size() < count) {
    const std::size_t thing = random.below(std::size(kThings));
    if (!used.insert(thing).second) continue;
    if (used.size() == std::size(kThings)) used.clear();
    const std::string about = std::string(random.pick(kNouns)) + " for " + kThings[thing];
    const std::string value = digits(random);
    facts.push_back(
        {"The " + about + " is " + value + ".", random.pick(kQuestions) + about + "?", value});
    if (facts.back().question.starts_with("Tell") || facts.back().question.starts_with("Give"))
      facts.back().question.back() = '.';
  }
  return facts;
}

std::string filler_sentence(Random& random) {
  const std::string subject = random.pick(kSubjects), verb = random.pick(kVerbs),
                    object = random.pick(kObjects), tail = random.pick(kTails);
  return subject + " " + verb + " " + object + tail + ".";
}

Result<Window> transcript(const engine::Engine& engine, const Conversation& conversation) {
  std::vector<Message> messages;
  for (const Turn& turn : conversation) {
    messages.push_back({"user", turn.question});
    messages.push_back({"assistant", turn.answer});
  }
  TERN_TRY(const std::string text, engine.chat().render(messages, {.add_generation_prompt = false,
                                                                   .enable_thinking = false}));
  const text::Tokenizer& tokenizer = engine.vocabulary().tokenizer;
  Window window;
  const auto append = [&](std::string_view part) {
    const auto ids = tokenizer.encode(part);
    window.tokens.insert(window.tokens.end(), ids.begin(), ids.end());
  };
  std::size_t at = 0;
  for (const Turn& turn : conversation) {
    const std::size_t question = text.find(turn.question, at);
    const std::size_t answer = question == std::string::npos
                                   ? question
                                   : text.find(turn.answer, question + turn.question.size());
    if (answer == std::string::npos)
      return fail(ErrorCode::unsupported, "its chat template does not repeat the turns as they are",
                  engine.checkpoint().display_name(), "measure a text of your own");
    append(std::string_view(text).substr(at, answer - at));
    const std::size_t first = window.tokens.size();
    append(turn.answer);
    at = answer + turn.answer.size();
    // The token that ends the turn belongs to the answer.
    const auto rest = tokenizer.encode(std::string_view(text).substr(at));
    const bool ended = !rest.empty() && engine.vocabulary().ends(rest.front());
    const std::size_t last = window.tokens.size() + (ended ? 1 : 0);
    if (first > 0 && first < last) window.scored.push_back({first, last});
  }
  append(std::string_view(text).substr(at));
  return window;
}

Result<std::vector<Window>> recall_windows(const engine::Engine& engine, std::size_t context,
                                           std::size_t count, std::uint64_t seed) {
  std::vector<Window> windows;
  for (std::size_t i = 0; i < count; ++i) {
    TERN_TRY(auto window, fitted(engine, context, seed * 1'000'003 + i));
    windows.push_back(std::move(window));
  }
  return windows;
}

}  // namespace tern::eval
