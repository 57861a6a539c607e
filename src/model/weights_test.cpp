#include "model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "model/golden_case.h"

namespace tern::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Stored {
  std::string name;
  DType type = DType::f32;
  Shape shape;
  std::vector<char> bytes;
};

std::string dtype_name(DType type) {
  switch (type) {
    case DType::bf16:
      return "BF16";
    case DType::f16:
      return "F16";
    case DType::f32:
      return "F32";
    case DType::i16:
      return "I16";
    case DType::i32:
      return "I32";
    case DType::u32:
      return "U32";
    case DType::u8:
      return "U8";
    case DType::i8:
      return "I8";
    case DType::f8_e4m3:
      return "F8_E4M3";
    default:
      ADD_FAILURE();
      return "";
  }
}

struct Files {
  std::string config;
  std::vector<Stored> tensors;

  explicit Files(const std::string& name) {
    config = *read_text_file(golden_folder(name) / "config.json", 1 << 20);
    const auto file = MappedFile::open(golden_folder(name) / "model.safetensors");
    const auto read = formats::read_safetensors(file->bytes(), "model.safetensors");
    for (const Tensor& t : read->tensors.tensors()) {
      const char* data = reinterpret_cast<const char*>(t.data.data());
      tensors.push_back({t.name, t.type, t.shape, {data, data + t.data.size()}});
    }
  }

  Stored& find(std::string_view name) {
    for (Stored& t : tensors)
      if (t.name == name) return t;
    throw std::runtime_error("no tensor " + std::string(name));
  }

  std::string serialized() const {
    json::object header;
    std::string data;
    for (const Stored& t : tensors) {
      json::array shape;
      for (const auto extent : t.shape) shape.push_back(extent);
      header[t.name] = {{"dtype", dtype_name(t.type)},
                        {"shape", shape},
                        {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
      data.append(t.bytes.begin(), t.bytes.end());
    }
    std::string text = json::serialize(header);
    text.resize((text.size() + 7) / 8 * 8, ' ');
    std::string length(8, '\0');
    const std::uint64_t n = text.size();
    std::memcpy(length.data(), &n, 8);
    return length + text + data;
  }
};

/// Owns the bytes that a checkpoint in memory looks at.
struct Opened {
  std::string config, weights;
  formats::Checkpoint checkpoint;
};

std::unique_ptr<Opened> open(const Files& files) {
  auto strings =
      std::make_unique<std::pair<std::string, std::string>>(files.config, files.serialized());
  const auto bytes = [](const std::string& s) { return std::as_bytes(std::span(s)); };
  static std::vector<std::unique_ptr<std::pair<std::string, std::string>>> kept;
  kept.push_back(std::move(strings));
  auto checkpoint =
      formats::Checkpoint::from_memory("tiny", {{"config.json", bytes(kept.back()->first)},
                                                {"model.safetensors", bytes(kept.back()->second)}});
  if (!checkpoint) throw std::runtime_error(checkpoint.error().message());
  return std::make_unique<Opened>("", "", std::move(*checkpoint));
}

/// The error of loading, or of running when loading accepts; nothing when all is well.
std::optional<Error> failure(const Files& files, const std::string& name) {
  const auto opened = open(files);
  auto model = Model::load(opened->checkpoint);
  if (!model) return model.error();
  ThreadPool pool(1);
  const Golden golden = read_golden(golden_folder(name) / "golden.safetensors");
  const auto logits = all_logits(*model, golden.tokens, 0, pool);
  if (!logits) return logits.error();
  return std::nullopt;
}

void resize_last(Stored& t, int by) {
  const std::uint64_t before = t.shape.back(), rows = t.bytes.size() / before;
  t.shape.back() = before + static_cast<std::uint64_t>(by);
  t.bytes.resize(rows * t.shape.back());
}

bool transpose(Stored& t) {
  Shape before = t.shape;
  if (t.shape.size() >= 2) std::swap(t.shape.back(), t.shape[t.shape.size() - 2]);
  return t.shape != before;
}

void retype(Stored& t) {
  t.type = t.type == DType::bf16  ? DType::i16
           : t.type == DType::f32 ? DType::i32
           : t.type == DType::u32 ? DType::f32
                                  : DType::i8;
}

bool fill_nan(Stored& t) {
  if (t.type == DType::bf16)
    for (std::size_t i = 0; i < t.bytes.size(); i += 2) std::memcpy(&t.bytes[i], "\xc0\x7f", 2);
  else if (t.type == DType::f32)
    for (std::size_t i = 0; i < t.bytes.size(); i += 4)
      std::memcpy(&t.bytes[i], "\x00\x00\xc0\x7f", 4);
  else if (t.type == DType::u8)  // E8M0
    std::ranges::fill(t.bytes, '\xff');
  else
    return false;
  return true;
}

const char* const kBases[] = {"all-kinds", "latent", "biases", "mlx-affine", "mlx-mxfp4"};

class EveryTensor : public testing::TestWithParam<const char*> {
 protected:
  /// Breaks each tensor in turn; `change` says whether it changed anything.
  void expect_refused(const std::function<bool(Files&, std::size_t)>& change) {
    const Files good(GetParam());
    for (std::size_t i = 0; i < good.tensors.size(); ++i) {
      Files broken = good;
      const std::string name = good.tensors[i].name;
      if (!change(broken, i)) continue;
      const auto error = failure(broken, GetParam());
      ASSERT_TRUE(error) << name << " was accepted";
      if (error->code == ErrorCode::numeric) continue;
      EXPECT_TRUE(error->code == ErrorCode::mismatch || error->code == ErrorCode::unsupported)
          << error->message();
      // Planes of a quantized module are named by the module.
      EXPECT_THAT(error->what, HasSubstr(name.substr(0, name.rfind('.'))));
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Bases, EveryTensor, testing::ValuesIn(kBases), [](const auto& of) {
  std::string text = of.param;
  std::ranges::replace(text, '-', '_');
  return text;
});

TEST_P(EveryTensor, IsAcceptedAsItIs) {
  EXPECT_FALSE(failure(Files(GetParam()), GetParam()));
}

TEST_P(EveryTensor, IsMissedWhenDropped) {
  expect_refused([](Files& files, std::size_t i) {
    files.tensors.erase(files.tensors.begin() + static_cast<std::ptrdiff_t>(i));
    return true;
  });
}

TEST_P(EveryTensor, IsRefusedTransposed) {
  expect_refused([](Files& files, std::size_t i) {
    Stored& t = files.tensors[i];
    return t.name.find("conv1d") == t.name.npos && transpose(t);
  });
}

TEST_P(EveryTensor, IsRefusedWithIntegersInIt) {
  expect_refused([](Files& files, std::size_t i) {
    retype(files.tensors[i]);
    return true;
  });
}

TEST_P(EveryTensor, IsRefusedOneColumnShortOrLong) {
  for (const int by : {-1, 1})
    expect_refused([&](Files& files, std::size_t i) {
      resize_last(files.tensors[i], by);
      return true;
    });
}

TEST_P(EveryTensor, FullOfNansIsRefusedOrNoticed) {
  expect_refused([](Files& files, std::size_t i) { return fill_nan(files.tensors[i]); });
}

TEST(Weights, ReportAllMisfitsAtOnceWithBothNamesAndShapes) {
  Files files("all-kinds");
  files.tensors.erase(files.tensors.begin() +
                      (&files.find("backbone.norm_f.weight") - files.tensors.data()));
  resize_last(files.find("backbone.layers.1.mixer.q_proj.weight"), 1);
  retype(files.find("backbone.layers.0.mixer.D"));
  const auto error = failure(files, "all-kinds");
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what,
              AllOf(HasSubstr("3 tensors"), HasSubstr("backbone.norm_f.weight"),
                    HasSubstr("output_norm.weight"),
                    HasSubstr("\"backbone.layers.1.mixer.q_proj.weight\" (\"blk.1.attn_q.weight\" "
                              "in GGUF): expected [48, 48], file holds [48, 49]"),
                    HasSubstr("backbone.layers.0.mixer.D"), HasSubstr("i32")));
}

TEST(Weights, ShortenALongListOfMisfits) {
  Files files("all-kinds");
  files.tensors.resize(1);
  const auto error = failure(files, "all-kinds");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ErrorCode::mismatch);
  EXPECT_THAT(error->what, testing::ContainsRegex("^[0-9]+ tensors .*; and [0-9]+ more$"));
  EXPECT_LT(error->what.size(), 4000u);
}

TEST(Weights, OfFp8CheckpointsAreUnsupported) {
  Files files("all-kinds");
  Stored& t = files.find("backbone.layers.0.mixer.in_proj.weight");
  t.type = DType::f8_e4m3;
  t.bytes.resize(t.bytes.size() / 2);
  const auto error = failure(files, "all-kinds");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ErrorCode::unsupported);
}

TEST(Weights, IgnoreOtherPartsAndListWhatIsUnknown) {
  Files files("all-kinds");
  for (const char* name :
       {"vision_model.radio_model.x", "mtp.layers.0.norm.weight", "mlp1.0.weight",
        "sound_encoder.encoder.y", "backbone.layers.0.mixer.surprise"})
    files.tensors.push_back({name, DType::f32, {1}, std::vector<char>(4)});
  const auto opened = open(files);
  const auto model = Model::load(opened->checkpoint);
  ASSERT_TRUE(model) << model.error().message();
  EXPECT_EQ(model->ignored(), (std::vector<std::string>{"backbone.layers.0.mixer.surprise"}));
}

TEST(Weights, AreCountedOnceAndListedByRole) {
  const Files files("all-kinds");
  const auto opened = open(files);
  const auto model = Model::load(opened->checkpoint);
  ASSERT_TRUE(model);
  std::uint64_t elements = 0, bytes = 0;
  for (const Stored& t : files.tensors) {
    std::uint64_t n = 1;
    for (const auto extent : t.shape) n *= extent;
    elements += n;
    bytes += t.bytes.size();
  }
  EXPECT_EQ(model->parameters(), elements);
  EXPECT_EQ(model->weight_bytes(), bytes);
  bool experts = false;
  for (const TensorEntry& entry : model->tensors())
    if (entry.name == "backbone.layers.2.mixer.experts.0-4.up_proj.weight") {
      experts = true;
      EXPECT_EQ(entry.role, "experts");
      EXPECT_EQ(entry.shape, "[5, 20, 48]");
      EXPECT_EQ(entry.type, "bf16");
    }
  EXPECT_TRUE(experts);
}

TEST(Weights, OfConvolutionsAreReadInEveryLayout) {
  const Files good("all-kinds");
  const auto opened = open(good);
  auto model = Model::load(opened->checkpoint);
  ThreadPool pool(1);
  const Golden golden = read_golden(golden_folder("all-kinds") / "golden.safetensors");
  const auto expected = *all_logits(*model, golden.tokens, 0, pool);
  for (const bool squeezed : {false, true}) {
    Files other = good;
    for (Stored& t : other.tensors)
      if (t.name.ends_with("conv1d.weight"))
        t.shape = squeezed ? Shape{t.shape[0], t.shape[2]} : Shape{t.shape[0], t.shape[2], 1};
    const auto again = open(other);
    auto second = Model::load(again->checkpoint);
    ASSERT_TRUE(second) << second.error().message();
    EXPECT_TRUE(*all_logits(*second, golden.tokens, 0, pool) == expected);
  }
}

TEST(Weights, OfAnMlxModuleNeedTheFormatThatTheConfigurationSays) {
  Files files("mlx-affine");
  auto config = json::parse(files.config).as_object();
  config["quantization"].as_object()["bits"] = 8;
  files.config = json::serialize(config);
  const auto error = failure(files, "mlx-affine");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ErrorCode::mismatch);
  EXPECT_THAT(error->what, HasSubstr("4 bits")) << "what the shapes imply";
  config["quantization"].as_object()["bits"] = 4;
  config["quantization"].as_object()["mode"] = "int7";
  files.config = json::serialize(config);
  EXPECT_EQ(failure(files, "mlx-affine")->code, ErrorCode::unsupported);
}

TEST(Weights, OverridesMayBeKeyedWithOrWithoutTheTower) {
  Files files("mlx-affine");
  auto config = json::parse(files.config).as_object();
  auto& map = config["quantization"].as_object();
  const json::value lm_head = map["lm_head"];
  map.erase("lm_head");
  map["language_model.lm_head"] = lm_head;
  files.config = json::serialize(config);
  EXPECT_FALSE(failure(files, "mlx-affine"));
  for (Stored& t : files.tensors) t.name = "language_model." + t.name;
  EXPECT_FALSE(failure(files, "mlx-affine"));
  map.erase("language_model.lm_head");
  map["lm_head"] = lm_head;
  files.config = json::serialize(config);
  EXPECT_FALSE(failure(files, "mlx-affine"));
}

/// gguf-q8_0 with its bytes changed by `change(bytes, tensors)`, loaded and run.
std::optional<Error> gguf_failure(
    const std::function<void(std::string&, const formats::TensorTable&, const std::byte*)>&
        change) {
  const auto file = MappedFile::open(golden_folder("gguf-q8_0") / "model.gguf");
  const auto gguf = formats::read_gguf(file->bytes(), "model.gguf");
  std::string bytes(as_text(file->bytes()));
  change(bytes, gguf->tensors, file->bytes().data());
  const auto path = std::filesystem::path(testing::TempDir()) /
                    ("tern_weights_test_" + std::to_string(::getpid()) + ".gguf");
  std::ofstream(path, std::ios::binary) << bytes;
  const auto checkpoint = formats::Checkpoint::open(path);
  std::filesystem::remove(path);
  if (!checkpoint) return checkpoint.error();
  auto model = Model::load(*checkpoint);
  if (!model) return model.error();
  ThreadPool pool(1);
  const Golden golden = read_golden(golden_folder("gguf-q8_0") / "golden.safetensors");
  const auto logits = all_logits(*model, golden.tokens, 0, pool);
  return logits ? std::nullopt : std::optional(logits.error());
}

TEST(GgufWeights, AreMissedOneByOne) {
  const auto file = MappedFile::open(golden_folder("gguf-q8_0") / "model.gguf");
  const auto gguf = formats::read_gguf(file->bytes(), "model.gguf");
  for (const Tensor& tensor : gguf->tensors.tensors()) {
    if (tensor.name == "output.weight") continue;  // then the embeddings serve
    const auto error = gguf_failure([&](std::string& bytes, const auto&, const std::byte*) {
      std::string header(8, '\0');  // the length of the name stands before it
      header[0] = static_cast<char>(tensor.name.size());
      bytes[bytes.find(header + tensor.name) + 9] = '_';
    });
    ASSERT_TRUE(error) << tensor.name;
    EXPECT_EQ(error->code, ErrorCode::mismatch);
    EXPECT_THAT(error->what, HasSubstr("no tensor \"" + tensor.name + "\""));
  }
}

TEST(GgufWeights, WithScalesThatAreNotFiniteAreNoticed) {
  const auto file = MappedFile::open(golden_folder("gguf-q8_0") / "model.gguf");
  const auto gguf = formats::read_gguf(file->bytes(), "model.gguf");
  for (const Tensor& tensor : gguf->tensors.tensors()) {
    const auto error = gguf_failure([&](std::string& bytes, const auto&, const std::byte*) {
      const auto at = static_cast<std::size_t>(tensor.data.data() - file->bytes().data());
      const std::size_t step = tensor.type == DType::q8_0 ? 34 : 4;
      for (std::size_t i = 0; i < tensor.data.size(); i += step)
        std::memcpy(&bytes[at + i], tensor.type == DType::q8_0 ? "\x00\x7e" : "\x00\x00\xc0\x7f",
                    tensor.type == DType::q8_0 ? 2 : 4);
    });
    ASSERT_TRUE(error) << tensor.name;
    EXPECT_TRUE(error->code == ErrorCode::mismatch || error->code == ErrorCode::numeric);
  }
}

}  // namespace
}  // namespace tern::model
