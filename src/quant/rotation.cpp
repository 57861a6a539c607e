#include "quant/rotation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/cpu.h"
#include "quant/codec_kernels.h"
#include "quant/random.h"

namespace tern::quant {
namespace {

constexpr std::array<std::pair<RotationKind, std::string_view>, 6> kNames = {{
    {RotationKind::identity, "identity"},
    {RotationKind::hadamard, "hadamard"},
    {RotationKind::haar, "haar"},
    {RotationKind::planar, "planar"},
    {RotationKind::iso, "iso"},
    {RotationKind::rotor, "rotor"},
}};

std::vector<float> draw_signs(std::size_t dim, Random& random) {
  std::vector<float> signs(dim);
  for (float& sign : signs) sign = random.next() >> 63 == 0 ? 1.0f : -1.0f;
  return signs;
}

/// The rows of a Gaussian matrix, made orthonormal in their order: the Q of its QR decomposition
/// whose R has a positive diagonal, which is Haar distributed (Mezzadri, arXiv:math-ph/0609050).
std::vector<float> draw_haar(std::size_t dim, Random& random) {
  std::vector<double> a(dim * dim);
  for (double& value : a) value = random.normal();
  const auto dot = [dim](const double* u, const double* v) {
    double lanes[8] = {};
    std::size_t i = 0;
    for (; i + 8 <= dim; i += 8)
      for (std::size_t lane = 0; lane < 8; ++lane) lanes[lane] += u[i + lane] * v[i + lane];
    double sum = 0;
    for (; i < dim; ++i) sum += u[i] * v[i];
    for (const double lane : lanes) sum += lane;
    return sum;
  };
  for (std::size_t row = 0; row < dim; ++row) {
    double* const q = a.data() + row * dim;
    const double norm = std::sqrt(dot(q, q));
    for (std::size_t i = 0; i < dim; ++i) q[i] /= norm;
    for (std::size_t later = row + 1; later < dim; ++later) {
      double* const v = a.data() + later * dim;
      const double along = dot(q, v);
      for (std::size_t i = 0; i < dim; ++i) v[i] -= along * q[i];
    }
  }
  return {a.begin(), a.end()};
}

/// `count` times cosine and sine of a uniform angle: a point of the disk, put on its circle.
void draw_angles(std::size_t count, Random& random, std::vector<float>& out) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto [x, y, square] = random.in_disk();
    const double norm = std::sqrt(square);
    out.push_back(static_cast<float>(x / norm));
    out.push_back(static_cast<float>(y / norm));
  }
}

/// `count` uniform points of the sphere in R^4.
void draw_quaternions(std::size_t count, Random& random, std::vector<float>& out) {
  for (std::size_t i = 0; i < count; ++i) {
    double q[4];
    double square = 0;
    for (double& value : q) {
      value = random.normal();
      square += value * value;
    }
    for (const double value : q) out.push_back(static_cast<float>(value / std::sqrt(square)));
  }
}

/// Columns of a square matrix given by rows.
std::vector<float> transposed(const std::vector<float>& rows, std::size_t dim) {
  std::vector<float> columns(rows.size());
  for (std::size_t r = 0; r < dim; ++r)
    for (std::size_t c = 0; c < dim; ++c) columns[c * dim + r] = rows[r * dim + c];
  return columns;
}

void turn_pair(float& a, float& b, float cosine, float sine) {
  const float u = a, v = b;
  a = cosine * u - sine * v;
  b = sine * u + cosine * v;
}

/// v <- q v, or with the conjugate of q its inverse. Hamilton's product.
void multiply_quaternion(float* v, const float* q, float conjugate) {
  const float w = q[0], x = conjugate * q[1], y = conjugate * q[2], z = conjugate * q[3];
  const float v0 = v[0], v1 = v[1], v2 = v[2], v3 = v[3];
  v[0] = w * v0 - x * v1 - y * v2 - z * v3;
  v[1] = w * v1 + x * v0 + y * v3 - z * v2;
  v[2] = w * v2 - x * v3 + y * v0 + z * v1;
  v[3] = w * v3 + x * v2 - y * v1 + z * v0;
}

/// v <- R v R~ for the rotor R = s + b12 e12 + b13 e13 + b23 e23, in two steps: the product R v has
/// a vector part u and a trivector part t e123; of (R v) R~ only the vector part is not zero.
void sandwich(float* v, const float* rotor, float reverse) {
  const float s = rotor[0], b12 = reverse * rotor[1], b13 = reverse * rotor[2],
              b23 = reverse * rotor[3];
  const float v1 = v[0], v2 = v[1], v3 = v[2];
  const float u1 = s * v1 + b12 * v2 + b13 * v3;
  const float u2 = s * v2 - b12 * v1 + b23 * v3;
  const float u3 = s * v3 - b13 * v1 - b23 * v2;
  const float t = b12 * v3 - b13 * v2 + b23 * v1;
  v[0] = s * u1 + b12 * u2 + b13 * u3 + b23 * t;
  v[1] = s * u2 - b12 * u1 + b23 * u3 - b13 * t;
  v[2] = s * u3 - b13 * u1 - b23 * u2 + b12 * t;
}

/// planar, iso and rotor; `direction` is 1, or -1 for the inverse.
void turn_groups(RotationKind kind, const float* parameters, std::span<float> x, float direction) {
  const float* p = parameters;
  std::size_t i = 0;
  if (kind == RotationKind::iso)
    for (; i + 4 <= x.size(); i += 4, p += 4) multiply_quaternion(&x[i], p, direction);
  if (kind == RotationKind::rotor)
    for (; i + 3 <= x.size(); i += 3, p += 4) sandwich(&x[i], p, direction);
  for (; i + 2 <= x.size(); i += 2, p += 2) turn_pair(x[i], x[i + 1], p[0], direction * p[1]);
}

void multiply(const std::vector<float>& columns, std::span<float> x) {
  const std::vector<float> input(x.begin(), x.end());
  codec_kernels(active_isa()).multiply(columns.data(), x.size(), input.data(), 1, x.data());
}

}  // namespace

std::string_view name(RotationKind kind) {
  return kNames[static_cast<std::size_t>(kind)].second;
}

std::optional<RotationKind> rotation_kind(std::string_view name) {
  for (const auto& [kind, known] : kNames)
    if (known == name) return kind;
  return std::nullopt;
}

Rotation Rotation::make(RotationKind kind, std::size_t dim, std::uint64_t seed) {
  TERN_CHECK(dim > 0);
  TERN_CHECK(kind != RotationKind::planar || dim % 2 == 0);
  TERN_CHECK(kind != RotationKind::iso || dim % 4 == 0);
  Random random(seed);
  Rotation rotation(kind, dim);
  std::vector<float> parameters;
  switch (kind) {
    case RotationKind::identity:
      break;
    case RotationKind::hadamard:
      parameters = draw_signs(dim, random);
      break;
    case RotationKind::haar:
      parameters = draw_haar(dim, random);
      rotation.columns_ = std::make_shared<const std::vector<float>>(transposed(parameters, dim));
      break;
    case RotationKind::planar:
      draw_angles(dim / 2, random, parameters);
      break;
    case RotationKind::iso:
      draw_quaternions(dim / 4, random, parameters);
      break;
    case RotationKind::rotor:
      draw_quaternions(dim / 3, random, parameters);
      if (dim % 3 == 2) draw_angles(1, random, parameters);
      break;
  }
  rotation.parameters_ = std::make_shared<const std::vector<float>>(std::move(parameters));
  return rotation;
}

void Rotation::forward(std::span<float> x) const {
  TERN_CHECK(x.size() == dim_);
  if (kind_ == RotationKind::identity) return;
  if (kind_ == RotationKind::hadamard)
    return codec_kernels(active_isa()).hadamard(x.data(), dim_, block(), parameters_->data(), true);
  if (kind_ == RotationKind::haar) return multiply(*columns_, x);
  turn_groups(kind_, parameters_->data(), x, 1);
}

void Rotation::inverse(std::span<float> x) const {
  TERN_CHECK(x.size() == dim_);
  if (kind_ == RotationKind::identity) return;
  if (kind_ == RotationKind::hadamard)
    return codec_kernels(active_isa())
        .hadamard(x.data(), dim_, block(), parameters_->data(), false);
  if (kind_ == RotationKind::haar) return multiply(*parameters_, x);  // the columns of R^T
  turn_groups(kind_, parameters_->data(), x, -1);
}

void Rotation::forward_batch(const float* x, std::size_t count, float* r) const {
  if (kind_ == RotationKind::haar)
    return codec_kernels(active_isa()).multiply(columns_->data(), dim_, x, count, r);
  std::copy_n(x, count * dim_, r);
  for (std::size_t i = 0; i < count; ++i) forward({r + i * dim_, dim_});
}

void Rotation::inverse_batch(const float* r, std::size_t count, float* x) const {
  if (kind_ == RotationKind::haar)
    return codec_kernels(active_isa()).multiply(parameters_->data(), dim_, r, count, x);
  std::copy_n(r, count * dim_, x);
  for (std::size_t i = 0; i < count; ++i) inverse({x + i * dim_, dim_});
}

}  // namespace tern::quant
