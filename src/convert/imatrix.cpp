#include "convert/imatrix.h"

#include <cmath>
#include <cstring>

#include "base/printable.h"
#include "formats/gguf.h"

namespace tern::convert {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";

std::vector<float> floats(const Tensor& tensor) {
  std::vector<float> values(tensor.data.size() / sizeof(float));
  std::memcpy(values.data(), tensor.data.data(), values.size() * sizeof(float));
  return values;
}

/// sum / count for each matrix of a stack; empty when none has a count.
std::vector<float> means(const std::vector<float>& sums, const std::vector<float>& counts) {
  const std::size_t matrices = counts.size(), inputs = sums.size() / matrices;
  std::vector<float> out(sums.size());
  std::vector<double> all(inputs);
  double total = 0;
  for (std::size_t m = 0; m < matrices; ++m) {
    if (!(counts[m] > 0)) continue;
    total += static_cast<double>(counts[m]);
    for (std::size_t i = 0; i < inputs; ++i) {
      out[m * inputs + i] = sums[m * inputs + i] / counts[m];
      all[i] += static_cast<double>(sums[m * inputs + i]);
    }
  }
  if (total == 0) return {};
  for (std::size_t m = 0; m < matrices; ++m)
    if (!(counts[m] > 0))
      for (std::size_t i = 0; i < inputs; ++i)
        out[m * inputs + i] = static_cast<float>(all[i] / total);
  return out;
}

Result<std::vector<float>> entry(const Tensor& sums, const Tensor* counts,
                                 const std::string& where) {
  const auto refuse = [&](const std::string& why) {
    return fail(ErrorCode::corrupt, "tensor " + printable(sums.name) + " " + why, where);
  };
  if (counts == nullptr || counts->type != DType::f32 || sums.type != DType::f32 ||
      counts->elements() == 0 || sums.elements() % counts->elements() != 0)
    return refuse("has no f32 counts beside it");
  const std::vector<float> values = floats(sums), numbers = floats(*counts);
  for (const auto* list : {&values, &numbers})
    for (const float value : *list)
      if (!(value >= 0) || std::isinf(value)) return refuse("holds " + std::to_string(value));
  std::vector<float> out = means(values, numbers);
  for (const float value : out)
    if (!std::isfinite(value)) return refuse("has means that no float holds");
  return out;
}

Result<Importance> read(const formats::Gguf& gguf, const std::string& where) {
  const auto type = gguf.metadata.get_string("general.type");
  if (!type || *type != "imatrix")
    return fail(ErrorCode::unsupported, "general.type is not \"imatrix\": no importance matrix",
                where, "tern imatrix makes one, and so does llama-imatrix");
  Importance importance;
  for (const Tensor& tensor : gguf.tensors.tensors()) {
    if (!tensor.name.ends_with(kSums)) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - kSums.size());
    TERN_TRY(auto values, entry(tensor, gguf.tensors.find(name + std::string(kCounts)), where));
    if (!values.empty()) importance.columns[name] = std::move(values);
  }
  if (importance.columns.empty())
    return fail(ErrorCode::corrupt, "an importance matrix without entries", where);
  return importance;
}

}  // namespace

Result<Importance> read_imatrix(const std::filesystem::path& path) {
  TERN_TRY(const auto file, MappedFile::open(path));
  return parse_imatrix(file.bytes(), path.string());
}

Result<Importance> parse_imatrix(Bytes file, const std::string& where) {
  TERN_TRY(const auto gguf, formats::read_gguf(file, where));
  return read(gguf, where);
}

}  // namespace tern::convert
