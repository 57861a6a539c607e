#include "eval/base_logits.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/checked.h"
#include "base/json.h"

namespace tern::eval {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers are written as they lie in memory");

constexpr std::string_view kMagic = "TERNBASE";
constexpr std::uint64_t kVersion = 1;
constexpr double kDepth = 40;  // nats below the largest log-probability that are kept
constexpr std::size_t kCodes = 65536;
constexpr std::uint64_t kMaxHeader = std::uint64_t{1} << 31;

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

std::string_view name(BaseFormat format) {
  return format == BaseFormat::u16 ? "u16" : "f32";
}

std::string header_text(const BaseHeader& header) {
  json::array windows;
  for (const Window& window : header.windows) {
    json::array scored;
    for (const Range& range : window.scored) scored.push_back({range.begin, range.end});
    windows.push_back(
        {{"tokens", json::array(window.tokens.begin(), window.tokens.end())}, {"scored", scored}});
  }
  return json::serialize(json::object{{"version", kVersion},
                                      {"model", header.model},
                                      {"kv", header.kv},
                                      {"vocabulary", header.vocabulary},
                                      {"tokenizer", fmt::format("{:016x}", header.tokenizer)},
                                      {"format", name(header.format)},
                                      {"windows", std::move(windows)}});
}

/// A number that is there, or 0 with `good` cleared.
std::uint64_t number(const json::value& value, bool& good) {
  if (value.is_uint64()) return value.get_uint64();
  if (value.is_int64() && value.get_int64() >= 0)
    return static_cast<std::uint64_t>(value.get_int64());
  good = false;
  return 0;
}

/// @return nothing for what breaks a rule of Window
std::optional<Window> parse_window(const json::value& value, std::uint64_t vocabulary) {
  const auto* object = value.if_object();
  const auto* tokens = object ? object->if_contains("tokens") : nullptr;
  const auto* scored = object ? object->if_contains("scored") : nullptr;
  if (!tokens || !tokens->is_array() || !scored || !scored->is_array()) return std::nullopt;
  Window window;
  bool good = true;
  for (const json::value& token : tokens->get_array()) {
    const std::uint64_t id = number(token, good);
    good = good && id < vocabulary;
    window.tokens.push_back(static_cast<TokenId>(id));
  }
  std::size_t reached = 1;
  for (const json::value& pair : scored->get_array()) {
    if (!pair.is_array() || pair.get_array().size() != 2) return std::nullopt;
    const Range range{number(pair.get_array()[0], good), number(pair.get_array()[1], good)};
    good = good && range.begin >= reached && range.begin < range.end &&
           range.end <= window.tokens.size();
    if (!good) return std::nullopt;
    reached = range.end;
    window.scored.push_back(range);
  }
  return good ? std::optional(std::move(window)) : std::nullopt;
}

}  // namespace

std::uint64_t BaseHeader::row_bytes() const {
  return format == BaseFormat::u16 ? 2 * sizeof(float) + 2 * vocabulary
                                   : sizeof(float) * vocabulary;
}

std::uint64_t tokenizer_hash(const engine::Vocabulary& vocabulary) {
  Checksum checksum;
  for (TokenId id = 0; id < vocabulary.tokenizer.vocabulary_size(); ++id) {
    const std::string_view text = vocabulary.tokenizer.token_bytes(id);
    const std::uint64_t length = text.size();
    checksum.add(bytes_of(length));
    checksum.add(std::as_bytes(std::span(text.data(), text.size())));
  }
  return checksum.value();
}

void Checksum::add(std::span<const std::byte> bytes) {
  const auto mix = [this](std::uint64_t word) {
    hash_ = std::rotl(hash_ ^ word, 29) * 0xbf58476d1ce4e5b9u;
  };
  while (!bytes.empty()) {
    if (filled_ == 0 && bytes.size() >= 8) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data(), sizeof word);
      mix(word);
      bytes = bytes.subspan(8);
      continue;
    }
    word_ |= std::to_integer<std::uint64_t>(bytes.front()) << (8 * filled_);
    bytes = bytes.subspan(1);
    if (++filled_ < 8) continue;
    mix(word_);
    word_ = 0;
    filled_ = 0;
  }
}

std::uint64_t Checksum::value() const {
  return filled_ == 0 ? hash_ : std::rotl(hash_ ^ word_, 29) * 0xbf58476d1ce4e5b9u;
}

Result<BaseWriter> BaseWriter::create(const std::filesystem::path& path, const BaseHeader& header) {
  const std::string text = header_text(header);
  TERN_TRY(auto file, AtomicFile::create(path));
  BaseWriter writer(std::move(file), header);
  const std::uint64_t length = text.size();
  TERN_TRY_VOID(writer.put(std::as_bytes(std::span(kMagic.data(), kMagic.size()))));
  TERN_TRY_VOID(writer.put(bytes_of(length)));
  TERN_TRY_VOID(writer.put(std::as_bytes(std::span(text.data(), text.size()))));
  return writer;
}

BaseWriter::BaseWriter(AtomicFile file, const BaseHeader& header)
    : file_(std::move(file)),
      format_(header.format),
      vocabulary_(header.vocabulary),
      missing_(eval::scored_tokens(header.windows)),
      row_(header.row_bytes()) {}

Result<void> BaseWriter::put(std::span<const std::byte> bytes) {
  checksum_.add(bytes);
  return file_.write(bytes);
}

Result<void> BaseWriter::write(std::span<const float> logits) {
  TERN_CHECK(missing_ > 0 && logits.size() == vocabulary_);
  --missing_;
  if (format_ == BaseFormat::f32) return put(std::as_bytes(logits));
  const double top = std::ranges::max(logits);
  const double low = std::max<double>(std::ranges::min(logits), top - kDepth);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  const auto first = static_cast<float>(low - top - std::log(sum));
  const auto step = static_cast<float>((top - low) / (kCodes - 1));
  std::memcpy(row_.data(), &first, sizeof first);
  std::memcpy(row_.data() + sizeof first, &step, sizeof step);
  std::byte* out = row_.data() + 2 * sizeof(float);
  for (const float logit : logits) {
    const double code = step > 0 ? std::round((logit - low) / double{step}) : 0;
    const auto stored = static_cast<std::uint16_t>(std::clamp(code, 0.0, double{kCodes - 1}));
    std::memcpy(out, &stored, sizeof stored);
    out += sizeof stored;
  }
  return put(row_);
}

Result<void> BaseWriter::commit() {
  TERN_CHECK(missing_ == 0);
  const std::uint64_t sum = checksum_.value();
  TERN_TRY_VOID(file_.write(bytes_of(sum)));
  return file_.commit();
}

Result<BaseReader> BaseReader::open(const std::filesystem::path& path) {
  TERN_TRY(auto file, MappedFile::open(path));
  BaseReader reader(std::move(file), path.string());
  TERN_TRY_VOID(reader.read_header());
  return reader;
}

Result<void> BaseReader::read_header() {
  const auto corrupt = [&](std::string what, std::string hint = {}) {
    return fail(ErrorCode::corrupt, std::move(what), path_, std::move(hint));
  };
  constexpr std::size_t kPrefix = kMagic.size() + sizeof(std::uint64_t);
  const Bytes bytes = file_.bytes();
  if (!as_text(bytes).starts_with(kMagic))
    return corrupt("does not begin with \"TERNBASE\"", "no file of tern eval kld --save-base");
  std::uint64_t length = 0;
  if (bytes.size() >= kPrefix) std::memcpy(&length, bytes.data() + kMagic.size(), sizeof length);
  if (length == 0 || length > kMaxHeader || bytes.size() < kPrefix + length + sizeof length)
    return corrupt(fmt::format("{} bytes are too few for its header", bytes.size()),
                   "the file was cut");
  TERN_TRY(const json::value value,
           parse_json(as_text(bytes.subspan(kPrefix, length)), path_ + ", header",
                      {.depth = 8, .bytes = kMaxHeader, .values = std::size_t{1} << 28}));
  if (!value.is_object()) return corrupt("the header is no JSON object");
  const json::object& object = value.get_object();
  TERN_TRY(const std::uint64_t version, get_uint(object, "version", path_));
  TERN_TRY(const std::string_view format, get_string(object, "format", path_));
  if (version != kVersion || (format != "u16" && format != "f32"))
    return fail(ErrorCode::unsupported,
                fmt::format("version {} with format \"{}\", known are version {} with \"u16\" or "
                            "\"f32\"",
                            version, format, kVersion),
                path_, "saved by a newer program");
  header_.format = format == "u16" ? BaseFormat::u16 : BaseFormat::f32;
  TERN_TRY(header_.vocabulary, get_uint(object, "vocabulary", path_));
  TERN_TRY(header_.model, get_string(object, "model", path_));
  TERN_TRY(header_.kv, get_string(object, "kv", path_));
  TERN_TRY(const std::string_view tokenizer, get_string(object, "tokenizer", path_));
  if (std::from_chars(tokenizer.data(), tokenizer.data() + tokenizer.size(), header_.tokenizer, 16)
          .ptr != tokenizer.data() + tokenizer.size())
    return corrupt("\"tokenizer\" is no number in hexadecimal");
  const json::value* windows = object.if_contains("windows");
  if (windows == nullptr || !windows->is_array()) return corrupt("\"windows\" is no array");
  for (const json::value& item : windows->get_array()) {
    auto window = parse_window(item, header_.vocabulary);
    if (!window)
      return corrupt(fmt::format("window {} holds no tokens with scored ranges inside",
                                 header_.windows.size()));
    header_.windows.push_back(*std::move(window));
  }
  rows_ = eval::scored_tokens(header_.windows);
  const Bytes rest = bytes.subspan(kPrefix + length);
  const auto expected = checked_mul(rows_, header_.row_bytes());
  if (!expected || header_.vocabulary == 0 || header_.vocabulary > std::uint64_t{1} << 31 ||
      rest.size() - sizeof(std::uint64_t) != *expected)
    return corrupt(fmt::format("{} rows of {} bytes are announced, {} bytes follow the header",
                               rows_, header_.row_bytes(), rest.size() - sizeof(std::uint64_t)),
                   "the file was cut");
  data_ = rest.first(*expected);
  Checksum checksum;
  checksum.add(bytes.first(bytes.size() - sizeof(std::uint64_t)));
  std::uint64_t stored = 0;
  std::memcpy(&stored, rest.data() + *expected, sizeof stored);
  if (stored != checksum.value())
    return corrupt(fmt::format("checksum {:016x}, the file says {:016x}", checksum.value(), stored),
                   "the file was changed");
  return {};
}

Result<void> BaseReader::check(const engine::Vocabulary& vocabulary) const {
  if (header_.vocabulary != vocabulary.size)
    return fail(ErrorCode::mismatch,
                fmt::format("saved with a vocabulary of {}, this model has {}", header_.vocabulary,
                            vocabulary.size),
                path_, "saved with model " + header_.model);
  if (const std::uint64_t hash = tokenizer_hash(vocabulary); hash != header_.tokenizer)
    return fail(ErrorCode::mismatch,
                fmt::format("saved with tokenizer {:016x}, this model has {:016x}",
                            header_.tokenizer, hash),
                path_, "saved with model " + header_.model);
  return {};
}

Result<void> BaseReader::row(std::size_t index, std::span<float> logits) const {
  TERN_CHECK(index < rows_ && logits.size() == header_.vocabulary);
  const Bytes row = data_.subspan(index * header_.row_bytes(), header_.row_bytes());
  if (header_.format == BaseFormat::f32) {
    std::memcpy(logits.data(), row.data(), row.size());
  } else {
    float low, step;
    std::memcpy(&low, row.data(), sizeof low);
    std::memcpy(&step, row.data() + sizeof low, sizeof step);
    const std::byte* in = row.data() + 2 * sizeof(float);
    for (float& logit : logits) {
      std::uint16_t code;
      std::memcpy(&code, in, sizeof code);
      logit = low + step * static_cast<float>(code);
      in += sizeof code;
    }
  }
  if (std::ranges::all_of(logits, [](float x) { return std::isfinite(x); })) return {};
  return fail(ErrorCode::corrupt, fmt::format("row {} holds a number that is not finite", index),
              path_);
}

}  // namespace tern::eval
