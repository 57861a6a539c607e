// tokenizer.json of Hugging Face: the vocabulary and the merges, which are nearly all of it, go
// straight from the parser into flat arrays; the rest becomes an ordinary JSON value.
#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <unordered_set>

#include "base/json.h"
#include "base/printable.h"
#include "text/tokenizer_parts.h"

namespace tern::text {
namespace {

constexpr std::size_t kMaxFile = std::size_t{256} << 20;
/// Outside the vocabulary and the merges: eight for each added token, and little else.
constexpr std::size_t kMaxValues = std::size_t{1} << 22;

/// Parser events of one tokenizer.json.
class Handler {
 public:
  static constexpr std::size_t max_object_size = std::size_t(1) << 25;
  static constexpr std::size_t max_array_size = std::size_t(1) << 26;
  static constexpr std::size_t max_key_size = std::size_t(1) << 20;
  static constexpr std::size_t max_string_size = std::size_t(1) << 24;

  Handler() { stack_.reset(); }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code& ec) {
    if (mode_ != Mode::tree) return wrong("a nested object", ec);
    ++depth_;
    if (depth_ == 2 && key_ == "model") in_model_ = true;
    if (depth_ == 3 && in_model_ && key_ == "vocab") {
      mode_ = Mode::vocabulary;
      has_vocabulary = true;
    } else {
      keys_.emplace_back();
    }
    return true;
  }
  bool on_object_end(std::size_t n, json::error_code& ec) {
    --depth_;
    if (mode_ == Mode::vocabulary) {
      mode_ = Mode::tree;
      stack_.push_null();
      return true;
    }
    if (depth_ == 1) in_model_ = false;
    keys_.pop_back();
    stack_.push_object(n);
    return counted(ec);
  }
  bool on_array_begin(json::error_code& ec) {
    if (mode_ == Mode::vocabulary) return wrong("an array", ec);
    if (mode_ == Mode::merges) {
      if (in_pair_) return wrong("a nested array", ec);
      in_pair_ = true;
      pair_strings_ = 0;
      return true;
    }
    ++depth_;
    if (depth_ == 3 && in_model_ && key_ == "merges") {
      mode_ = Mode::merges;
      has_merges = true;
    }
    return true;
  }
  bool on_array_end(std::size_t n, json::error_code& ec) {
    if (in_pair_) {
      in_pair_ = false;
      return pair_strings_ == 2 || wrong(std::to_string(pair_strings_) + " strings", ec);
    }
    --depth_;
    if (mode_ == Mode::merges) {
      mode_ = Mode::tree;
      stack_.push_null();
    } else {
      stack_.push_array(n);
    }
    return counted(ec);
  }
  bool on_key_part(json::string_view part, std::size_t, json::error_code&) {
    part_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view last, std::size_t, json::error_code& ec) {
    const std::string_view key = whole(last);
    if (mode_ == Mode::vocabulary) {
      tokens.push_back({keep(key), 0});
    } else {
      key_ = key;
      stack_.push_key(key_);
      if (!keys_.back().insert(key_).second)
        return wrong("the key " + printable(key_) + " twice", ec);
    }
    part_.clear();
    return true;
  }
  bool on_string_part(json::string_view part, std::size_t, json::error_code&) {
    part_.append(part.data(), part.size());
    return true;
  }
  bool on_string(json::string_view last, std::size_t, json::error_code& ec) {
    const std::string_view text = whole(last);
    if (mode_ == Mode::vocabulary) return wrong("a string", ec);
    if (mode_ == Mode::tree) {
      stack_.push_string(text);
      if (!counted(ec)) return false;
    } else if (in_pair_) {
      merge_parts.push_back(keep(text));
      if (++pair_strings_ > 2) return wrong("a merge of more than two strings", ec);
    } else if (!text.starts_with("#version")) {  // a comment that vocabularies of old begin with
      const std::size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos)
        return wrong(printable(text), ec);
      merge_parts.push_back(keep(text.substr(0, space)));
      merge_parts.push_back(keep(text.substr(space + 1)));
    }
    part_.clear();
    return true;
  }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(std::int64_t i, json::string_view text, json::error_code& ec) {
    if (mode_ == Mode::tree) return stack_.push_int64(i), counted(ec);
    if (mode_ == Mode::merges || i < 0) return wrong(std::string(text), ec);
    tokens.back().id = static_cast<std::uint64_t>(i);
    return true;
  }
  bool on_uint64(std::uint64_t u, json::string_view text, json::error_code& ec) {
    if (mode_ == Mode::tree) return stack_.push_uint64(u), counted(ec);
    return wrong(std::string(text), ec);
  }
  bool on_double(double d, json::string_view text, json::error_code& ec) {
    if (mode_ == Mode::tree) return stack_.push_double(d), counted(ec);
    return wrong(std::string(text), ec);
  }
  bool on_bool(bool b, json::error_code& ec) {
    if (mode_ == Mode::tree) return stack_.push_bool(b), counted(ec);
    return wrong(b ? "true" : "false", ec);
  }
  bool on_null(json::error_code& ec) {
    if (mode_ == Mode::tree) return stack_.push_null(), counted(ec);
    return wrong("null", ec);
  }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

  json::value release() { return stack_.release(); }

  struct Kept {
    std::size_t offset, bytes;
  };
  struct KeptToken {
    Kept text;
    std::uint64_t id;
  };
  std::string_view text(Kept kept) const {
    return std::string_view(pool_).substr(kept.offset, kept.bytes);
  }

  std::vector<KeptToken> tokens;
  std::vector<Kept> merge_parts;  ///< left, right, left, right, ...
  bool has_vocabulary = false, has_merges = false;
  std::string problem;  ///< what was found where it cannot be, if that was the failure

 private:
  enum class Mode : std::uint8_t { tree, vocabulary, merges };

  std::string_view whole(json::string_view last) {
    if (part_.empty()) return {last.data(), last.size()};
    part_.append(last.data(), last.size());
    return part_;
  }
  Kept keep(std::string_view text) {
    pool_.append(text);
    return {pool_.size() - text.size(), text.size()};
  }
  bool wrong(std::string found, json::error_code& ec) {
    problem = std::move(found);
    if (mode_ == Mode::vocabulary)
      problem = "model.vocab: token " + std::to_string(tokens.size()) +
                ": expected a non-negative integer id, found " + problem;
    if (mode_ == Mode::merges)
      problem = "model.merges: merge " + std::to_string(merge_parts.size() / 2) +
                ": expected two tokens, found " + problem;
    ec = json::error::extra_data;
    return false;
  }

  bool counted(json::error_code& ec) {
    if (++values_ <= kMaxValues) return true;
    ec = json::error::array_too_large;
    return false;
  }

  json::value_stack stack_;
  std::size_t values_ = 0;
  Mode mode_ = Mode::tree;
  std::size_t depth_ = 0;  ///< of open objects and arrays
  bool in_model_ = false, in_pair_ = false;
  std::size_t pair_strings_ = 0;
  std::string key_;   ///< the last key outside the vocabulary
  std::string part_;  ///< of a string that comes in parts
  std::string pool_;
  std::vector<std::unordered_set<std::string>> keys_;
};

/// Reads the small fields, one function for each.
class FileReader {
 public:
  FileReader(const json::object& root, std::string_view where) : root_(root), where_(where) {}

  Result<void> read(TokenizerParts& parts) {
    TERN_TRY_VOID(model(parts));
    TERN_TRY_VOID(normalizer(field(root_, "normalizer"), parts, 0));
    TERN_TRY_VOID(pre_tokenizer(field(root_, "pre_tokenizer"), parts.pre_tokenizer, 0));
    if (!byte_level_)
      return unsupported("pre_tokenizer", "a pre-tokenizer without ByteLevel at its end");
    TERN_TRY_VOID(only(field(root_, "post_processor"), "post_processor",
                       {"ByteLevel", "TemplateProcessing"}, "processors", 0));
    TERN_TRY_VOID(only(field(root_, "decoder"), "decoder", {"ByteLevel"}, "decoders", 0));
    return added_tokens(parts);
  }

 private:
  static constexpr std::size_t kMaxDepth = 8;  ///< of Sequences in Sequences

  static const json::value& field(const json::object& object, std::string_view key) {
    static const json::value null;
    const json::value* value = object.if_contains(key);
    return value == nullptr ? null : *value;
  }
  std::string at(std::string_view field_name) const {
    return std::string(where_) + ", " + std::string(field_name);
  }
  std::unexpected<Error> unsupported(std::string_view field_name, std::string what) const {
    return fail(ErrorCode::unsupported, "tokenizer: " + std::move(what), at(field_name));
  }
  std::unexpected<Error> corrupt(std::string_view field_name, std::string what) const {
    return fail(ErrorCode::corrupt, "tokenizer: " + std::move(what), at(field_name));
  }
  Result<std::string_view> type_of(const json::value& value, std::string_view name) const {
    if (!value.is_object()) return corrupt(name, "expected an object");
    return get_string(value.get_object(), "type", at(name));
  }
  /// The members of a Sequence.
  Result<const json::array*> sequence(const json::value& value, std::string_view key,
                                      std::string_view name, std::size_t depth) const {
    const json::value& members = field(value.get_object(), key);
    if (!members.is_array())
      return corrupt(name, "a Sequence without \"" + std::string(key) + "\"");
    if (depth >= kMaxDepth)
      return fail(ErrorCode::too_large, "tokenizer: Sequences nest too deeply", at(name));
    return &members.get_array();
  }

  /// Accepts the listed types and Sequences of them. What they would add to a text is not used:
  /// this engine adds no tokens of its own.
  Result<void> only(const json::value& value, std::string_view name,
                    std::initializer_list<std::string_view> known, std::string_view members,
                    std::size_t depth) const {
    if (value.is_null()) return {};
    TERN_TRY(const std::string_view type, type_of(value, name));
    if (type == "Sequence") {
      TERN_TRY(const json::array* const parts, sequence(value, members, name, depth));
      for (const json::value& part : *parts)
        TERN_TRY_VOID(only(part, name, known, members, depth + 1));
      return {};
    }
    if (std::ranges::find(known, type) == known.end())
      return unsupported(name, "type " + printable(type));
    return {};
  }

  Result<void> model(TokenizerParts& parts) const {
    const json::value& value = field(root_, "model");
    if (!value.is_object()) return corrupt("model", "expected an object");
    const json::object& model = value.get_object();
    if (!field(model, "type").is_null()) {
      TERN_TRY(const std::string_view type, get_string(model, "type", at("model")));
      if (type != "BPE") return unsupported("model", "model type " + printable(type));
    }
    TERN_TRY(const double dropout, get_number_or(model, "dropout", 0, at("model")));
    if (dropout != 0) return unsupported("model", "dropout");
    for (const std::string_view affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (field(model, affix).is_null()) continue;
      TERN_TRY(const std::string_view text, get_string(model, affix, at("model")));
      if (!text.empty()) return unsupported("model", std::string(affix));
    }
    TERN_TRY(const bool byte_fallback, get_bool_or(model, "byte_fallback", false, at("model")));
    if (byte_fallback) return unsupported("model", "byte_fallback");
    TERN_TRY(parts.fuse_unk, get_bool_or(model, "fuse_unk", false, at("model")));
    TERN_TRY(parts.ignore_merges, get_bool_or(model, "ignore_merges", false, at("model")));
    if (!field(model, "unk_token").is_null()) {
      TERN_TRY(parts.unk_token, get_string(model, "unk_token", at("model")));
    }
    return {};
  }

  Result<void> normalizer(const json::value& value, TokenizerParts& parts,
                          std::size_t depth) const {
    if (value.is_null()) return {};
    TERN_TRY(const std::string_view type, type_of(value, "normalizer"));
    if (type == "NFC") {
      parts.nfc = true;
      return {};
    }
    if (type != "Sequence") return unsupported("normalizer", "normalizer " + printable(type));
    TERN_TRY(const json::array* const members, sequence(value, "normalizers", "normalizer", depth));
    for (const json::value& member : *members) TERN_TRY_VOID(normalizer(member, parts, depth + 1));
    return {};
  }

  Result<void> pre_tokenizer(const json::value& value, PreTokenizer& stages, std::size_t depth) {
    constexpr std::string_view kName = "pre_tokenizer";
    if (value.is_null()) return {};
    TERN_TRY(const std::string_view type, type_of(value, kName));
    const json::object& object = value.get_object();
    if (byte_level_) return unsupported(kName, printable(type) + " after ByteLevel");
    if (type == "Sequence") {
      TERN_TRY(const json::array* const members, sequence(value, "pretokenizers", kName, depth));
      for (const json::value& member : *members)
        TERN_TRY_VOID(pre_tokenizer(member, stages, depth + 1));
      return {};
    }
    if (stages.stages() >= kMaxStages)
      return fail(ErrorCode::too_large, "tokenizer: too many pre-tokenizers", at(kName));
    if (type == "Split") return split(object, stages);
    if (type == "Digits") {
      TERN_TRY(const bool each, get_bool_or(object, "individual_digits", false, at(kName)));
      const auto behavior = each ? SplitBehavior::isolated : SplitBehavior::contiguous;
      return stages.add_split(R"(\p{N})", behavior, false, at(kName));
    }
    if (type != "ByteLevel") return unsupported(kName, "type " + printable(type));
    byte_level_ = true;
    TERN_TRY(const bool prefix, get_bool_or(object, "add_prefix_space", false, at(kName)));
    if (prefix) stages.add_prefix_space();
    TERN_TRY(const bool use_regex, get_bool_or(object, "use_regex", true, at(kName)));
    if (use_regex)
      return stages.add_split(kGpt2Expression, SplitBehavior::isolated, false, at(kName));
    return {};
  }

  Result<void> split(const json::object& object, PreTokenizer& stages) const {
    constexpr std::string_view kName = "pre_tokenizer";
    const json::value& pattern = field(object, "pattern");
    if (!pattern.is_object()) return corrupt(kName, "a Split without a pattern");
    std::string expression;
    if (pattern.get_object().contains("String")) {
      TERN_TRY(const std::string_view literal,
               get_string(pattern.get_object(), "String", at(kName)));
      for (const char c : literal) {
        if (static_cast<unsigned char>(c) < 0x80 && std::string_view("\\^$.[]|()?*+{}").contains(c))
          expression += '\\';
        expression += c;
      }
    } else {
      TERN_TRY(expression, get_string(pattern.get_object(), "Regex", at(kName)));
    }
    TERN_TRY(const std::string_view name, get_string(object, "behavior", at(kName)));
    constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
        {"Removed", SplitBehavior::removed},
        {"Isolated", SplitBehavior::isolated},
        {"MergedWithPrevious", SplitBehavior::merged_with_previous},
        {"MergedWithNext", SplitBehavior::merged_with_next},
        {"Contiguous", SplitBehavior::contiguous}};
    const auto* const behavior =
        std::ranges::find(kBehaviors, name, &std::pair<std::string_view, SplitBehavior>::first);
    if (behavior == std::end(kBehaviors))
      return unsupported(kName, "Split behavior " + printable(name));
    TERN_TRY(const bool invert, get_bool_or(object, "invert", false, at(kName)));
    return stages.add_split(expression, behavior->second, invert, at(kName));
  }

  Result<void> added_tokens(TokenizerParts& parts) const {
    const json::value& value = field(root_, "added_tokens");
    if (value.is_null()) return {};
    if (!value.is_array()) return corrupt("added_tokens", "expected an array");
    for (std::size_t i = 0; i < value.get_array().size(); ++i) {
      const std::string place = "added_tokens[" + std::to_string(i) + "]";
      const json::value& entry = value.get_array()[i];
      if (!entry.is_object()) return corrupt(place, "expected an object");
      const json::object& object = entry.get_object();
      AddedToken token;
      TERN_TRY(const std::uint64_t id, get_uint(object, "id", at(place)));
      if (id > kMaxTokenId) return corrupt(place, "id " + std::to_string(id) + " is too large");
      token.id = static_cast<TokenId>(id);
      TERN_TRY(token.content, get_string(object, "content", at(place)));
      TERN_TRY(token.special, get_bool_or(object, "special", false, at(place)));
      TERN_TRY(token.lstrip, get_bool_or(object, "lstrip", false, at(place)));
      TERN_TRY(token.rstrip, get_bool_or(object, "rstrip", false, at(place)));
      TERN_TRY(token.single_word, get_bool_or(object, "single_word", false, at(place)));
      TERN_TRY(token.normalized, get_bool_or(object, "normalized", false, at(place)));
      parts.added.push_back(std::move(token));
    }
    return {};
  }

  static constexpr std::size_t kMaxStages = 16;

  const json::object& root_;
  std::string_view where_;
  bool byte_level_ = false;
};

}  // namespace

Result<Tokenizer> Tokenizer::from_json(std::string_view text, std::string_view where) {
  if (text.size() > kMaxFile)
    return fail(ErrorCode::too_large,
                "tokenizer of " + std::to_string(text.size()) + " bytes, at most " +
                    std::to_string(kMaxFile) + " are read",
                std::string(where));
  json::parse_options options;
  options.max_depth = 64;
  json::basic_parser<Handler> parser(options);
  json::error_code ec;
  const std::size_t consumed = parser.write_some(false, text.data(), text.size(), ec);
  Handler& handler = parser.handler();
  const std::string place = std::string(where) + ", byte " + std::to_string(consumed);
  if (ec)
    return fail(
        ec == json::error::too_deep || ec == json::error::array_too_large ? ErrorCode::too_large
                                                                          : ErrorCode::corrupt,
        "tokenizer: " + (handler.problem.empty() ? "JSON: " + ec.message() : handler.problem),
        place, consumed + 1 >= text.size() ? "the file ends early" : "");
  if (text.find_first_not_of(" \t\r\n", consumed) != std::string_view::npos)
    return fail(ErrorCode::corrupt, "tokenizer: text after the JSON value", place);

  const json::value root = handler.release();
  if (!root.is_object())
    return fail(ErrorCode::corrupt, "tokenizer: expected a JSON object", std::string(where));
  TokenizerParts parts;
  TERN_TRY_VOID(FileReader(root.get_object(), where).read(parts));
  if (!handler.has_vocabulary || !handler.has_merges)
    return fail(ErrorCode::corrupt,
                "tokenizer: expected model.vocab, an object, and model.merges, an array",
                std::string(where));
  parts.vocabulary.reserve(handler.tokens.size());
  for (const auto& [kept, id] : handler.tokens)
    parts.vocabulary.push_back({handler.text(kept), id});
  parts.merges.reserve(handler.merge_parts.size() / 2);
  for (std::size_t i = 0; i + 1 < handler.merge_parts.size(); i += 2)
    parts.merges.emplace_back(handler.text(handler.merge_parts[i]),
                              handler.text(handler.merge_parts[i + 1]));
  TERN_TRY(auto data, Data::build(std::move(parts), where));
  return Tokenizer(std::move(data));
}

}  // namespace tern::text
