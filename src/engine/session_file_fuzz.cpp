// Saved sessions with changes under a checksum that fits are loaded and go on, or are an error.
//
// An input is a base and edits, because a session's file is large and names its model:
//   byte 0: which base; 255: the rest of the input is the file
//   then, again and again: kind, which, 8 bytes
// kind % 4: 0 the number `which` of the state becomes those bytes; 1 the 8 bytes at `which` thirds
// of the header and its numbers do; 2 as 1 in the tokens and the state; 3 the file ends there.
#include <cstdlib>

#include "engine/session.h"
#include "engine/session_bytes.h"

namespace {

using namespace tern;
using engine::testing::SessionBytes;

engine::Engine& demo() {
  static const auto loaded = engine::Engine::load("demo", {.threads = 1, .context = 256});
  TERN_CHECK(loaded.has_value());
  return **loaded;
}

SessionBytes base(std::size_t count, const KvOptions& kv) {
  const auto config = demo().kv_config(kv);
  TERN_CHECK(config.has_value());
  engine::Session session(demo(), engine::Context(demo(), *config));
  const std::vector<TokenId> tokens(count, 1000);
  if (count > 0) TERN_CHECK(session.read(tokens, {}, nullptr).has_value());
  const auto path =
      std::filesystem::temp_directory_path() / ("tern_session_fuzz_" + std::to_string(::getpid()));
  auto bytes = engine::testing::session_bytes(demo(), session.context(), "text", path);
  std::filesystem::remove(path);
  return bytes;
}

const std::vector<SessionBytes>& bases() {
  static const std::vector<SessionBytes> all = {
      base(0, {}), base(1, {.keys = "f16"}), base(70, {.keys = "turbo4", .sinks = 4, .recent = 16}),
      base(70, {.keys = "q8_0", .values = "turbo3", .sinks = 0, .recent = 0})};
  return all;
}

struct Edit {
  std::uint8_t kind, which;
  char bytes[8];
};

void apply(const Edit& edit, const SessionBytes& base, std::string& body) {
  const std::size_t third = edit.kind % 4 == 1 ? base.tokens : body.size() - base.tokens;
  std::size_t at = third * edit.which / 256;
  if (edit.kind % 4 == 0 && !base.numbers.empty())
    at = base.numbers[edit.which % base.numbers.size()];
  if (edit.kind % 4 == 2) at += base.tokens;
  if (at >= body.size()) return;
  if (edit.kind % 4 == 3) return body.resize(at);
  std::memcpy(body.data() + at, edit.bytes, std::min(sizeof edit.bytes, body.size() - at));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string file(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] != 255) {
    const SessionBytes& chosen = bases()[data[0] % bases().size()];
    std::string body = chosen.body;
    for (std::size_t at = 0; at + sizeof(Edit) <= file.size(); at += sizeof(Edit)) {
      Edit edit{};
      std::memcpy(&edit, file.data() + at, sizeof edit);
      if (body.size() > chosen.tokens) apply(edit, chosen, body);
    }
    file = engine::testing::with_checksum(std::move(body));
  }
  const Bytes bytes = std::as_bytes(std::span(file));
  if (const auto header = engine::parse_session_header(bytes, "fuzz"); !header)
    TERN_CHECK(!header.error().what.empty());
  auto stored = engine::parse_session(demo(), bytes, "fuzz");
  if (!stored) {
    TERN_CHECK(!stored.error().what.empty() && !stored.error().where.empty());
    return 0;
  }
  engine::Session session(demo(), std::move(stored->context));
  const std::vector<TokenId> more = {1000};
  static_cast<void>(session.read(more, {}, nullptr));
  return 0;
}
