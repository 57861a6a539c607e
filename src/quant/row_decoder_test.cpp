#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include "base/json.h"
#include "base/test_paths.h"
#include "quant/matrix.h"
#include "quant/sample_matrix.h"

namespace tern::quant {
namespace {

constexpr Isa kIsas[] = {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512, Isa::amx};

std::vector<float> decode(const Matrix& matrix, Isa isa) {
  std::vector<float> values(matrix.rows * matrix.cols);
  DecodeRow* const decoder = row_decoder(matrix, isa);
  for (std::size_t row = 0; row < matrix.rows; ++row)
    decoder(matrix, row, std::span(values).subspan(row * matrix.cols, matrix.cols));
  return values;
}

/// Equal bits, or both NaN.
bool same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

void expect_same(std::span<const float> actual, std::span<const float> expected,
                 const std::string& label) {
  ASSERT_EQ(actual.size(), expected.size()) << label;
  for (std::size_t i = 0; i < actual.size(); ++i)
    ASSERT_TRUE(same(actual[i], expected[i]))
        << label << ": value " << i << " is " << actual[i] << ", expected " << expected[i];
}

std::vector<char> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

/// One case of tests/golden/quant/manifest.json.
struct Golden {
  std::string name;
  std::vector<std::byte> planes[3];  // codes, scales, biases
  std::vector<float> expected;
  Matrix matrix;
};

Golden load(const json::object& row, const std::vector<char>& file) {
  const auto number = [&](const char* key) {
    return row.contains(key) ? row.at(key).to_number<std::size_t>() : 0;
  };
  Golden golden{.name = std::string(row.at("name").as_string()),
                .planes = {},
                .expected = std::vector<float>(number("rows") * number("cols")),
                .matrix = {}};
  std::size_t at = number("offset");
  for (std::size_t i = 0; i < 3; ++i) {
    golden.planes[i].resize(row.at("plane_bytes").as_array()[i].to_number<std::size_t>());
    std::ranges::copy(std::as_bytes(std::span(file)).subspan(at, golden.planes[i].size()),
                      golden.planes[i].begin());
    at += golden.planes[i].size();
  }
  std::memcpy(golden.expected.data(), file.data() + at, golden.expected.size() * sizeof(float));

  Matrix& m = golden.matrix;
  m.rows = number("rows"), m.cols = number("cols");
  m.bits = static_cast<std::uint32_t>(number("bits"));
  m.group = static_cast<std::uint32_t>(number("group"));
  for (int s = 0; s <= static_cast<int>(Scheme::mlx_nvfp4); ++s)
    if (name(static_cast<Scheme>(s)) == row.at("scheme").as_string())
      m.scheme = static_cast<Scheme>(s);
  for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::u8})
    if (row.contains("scale_type") && name(type) == row.at("scale_type").as_string())
      m.scale_type = type;
  m.codes = golden.planes[0].data(), m.code_stride = golden.planes[0].size() / m.rows;
  m.scale_stride = golden.planes[1].size() / m.rows;
  m.scales = golden.planes[1].empty() ? nullptr : golden.planes[1].data();
  m.biases = golden.planes[2].empty() ? nullptr : golden.planes[2].data();
  return golden;
}

std::vector<Golden> goldens() {
  const std::string dir = source_dir() + "/tests/golden/quant/";
  const auto text = read(dir + "manifest.json");
  const auto manifest = parse_json({text.data(), text.size()}, "manifest.json");
  EXPECT_TRUE(manifest) << manifest.error().message();
  std::map<std::string, std::vector<char>> files;
  for (const char* file : {"gguf.bin", "mlx.bin"}) files[file] = read(dir + file);
  std::vector<Golden> cases;
  for (const auto& row : manifest->at("cases").as_array())
    cases.push_back(load(row.as_object(), files.at(std::string(row.at("file").as_string()))));
  return cases;
}

TEST(RowDecoder, DecodesEveryFormatAsItsReferenceDoes) {
  const auto cases = goldens();
  EXPECT_EQ(cases.size(), 15 + 30 + 3);
  for (const auto& golden : cases)
    for (const Isa isa : kIsas)
      if (supported(isa))
        expect_same(decode(golden.matrix, isa), golden.expected,
                    golden.name + " " + std::string(name(isa)));
}

TEST(RowDecoder, EveryInstructionSetGivesTheSameFloats) {
  SampleMaker maker(1, /*tame=*/false);
  for (const Format& format : all_formats())
    for (const std::size_t units : {1uz, 2uz, 3uz, 5uz, 8uz}) {
      const auto sample = maker.make(format, 3, units * format.unit());
      const auto expected = decode(sample.matrix, Isa::scalar);
      for (const Isa isa : kIsas)
        if (supported(isa))
          expect_same(decode(sample.matrix, isa), expected,
                      format.label() + " " + std::string(name(isa)));
    }
}

TEST(RowDecoder, DecodesPartsOfRowsAndColumnsAsTheWhole) {
  SampleMaker maker(2, /*tame=*/false);
  for (const Format& format : all_formats()) {
    const std::size_t cols = 768;
    const auto sample = maker.make(format, 5, cols);
    const auto whole = decode(sample.matrix, Isa::scalar);
    const Matrix part = sample.matrix.slice(1, 3).columns(256, 512);
    EXPECT_EQ(part.bytes(), sample.matrix.bytes() / 15 * 6) << format.label();
    const auto values = decode(part, best_isa());
    for (std::size_t row = 0; row < 3; ++row)
      expect_same(std::span(values).subspan(row * 512, 512),
                  std::span(whole).subspan((row + 1) * cols + 256, 512), format.label());
  }
}

/// Memory whose last byte is followed by a page that must not be touched.
class GuardedBytes {
 public:
  explicit GuardedBytes(std::span<const std::byte> bytes) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t room = (bytes.size() + page - 1) / page * page;
    size_ = room + page;
    map_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TERN_CHECK(map_ != MAP_FAILED);
    auto* const begin = static_cast<std::byte*>(map_);
    TERN_CHECK(::mprotect(begin + room, page, PROT_NONE) == 0);
    data_ = begin + room - bytes.size();  // misaligned whenever the size is odd
    std::copy(bytes.begin(), bytes.end(), begin + room - bytes.size());
  }
  ~GuardedBytes() { ::munmap(map_, size_); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  const std::byte* data() const { return data_; }

 private:
  void* map_ = nullptr;
  std::size_t size_ = 0;
  const std::byte* data_ = nullptr;
};

TEST(RowDecoder, NeverReadsPastThePlanes) {
  SampleMaker maker(3, /*tame=*/false);
  for (const Format& format : all_formats())
    for (const std::size_t units : {1uz, 2uz, 3uz, 4uz, 5uz}) {
      const auto sample = maker.make(format, 2, units * format.unit());
      const auto expected = decode(sample.matrix, Isa::scalar);
      const GuardedBytes codes(sample.codes), scales(sample.scales), biases(sample.biases);
      Matrix guarded = sample.matrix;
      guarded.codes = codes.data();
      if (guarded.scales != nullptr) guarded.scales = scales.data();
      if (guarded.biases != nullptr) guarded.biases = biases.data();
      for (const Isa isa : kIsas)
        if (supported(isa))
          expect_same(decode(guarded, isa), expected,
                      format.label() + " " + std::string(name(isa)));
    }
}

TEST(RowDecoder, MisalignedPlanesDecodeTheSame) {
  SampleMaker maker(4, /*tame=*/false);
  for (const Format& format : all_formats()) {
    const auto sample = maker.make(format, 2, 2 * format.unit());
    const auto expected = decode(sample.matrix, Isa::scalar);
    std::array<std::vector<std::byte>, 3> moved;
    const std::vector<std::byte>* planes[] = {&sample.codes, &sample.scales, &sample.biases};
    for (std::size_t i = 0; i < 3; ++i) {
      moved[i].resize(planes[i]->size() + 1);
      std::copy(planes[i]->begin(), planes[i]->end(), moved[i].begin() + 1);
    }
    Matrix matrix = sample.matrix;
    matrix.codes = moved[0].data() + 1;
    if (matrix.scales != nullptr) matrix.scales = moved[1].data() + 1;
    if (matrix.biases != nullptr) matrix.biases = moved[2].data() + 1;
    for (const Isa isa : kIsas)
      if (supported(isa)) expect_same(decode(matrix, isa), expected, format.label());
  }
}

TEST(RowDecoder, ANegativeMlxScaleRunsDownwards) {
  const std::uint32_t words[] = {0x76543210, 0xfedcba98, 0, 0};  // 4 bits: 0 ... 15, then zeros
  const float scale = -0.5f, bias = 3.0f;
  const auto bytes = [](const auto& v) { return std::as_bytes(std::span(&v, 1)).data(); };
  const Matrix matrix{.scheme = Scheme::mlx_affine,
                      .rows = 1,
                      .cols = 32,
                      .codes = bytes(words),
                      .code_stride = sizeof words,
                      .bits = 4,
                      .group = 32,
                      .scales = bytes(scale),
                      .biases = bytes(bias),
                      .scale_stride = sizeof scale,
                      .scale_type = DType::f32};
  const auto values = decode(matrix, Isa::scalar);
  EXPECT_EQ(values[0], 3.0f);
  EXPECT_EQ(values[1], 2.5f);
  EXPECT_EQ(values[15], -4.5f);
  EXPECT_EQ(values[16], 3.0f);
}

}  // namespace
}  // namespace tern::quant
