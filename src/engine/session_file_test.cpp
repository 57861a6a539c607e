#include "engine/session_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <random>

#include "base/hash.h"
#include "engine/session.h"
#include "engine/session_bytes.h"
#include "engine/testing.h"

namespace tern::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Tokens = std::vector<TokenId>;

Engine& demo() {
  static const std::unique_ptr<Engine> engine =
      *Engine::load("demo", {.threads = 2, .context = 1024});
  return *engine;
}

/// Ordinary tokens, the same every time.
Tokens some_tokens(std::size_t count, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  Tokens tokens(count);
  for (TokenId& token : tokens)
    token = static_cast<TokenId>(1000 + random() % (demo().vocabulary().size - 1000));
  return tokens;
}

/// A folder of this process, gone with it.
std::filesystem::path path_of(std::string_view name) {
  struct Folder {
    std::filesystem::path path = std::filesystem::path(::testing::TempDir()) /
                                 ("tern_session_file_" + std::to_string(::getpid()));
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() { std::filesystem::remove_all(path); }
  };
  static const Folder folder;
  return folder.path / name;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// The bytes with a checksum that fits them: damage that only the reader can find.
std::string signed_again(std::string bytes) {
  bytes.resize(bytes.size() - sizeof(Hash128::Value));
  return testing::with_checksum(std::move(bytes));
}

Session session_with(const KvOptions& kv) {
  auto config = demo().kv_config(kv);
  EXPECT_TRUE(config) << config.error().message();
  return Session(demo(), Context(demo(), *config));
}

std::vector<float> logits_after(Session& session, const Tokens& tokens) {
  const auto logits = session.logits(tokens, nullptr);
  EXPECT_TRUE(logits) << logits.error().message();
  return logits.value_or(std::vector<float>());
}

Session loaded(const std::filesystem::path& path) {
  auto stored = load_session(demo(), path);
  EXPECT_TRUE(stored) << stored.error().message();
  return stored ? Session(demo(), std::move(stored->context)) : Session(demo());
}

ErrorCode code_of(const std::filesystem::path& path, Engine& engine = demo()) {
  const auto stored = load_session(engine, path);
  EXPECT_FALSE(stored);
  return stored ? ErrorCode::internal : stored.error().code;
}

/// A file of a session with `count` tokens.
std::string saved(std::size_t count, const KvOptions& kv, std::string_view name) {
  Session session = session_with(kv);
  if (count > 0) {
    EXPECT_TRUE(session.read(some_tokens(count), {}, nullptr));
  }
  EXPECT_TRUE(save_session(demo(), session.context(), "text", path_of(name)));
  return bytes_of(path_of(name));
}

TEST(SessionFile, ASavedSessionGoesOnWithTheSameBits) {
  const Tokens more = some_tokens(70, 2);
  for (const char* kv : {"f16", "turbo4", "q8_0:turbo3", "affine4"}) {
    for (const std::size_t count : {1u, 3u, 63u, 64u, 150u, 400u}) {
      Session session = session_with({.keys = kv});
      ASSERT_TRUE(session.read(some_tokens(count), {}, nullptr));
      ASSERT_TRUE(save_session(demo(), session.context(), "", path_of("bits")));
      Session copy = loaded(path_of("bits"));
      EXPECT_EQ(copy.position(), count);
      EXPECT_TRUE(std::ranges::equal(copy.tokens(), session.tokens()));
      EXPECT_EQ(copy.kv(), session.kv());
      EXPECT_EQ(logits_after(copy, more), logits_after(session, more)) << kv << ' ' << count;
    }
  }
}

TEST(SessionFile, WindowsAndTheirStartAreKept) {
  KvOptions kv = {.keys = "turbo4", .sinks = 70, .recent = 10, .quantized_start = 200};
  kv.full_layers = {0};
  for (const std::size_t count : {50u, 199u, 201u, 300u}) {
    Session session = session_with(kv);
    ASSERT_TRUE(session.read(some_tokens(count), {}, nullptr));
    ASSERT_TRUE(save_session(demo(), session.context(), "", path_of("windows")));
    Session copy = loaded(path_of("windows"));
    EXPECT_EQ(logits_after(copy, some_tokens(90, 3)), logits_after(session, some_tokens(90, 3)));
  }
}

TEST(SessionFile, ASessionThatWentBackOrRestsCanBeSaved) {
  Session session = session_with({.keys = "turbo4"});
  ASSERT_TRUE(session.read(some_tokens(180), {}, nullptr));
  session.mark();
  ASSERT_TRUE(session.read(some_tokens(200, 5), {}, nullptr));
  ASSERT_TRUE(session.truncate(180, nullptr));
  ASSERT_TRUE(session.rest());
  ASSERT_TRUE(save_session(demo(), session.context(), "", path_of("back")));
  Session copy = loaded(path_of("back"));
  EXPECT_EQ(logits_after(copy, some_tokens(9)), logits_after(session, some_tokens(9)));
}

TEST(SessionFile, AnEmptySessionAndTheCallersTextAreKept) {
  saved(0, {}, "empty");
  const auto header = inspect_session(path_of("empty"));
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->model, "demo");
  EXPECT_EQ(header->tokens, 0u);
  EXPECT_EQ(header->metadata, "text");
  Session copy = loaded(path_of("empty"));
  Session fresh(demo());
  EXPECT_EQ(logits_after(copy, some_tokens(5)), logits_after(fresh, some_tokens(5)));
}

TEST(SessionFile, EveryDamagedByteIsNoticed) {
  const std::string file = saved(70, {.keys = "turbo4"}, "damaged");
  std::mt19937 random(7);
  for (int i = 0; i < 60; ++i) {
    std::string damaged = file;
    damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
    write(path_of("damaged"), damaged);
    EXPECT_EQ(code_of(path_of("damaged")), ErrorCode::corrupt);
    EXPECT_FALSE(inspect_session(path_of("damaged")));
  }
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{20}, file.size() - 1}) {
    write(path_of("damaged"), file.substr(0, size));
    EXPECT_EQ(code_of(path_of("damaged")), ErrorCode::corrupt) << size;
  }
}

TEST(SessionFile, BytesThatLieUnderAValidChecksumDoNoHarm) {
  const std::string file = saved(150, {.keys = "turbo4"}, "hostile");
  std::uint32_t header = 0;
  std::memcpy(&header, file.data() + 12, sizeof header);
  const std::size_t first = 16 + header, tokens = 150 * sizeof(TokenId);
  std::mt19937 random(11);
  for (int i = 0; i < 200; ++i) {
    std::string hostile = file;
    // Numbers lie at the start; later there are mostly codes.
    const std::size_t range = i % 2 == 0 ? tokens + 200 : hostile.size() - first - 16;
    for (int j = 0; j < 3; ++j) hostile[first + random() % range] = static_cast<char>(random());
    if (i % 5 == 0) hostile.erase(first + random() % range, random() % 100);
    write(path_of("hostile"), signed_again(std::move(hostile)));
    auto stored = load_session(demo(), path_of("hostile"));
    if (!stored) continue;
    Session session(demo(), std::move(stored->context));
    (void)session.logits(some_tokens(70), nullptr);  // any numbers, or an error
  }
}

/// Loads bytes under a checksum that fits, and goes on with what is loaded. @return whether it was
bool survives(std::string body) {
  const std::string file = testing::with_checksum(std::move(body));
  auto stored = parse_session(demo(), std::as_bytes(std::span(file)), "hostile");
  if (!stored) {
    EXPECT_FALSE(stored.error().what.empty());
    EXPECT_THAT(stored.error().where, StartsWith("hostile"));
    return false;
  }
  Session session(demo(), std::move(stored->context));
  (void)session.logits(some_tokens(3), nullptr);  // any numbers, or an error
  return true;
}

testing::SessionBytes bytes_with(std::size_t count, const KvOptions& kv) {
  Session session = session_with(kv);
  if (count > 0) {
    EXPECT_TRUE(session.read(some_tokens(count), {}, nullptr));
  }
  return testing::session_bytes(demo(), session.context(), "text", path_of("bytes"));
}

TEST(SessionFile, CutAnywhereUnderAValidChecksumIsAnError) {
  const auto empty = bytes_with(0, {.keys = "turbo4"});
  for (std::size_t size = 0; size < empty.body.size(); ++size)
    EXPECT_FALSE(survives(empty.body.substr(0, size))) << size;
  const auto full = bytes_with(150, {.keys = "turbo4"});
  std::vector<std::size_t> cuts = {full.header, full.tokens, full.tokens + 3, full.state};
  for (const std::size_t at : full.numbers) cuts.insert(cuts.end(), {at - 1, at, at + 1, at + 7});
  for (const std::size_t size : cuts) EXPECT_FALSE(survives(full.body.substr(0, size))) << size;
  EXPECT_FALSE(survives(full.body + "x"));
  EXPECT_TRUE(survives(full.body));
}

TEST(SessionFile, EveryNumberMayBeHostile) {
  for (const std::size_t count : {0u, 1u, 150u}) {
    const auto bytes = bytes_with(count, {.keys = "turbo4"});
    for (const std::size_t at : bytes.numbers) {
      std::uint64_t number = 0;
      std::memcpy(&number, bytes.body.data() + at, sizeof number);
      for (const std::uint64_t hostile :
           {std::uint64_t{0}, number - 1, number + 1, std::uint64_t{1} << 31,
            std::uint64_t{1} << 32, std::uint64_t{1} << 62, ~std::uint64_t{0} / 4,
            ~std::uint64_t{0}}) {
        std::string body = bytes.body;
        std::memcpy(body.data() + at, &hostile, sizeof hostile);
        (void)survives(std::move(body));
      }
    }
    for (const std::uint32_t hostile : {0u, 1u, 1u << 20, 1u << 31, ~0u}) {
      std::string body = bytes.body;
      std::memcpy(body.data() + 12, &hostile, sizeof hostile);  // bytes of the header
      EXPECT_FALSE(survives(std::move(body)));
    }
  }
}

TEST(SessionFile, HostileNumbersOfTheHeaderAreErrors) {
  const auto bytes = bytes_with(5, {.keys = "turbo4"});
  const std::string header = bytes.body.substr(bytes.header, bytes.tokens - bytes.header);
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string changed = header;
    testing::replace(changed, from, to);
    EXPECT_NE(changed, header) << from;
    const auto size = static_cast<std::uint32_t>(changed.size());
    std::string body = bytes.body.substr(0, 12);
    body.append(static_cast<const char*>(static_cast<const void*>(&size)), sizeof size);
    return survives(body + changed + bytes.body.substr(bytes.tokens));
  };
  for (const char* number : {"18446744073709551615", "9223372036854775807", "4294967296", "-1",
                             "1e30", "\"x\"", "null", "[]", "{}"}) {
    EXPECT_FALSE(with("\"tokens\":5", std::string("\"tokens\":") + number));
    (void)with("\"sinks\":4", std::string("\"sinks\":") + number);
    (void)with("\"recent\":128", std::string("\"recent\":") + number);
    (void)with("\"quantized_start\":0", std::string("\"quantized_start\":") + number);
    (void)with("\"full_layers\":[]", std::string("\"full_layers\":[") + number + "]");
  }
  EXPECT_FALSE(with("turbo4", "turbo9"));
  EXPECT_FALSE(with("\"kv\":{", "\"kv\":1,\"x\":{"));
}

TEST(SessionFile, OfAnotherModelIsRefusedWithBothNames) {
  saved(5, {}, "other");
  // Another byte of one tensor's data.
  testing::Files files = testing::demo_files();
  for (auto& [name, contents] : files)
    if (name.ends_with(".safetensors")) contents.back() ^= 1;
  const auto other = testing::load(files, {.threads = 1, .context = 64});
  ASSERT_TRUE(other) << other.error().message();
  const auto stored = load_session(**other, path_of("other"));
  ASSERT_FALSE(stored);
  EXPECT_EQ(stored.error().code, ErrorCode::mismatch);
  EXPECT_THAT(stored.error().what, HasSubstr("\"demo\""));
  EXPECT_THAT(stored.error().what, HasSubstr("\"variant\""));
}

TEST(SessionFile, LongerThanTheContextOrOfANewerVersionIsSaid) {
  const std::string file = saved(100, {}, "long");
  const auto small = Engine::load("demo", {.threads = 1, .context = 64});
  ASSERT_TRUE(small);
  EXPECT_EQ(code_of(path_of("long"), **small), ErrorCode::too_large);
  std::string newer = file;
  newer[8] = 9;
  write(path_of("long"), newer);
  const auto stored = load_session(demo(), path_of("long"));
  ASSERT_FALSE(stored);
  EXPECT_THAT(stored.error().what, HasSubstr("version 9"));
  EXPECT_EQ(code_of("/no/such/file"), ErrorCode::not_found);
  EXPECT_FALSE(save_session(demo(), Context(demo()), "", "/no/such/folder/file"));
  EXPECT_FALSE(save_session(demo(), Context(demo()), "\xff", path_of("text")));
}

TEST(Session, TruncatingIsAsIfTheRestHadNeverBeenRead) {
  const Tokens tokens = some_tokens(300);
  for (const char* kv : {"f16", "turbo4"}) {
    for (const std::size_t position : {0u, 1u, 99u, 100u, 101u, 299u}) {
      Session session = session_with({.keys = kv});
      ASSERT_TRUE(session.read(std::span(tokens).first(100), {}, nullptr));
      session.mark();
      ASSERT_TRUE(session.read(std::span(tokens).subspan(100), {}, nullptr));
      ASSERT_TRUE(session.truncate(position, nullptr));
      EXPECT_EQ(session.position(), position);
      Session fresh = session_with({.keys = kv});
      if (position > 0) {
        ASSERT_TRUE(fresh.read(std::span(tokens).first(position), {}, nullptr));
      }
      EXPECT_EQ(logits_after(session, some_tokens(20, 9)), logits_after(fresh, some_tokens(20, 9)))
          << kv << ' ' << position;
    }
  }
  Session session(demo());
  EXPECT_EQ(session.truncate(1, nullptr).error().code, ErrorCode::usage);
}

TEST(Session, AForkGoesItsOwnWay) {
  Session session = session_with({.keys = "turbo4"});
  ASSERT_TRUE(session.read(some_tokens(200), {}, nullptr));
  auto fork = session.fork();
  ASSERT_TRUE(fork) << fork.error().message();
  EXPECT_TRUE(std::ranges::equal(fork->last_logits(), session.last_logits()));
  logits_after(*fork, some_tokens(30, 4));
  EXPECT_EQ(session.position(), 200u);
  Session fresh = session_with({.keys = "turbo4"});
  ASSERT_TRUE(fresh.read(some_tokens(200), {}, nullptr));
  EXPECT_EQ(logits_after(session, some_tokens(30, 5)), logits_after(fresh, some_tokens(30, 5)));
}

TEST(Session, AStepOfSeveralGivesEachTheBitsThatItHasAlone) {
  std::vector<Session> together, alone;
  std::vector<Session*> sessions;
  for (const std::size_t count : {1u, 150u, 64u}) {
    for (auto* list : {&together, &alone}) {
      list->push_back(session_with({.keys = count == 64 ? "f16" : "turbo4"}));
      ASSERT_TRUE(list->back().read(some_tokens(count), {}, nullptr));
    }
  }
  for (Session& session : together) sessions.push_back(&session);
  for (int i = 0; i < 5; ++i) {
    const Tokens tokens = some_tokens(3, 20 + static_cast<std::uint32_t>(i));
    for (const auto& result : Session::step(sessions, tokens)) ASSERT_TRUE(result);
    for (std::size_t j = 0; j < 3; ++j) {
      ASSERT_TRUE(alone[j].read({&tokens[j], 1}, {}, nullptr));
      EXPECT_TRUE(std::ranges::equal(together[j].last_logits(), alone[j].last_logits()));
      EXPECT_TRUE(std::ranges::equal(together[j].tokens(), alone[j].tokens()));
    }
  }
  // One that cannot go on leaves the others alone.
  const Tokens bad = {1000, static_cast<TokenId>(demo().vocabulary().size), 1001};
  const auto results = Session::step(sessions, bad);
  EXPECT_TRUE(results[0] && results[2]);
  EXPECT_EQ(results[1].error().code, ErrorCode::mismatch);
}

TEST(Session, ReadingGivesTheLogitsOfTheLastTokenAndStopsWhenAsked) {
  const Tokens tokens = some_tokens(100);
  const auto engine = *Engine::load("demo", {.threads = 2, .context = 128, .prefill_chunk = 16});
  Session session(*engine);
  EXPECT_TRUE(session.last_logits().empty());
  std::size_t calls = 0;
  const auto stopped = session.read(
      tokens, [&](std::size_t, std::size_t) { return ++calls < 2 ? Continue::yes : Continue::no; },
      nullptr);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
  EXPECT_EQ(session.position(), 32u);
  EXPECT_TRUE(session.last_logits().empty());
  ASSERT_TRUE(session.read(std::span(tokens).subspan(32), {}, nullptr));
  Session other(demo());
  const std::vector<float> all = logits_after(other, tokens);
  EXPECT_TRUE(
      std::ranges::equal(session.last_logits(), std::span(all).last(demo().vocabulary().size)));
  EXPECT_EQ(session.read({}, {}, nullptr).error().code, ErrorCode::usage);
  EXPECT_EQ(session.read(tokens, {}, nullptr).error().code, ErrorCode::too_large);
  session.reset();
  EXPECT_TRUE(session.last_logits().empty());
}

}  // namespace
}  // namespace tern::engine
