#include "quant/turboquant.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/cpu.h"
#include "quant/random.h"

namespace tern::quant {
namespace {

Result<void> check(std::size_t dim, unsigned bits) {
  if (bits < 1 || bits > kMaxTurboBits)
    return fail(ErrorCode::unsupported, "TurboQuant has 1 to " + std::to_string(kMaxTurboBits) +
                                            " bits for each coordinate, not " +
                                            std::to_string(bits));
  if (dim == 0 || dim % 32 != 0)
    return fail(ErrorCode::unsupported,
                "TurboQuant takes vectors of a multiple of 32 values, not " + std::to_string(dim));
  return {};
}

/// Rotated vectors and the norms of the originals, which are theirs.
struct Rotated {
  std::vector<float> r, norm;
};
Rotated rotate(const Rotation& rotation, std::span<const float> x) {
  const std::size_t dim = rotation.dim(), count = x.size() / dim;
  TERN_CHECK(x.size() == count * dim);
  std::vector<float> clean(x.size());
  std::ranges::transform(x, clean.begin(), storable);
  Rotated out{std::vector<float>(x.size()), std::vector<float>(count)};
  for (std::size_t v = 0; v < count; ++v)
    out.norm[v] = std::sqrt(codec_kernels(active_isa()).square_sum(clean.data() + v * dim, dim));
  rotation.forward_batch(clean.data(), count, out.r.data());
  return out;
}

/// 1 / norm, or 0 for what is as good as a zero vector.
float inverse(float norm) {
  return norm > 1e-18f ? 1 / norm : 0;
}

}  // namespace

Result<TurboMse> TurboMse::create(Rotation rotation, unsigned bits) {
  TERN_TRY_VOID(check(rotation.dim(), bits));
  const Codebook& codebook = sphere_codebook(rotation.dim(), bits);
  return TurboMse(std::move(rotation), codebook);
}

MseCodes TurboMse::encode(std::span<const float> x) const {
  const Rotated rotated = rotate(rotation_, x);
  MseCodes codes{std::vector<std::uint8_t>(x.size()), rotated.norm};
  for (std::size_t v = 0; v < codes.norm.size(); ++v)
    codec_kernels(active_isa())
        .assign(rotated.r.data() + v * dim(), dim(), inverse(codes.norm[v]), table_,
                codes.index.data() + v * dim());
  return codes;
}

void TurboMse::decode(const MseCodes& codes, std::span<float> x) const {
  TERN_CHECK(codes.index.size() == x.size() && x.size() == codes.norm.size() * dim());
  std::vector<float> r(x.size());
  for (std::size_t i = 0; i < r.size(); ++i)
    r[i] = codes.norm[i / dim()] * table_.levels[codes.index[i]];
  rotation_.inverse_batch(r.data(), codes.norm.size(), x.data());
}

GaussianProjection GaussianProjection::make(std::size_t dim, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> columns(dim * dim);
  for (float& value : columns) value = static_cast<float>(random.normal());
  return {dim, std::move(columns)};
}

void GaussianProjection::project(const float* x, std::size_t count, float* y) const {
  codec_kernels(active_isa()).multiply(columns_->data(), dim_, x, count, y);
}

TurboProd::TurboProd(Rotation rotation, GaussianProjection projection, const Codebook* codebook)
    : rotation_(std::move(rotation)), projection_(std::move(projection)) {
  if (codebook != nullptr) table_.emplace_back(*codebook);
}

Result<TurboProd> TurboProd::create(Rotation rotation, GaussianProjection projection,
                                    unsigned bits) {
  TERN_TRY_VOID(check(rotation.dim(), bits));
  TERN_CHECK(projection.dim() == rotation.dim());
  const Codebook* codebook = bits == 1 ? nullptr : &sphere_codebook(rotation.dim(), bits - 1);
  return TurboProd(std::move(rotation), std::move(projection), codebook);
}

double TurboProd::unbias() const {
  return std::sqrt(std::numbers::pi / 2) / static_cast<double>(dim());
}

ProdCodes TurboProd::encode(std::span<const float> x) const {
  const CodecKernels& kernels = codec_kernels(active_isa());
  Rotated rotated = rotate(rotation_, x);
  const std::size_t count = rotated.norm.size();
  ProdCodes codes{{}, std::vector<std::uint8_t>(x.size()), rotated.norm, std::vector<float>(count)};
  if (!table_.empty()) codes.index.resize(x.size());
  std::vector<float>& e = rotated.r;
  for (std::size_t v = 0; v < count; ++v) {
    const float scale = inverse(codes.norm[v]);
    float* const r = e.data() + v * dim();
    if (!table_.empty()) kernels.assign(r, dim(), scale, table_[0], codes.index.data() + v * dim());
    for (std::size_t i = 0; i < dim(); ++i) {
      const float level = table_.empty() ? 0 : table_[0].levels[codes.index[v * dim() + i]];
      r[i] = r[i] * scale - level;
    }
    codes.residual[v] = std::sqrt(kernels.square_sum(r, dim()));
  }
  std::vector<float> projected(x.size());
  projection_.project(e.data(), count, projected.data());
  std::ranges::transform(projected, codes.sign.begin(),
                         [](float p) { return static_cast<std::uint8_t>(p >= 0); });
  return codes;
}

void TurboProd::decode(const ProdCodes& codes, std::span<float> x) const {
  TERN_CHECK(codes.sign.size() == x.size() && x.size() == codes.norm.size() * dim());
  std::vector<float> r(x.size()), signs(dim());
  for (std::size_t v = 0; v < codes.norm.size(); ++v) {
    const std::size_t first = v * dim();
    for (std::size_t i = 0; i < dim(); ++i) signs[i] = codes.sign[first + i] != 0 ? 1.0f : -1.0f;
    for (std::size_t i = 0; i < dim(); ++i) {
      const std::span<const float> column = projection_.columns().subspan(i * dim(), dim());
      double sum = 0;  // (S^T s)[i]
      for (std::size_t row = 0; row < dim(); ++row)
        sum += static_cast<double>(column[row]) * static_cast<double>(signs[row]);
      const double level =
          table_.empty() ? 0 : static_cast<double>(table_[0].levels[codes.index[first + i]]);
      const double u = level + static_cast<double>(codes.residual[v]) * unbias() * sum;
      r[first + i] = static_cast<float>(static_cast<double>(codes.norm[v]) * u);
    }
  }
  rotation_.inverse_batch(r.data(), codes.norm.size(), x.data());
}

ProdQueries TurboProd::queries(std::span<const float> y) const {
  const std::size_t count = y.size() / dim();
  TERN_CHECK(y.size() == count * dim());
  ProdQueries out{std::vector<float>(y.size()), std::vector<float>(y.size())};
  rotation_.forward_batch(y.data(), count, out.rotated.data());
  projection_.project(out.rotated.data(), count, out.projected.data());
  return out;
}

double TurboProd::inner_product(const ProdQueries& queries, std::size_t query,
                                const ProdCodes& codes, std::size_t vector) const {
  const float* const y = queries.rotated.data() + query * dim();
  const float* const sy = queries.projected.data() + query * dim();
  double levels = 0, signs = 0;
  for (std::size_t i = 0; i < dim(); ++i) {
    const std::size_t at = vector * dim() + i;
    if (!table_.empty())
      levels += static_cast<double>(y[i]) * static_cast<double>(table_[0].levels[codes.index[at]]);
    signs += codes.sign[at] != 0 ? static_cast<double>(sy[i]) : -static_cast<double>(sy[i]);
  }
  const auto residual = static_cast<double>(codes.residual[vector]);
  return static_cast<double>(codes.norm[vector]) * (levels + residual * unbias() * signs);
}

}  // namespace tern::quant
