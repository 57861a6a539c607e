#include "engine/session_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <optional>

#include "base/atomic_file.h"
#include "base/hash.h"
#include "base/json.h"

namespace tern::engine {
namespace {

constexpr std::string_view kMagic = "TERNSESS";
constexpr std::size_t kMostMetadata = 1u << 20;
constexpr std::size_t kMostHeader = 2 * kMostMetadata + 65536;  // escapes included
constexpr std::size_t kDigest = sizeof(Hash128::Value);

template <class T>
Bytes bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

json::object kv_to_json(const state::KvConfig& kv) {
  return {{"keys", quant::name(kv.keys)},
          {"values", quant::name(kv.values)},
          {"sinks", kv.sinks},
          {"recent", kv.recent},
          {"quantized_start", kv.quantized_start},
          {"full_layers", json::value_from(kv.full_layers)}};
}

Result<std::vector<std::size_t>> layers_of(const json::object& object, const std::string& where) {
  const json::value* list = object.if_contains("full_layers");
  if (!list || !list->is_array())
    return fail(ErrorCode::corrupt, "full_layers is no list of layers", where);
  std::vector<std::size_t> layers;
  for (const json::value& entry : list->get_array()) {
    boost::system::error_code wrong;
    layers.push_back(entry.to_number<std::size_t>(wrong));
    if (wrong) return fail(ErrorCode::corrupt, "full_layers holds no number of a layer", where);
  }
  return layers;
}

Result<state::KvConfig> kv_from_json(const Engine& engine, const json::object& header,
                                     const std::string& where) {
  const json::value* kv = header.if_contains("kv");
  if (!kv || !kv->is_object()) return fail(ErrorCode::corrupt, "no cache in the header", where);
  const json::object& object = kv->get_object();
  KvOptions options;
  TERN_TRY(options.keys, get_string(object, "keys", where));
  TERN_TRY(options.values, get_string(object, "values", where));
  TERN_TRY(options.sinks, get_uint(object, "sinks", where));
  TERN_TRY(options.recent, get_uint(object, "recent", where));
  TERN_TRY(options.quantized_start, get_uint(object, "quantized_start", where));
  TERN_TRY(options.full_layers, layers_of(object, where));
  auto config = engine.kv_config(options);
  if (config) return config;
  return fail(ErrorCode::corrupt, "the cache of the header: " + config.error().what, where);
}

/// Counts and hashes what goes into a file.
class Writer {
 public:
  explicit Writer(AtomicFile file) : file_(std::move(file)) {}

  Result<void> write(Bytes bytes) {
    hash_.update(bytes);
    return file_.write(bytes);
  }
  Result<void> finish() {
    const Hash128::Value digest = hash_.value();
    TERN_TRY_VOID(file_.write(digest));
    return file_.commit();
  }

 private:
  AtomicFile file_;
  Hash128 hash_;
};

/// Where the parts of a file that is whole begin.
struct Parts {
  json::object header;
  Bytes rest;  ///< tokens and state
};

/// @error corrupt  as load_session
Result<Parts> take_apart(Bytes file, const std::string& where) {
  state::Source source(file);
  const auto corrupt = [&](std::string what, std::string hint = {}) {
    return fail(ErrorCode::corrupt, std::move(what), where, std::move(hint));
  };
  if (file.size() < kMagic.size() + 8 + kDigest || !as_text(file).starts_with(kMagic))
    return corrupt("is no session of tern", "session files are written by save");
  std::uint32_t numbers[2];
  std::memcpy(numbers, file.data() + kMagic.size(), sizeof numbers);
  const auto [version, header_bytes] = numbers;
  if (version != kSessionFileVersion)
    return corrupt(fmt::format("is a session of version {}, this program reads version {}", version,
                               kSessionFileVersion));
  Hash128 hash;
  hash.update(file.first(file.size() - kDigest));
  const Hash128::Value digest = hash.value();
  if (!std::ranges::equal(digest, file.last(kDigest)))
    return corrupt("the checksum does not match", "the file is cut short or damaged");
  TERN_TRY_VOID(source.take(kMagic.size() + sizeof numbers, "the start"));
  if (header_bytes > kMostHeader) return corrupt(fmt::format("a header of {} bytes", header_bytes));
  const auto text = source.take(header_bytes, "the header");
  if (!text) return corrupt(text.error().what);
  TERN_TRY(json::value header, parse_json(as_text(*text), where));
  if (!header.is_object()) return corrupt("the header is no JSON object");
  const Bytes rest = *source.take(source.remaining() - kDigest, "the state");
  return Parts{std::move(header.get_object()), rest};
}

Result<void> check_model(const Engine& engine, const json::object& header,
                         const std::string& where) {
  TERN_TRY(const std::string_view stored, get_string(header, "fingerprint", where));
  TERN_TRY(const std::string_view name, get_string(header, "model", where));
  if (stored == fingerprint(engine)) return {};
  return fail(ErrorCode::mismatch,
              fmt::format("belongs to the model \"{}\" (fingerprint {}), loaded is \"{}\" ({})",
                          name, stored, engine.checkpoint().display_name(), fingerprint(engine)),
              where, "a session goes on only with the weights that it was made with");
}

}  // namespace

std::string fingerprint(const Engine& engine) {
  constexpr std::size_t kSample = 256;  // at the start, the middle and the end of each tensor
  Hash128 hash;
  const auto add = [&](std::string_view text) { hash.update(std::as_bytes(std::span(text))); };
  for (const Tensor& tensor : engine.checkpoint().tensors().tensors()) {
    add(fmt::format("{} {} {} {}\n", tensor.name, name(tensor.type), fmt::join(tensor.shape, "x"),
                    tensor.data.size()));
    const std::size_t size = tensor.data.size(), count = std::min(kSample, size);
    for (const std::size_t at : {std::size_t{0}, (size - count) / 2, size - count})
      hash.update(tensor.data.subspan(at, count));
  }
  const model::Fold& fold = engine.model().folded();
  add(fmt::format("fold {} {}", name(fold.keys), name(fold.values)));
  return hex(hash.value());
}

Result<void> save_session(const Engine& engine, const Context& context, std::string_view metadata,
                          const std::filesystem::path& path) try {
  if (metadata.size() > kMostMetadata)
    return fail(
        ErrorCode::usage,
        fmt::format("metadata of {} bytes, at most {} are kept", metadata.size(), kMostMetadata),
        "metadata");
  const std::string header = json::serialize(json::object{
      {"model", engine.checkpoint().display_name()},
      {"fingerprint", fingerprint(engine)},
      {"kv", kv_to_json(context.kv())},
      {"tokens", context.position()},
      {"metadata", metadata},
  });
  // What could not be read back is not written: a text that is not UTF-8.
  if (!parse_json(header, "metadata"))
    return fail(ErrorCode::usage, "the text is not UTF-8", "metadata");
  TERN_TRY(AtomicFile file, AtomicFile::create(path));
  Writer writer(std::move(file));
  const std::uint32_t numbers[2] = {kSessionFileVersion, static_cast<std::uint32_t>(header.size())};
  TERN_TRY_VOID(writer.write(std::as_bytes(std::span(kMagic))));
  TERN_TRY_VOID(writer.write(bytes_of(numbers)));
  TERN_TRY_VOID(writer.write(std::as_bytes(std::span(header))));
  TERN_TRY_VOID(writer.write(std::as_bytes(context.tokens())));
  TERN_TRY_VOID(context.store([&](Bytes bytes) { return writer.write(bytes); }));
  return writer.finish();
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::no_memory, "no memory to save a session", path.string());
}

Result<SavedSession> inspect_session(const std::filesystem::path& path) {
  TERN_TRY(const MappedFile file, MappedFile::open(path));
  return parse_session_header(file.bytes(), path.string());
}

Result<SavedSession> parse_session_header(Bytes file, const std::string& where) try {
  TERN_TRY(const Parts parts, take_apart(file, where));
  SavedSession saved;
  TERN_TRY(saved.model, get_string(parts.header, "model", where));
  TERN_TRY(saved.tokens, get_uint(parts.header, "tokens", where));
  TERN_TRY(saved.metadata, get_string(parts.header, "metadata", where));
  return saved;
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::no_memory, "no memory to read a session", where);
}

Result<StoredSession> load_session(Engine& engine, const std::filesystem::path& path) {
  TERN_TRY(const MappedFile file, MappedFile::open(path));
  return parse_session(engine, file.bytes(), path.string());
}

Result<StoredSession> parse_session(Engine& engine, Bytes file, const std::string& where) try {
  TERN_TRY(const Parts parts, take_apart(file, where));
  TERN_TRY_VOID(check_model(engine, parts.header, where));
  TERN_TRY(const state::KvConfig kv, kv_from_json(engine, parts.header, where));
  TERN_TRY(const std::string_view metadata, get_string(parts.header, "metadata", where));
  TERN_TRY(const std::uint64_t count, get_uint(parts.header, "tokens", where));
  if (count > engine.context())
    return fail(ErrorCode::too_large,
                fmt::format("holds {} tokens, the context is {}", count, engine.context()), where,
                "load the model with a larger context");
  StoredSession session{Context(engine, kv), std::string(metadata)};
  state::Source source(parts.rest);
  const auto placed = [&](Error error) {
    error.where = where;
    return std::unexpected(std::move(error));
  };
  auto tokens = source.take(count * sizeof(TokenId), "the tokens");
  if (!tokens) return placed(tokens.error());
  std::vector<TokenId> ids(count);
  if (count > 0) std::memcpy(ids.data(), tokens->data(), tokens->size());
  if (auto loaded = session.context.load(std::move(ids), source); !loaded)
    return placed(loaded.error());
  return session;
} catch (const std::bad_alloc&) {
  return fail(ErrorCode::no_memory, "no memory to load a session", where);
}

}  // namespace tern::engine
