#include "state/sequence.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/checked.h"
#include "tensor/half.h"

namespace tern::state {
namespace {

using kernels::kKvPageTokens;
using kernels::KvType;
using kernels::value_bytes;

std::uint64_t physical_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), size = ::sysconf(_SC_PAGE_SIZE);
  return pages > 0 && size > 0
             ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size)
             : std::uint64_t(-1);
}

std::optional<std::uint64_t> product(std::initializer_list<std::uint64_t> factors) {
  return checked_product(std::span(factors.begin(), factors.size()));
}

std::unexpected<Error> no_memory(std::string_view what, std::uint64_t bytes) {
  return fail(ErrorCode::no_memory,
              "no memory for " + std::to_string(bytes) + " bytes of " + std::string(what), "",
              "a shorter context or a smaller cache type needs less");
}

Result<KvType> plain_type(const KvConfig& kv) {
  if (kv.keys == kv.values) {
    if (kv.keys == KvScheme::f32) return KvType::f32;
    if (kv.keys == KvScheme::f16) return KvType::f16;
    if (kv.keys == KvScheme::bf16) return KvType::bf16;
  }
  return fail(ErrorCode::unsupported,
              "a cache with keys of type " + std::string(quant::name(kv.keys)) +
                  " and values of type " + std::string(quant::name(kv.values)));
}

}  // namespace

std::uint64_t SequenceShape::kv_bytes_per_token(const KvConfig& kv) const {
  const auto type = plain_type(kv);
  return 2 * std::uint64_t{attention_layers} * kv_heads * head_dim *
         value_bytes(type.value_or(KvType::f16));
}

std::uint64_t SequenceShape::state_bytes() const {
  return std::uint64_t{mamba_layers} * (std::uint64_t{conv_columns} * conv_channels + ssm_values) *
         sizeof(float);
}

Result<Sequence> Sequence::create(const SequenceShape& shape, const KvConfig& kv_config,
                                  std::size_t capacity) {
  TERN_TRY(const KvType type, plain_type(kv_config));
  const auto tokens = checked_align(capacity, kKvPageTokens);
  const auto kv = tokens ? product({*tokens, shape.kv_bytes_per_token(kv_config)}) : std::nullopt;
  const auto total = kv ? checked_add(*kv, shape.state_bytes()) : std::nullopt;
  if (!total || *total > physical_memory())
    return fail(ErrorCode::too_large,
                "a conversation of " + std::to_string(capacity) + " tokens needs " +
                    (total ? std::to_string(*total) : "more than 2^64") +
                    " bytes, the machine has " + std::to_string(physical_memory()),
                "", "a shorter context or a smaller cache type needs less");
  Sequence sequence;
  sequence.shape_ = shape;
  sequence.config_ = kv_config;
  sequence.type_ = type;
  sequence.capacity_ = capacity;
  try {
    sequence.layers_.resize(shape.attention_layers);
    sequence.states_ = Buffer<float>(shape.state_bytes() / sizeof(float));
  } catch (const std::bad_alloc&) {
    return no_memory("recurrent state", shape.state_bytes());
  }
  return sequence;
}

std::size_t Sequence::head_bytes() const {
  return kKvPageTokens * shape_.head_dim * value_bytes(type_);
}

std::size_t Sequence::page_bytes() const {
  return 2 * shape_.kv_heads * head_bytes();
}

std::uint64_t Sequence::bytes() const {
  std::uint64_t sum = states_.size() * sizeof(float);
  for (const Layer& layer : layers_) sum += layer.pages.size() * page_bytes();
  return sum;
}

Result<void> Sequence::reserve(std::size_t tokens) {
  if (tokens > capacity_ - position_)
    return fail(ErrorCode::too_large, "the context holds " + std::to_string(capacity_) +
                                          " tokens; " + std::to_string(position_) + " are taken, " +
                                          std::to_string(tokens) + " more do not fit");
  const std::size_t pages = (position_ + tokens + kKvPageTokens - 1) / kKvPageTokens;
  try {
    for (Layer& layer : layers_) {
      layer.addresses.reserve(pages);
      while (layer.pages.size() < pages) {
        layer.pages.emplace_back(page_bytes());
        layer.addresses.push_back(layer.pages.back().data());
      }
    }
  } catch (const std::bad_alloc&) {
    return no_memory("keys and values", page_bytes());
  }
  return {};
}

void Sequence::write_kv(std::size_t attention_layer, std::size_t position, std::span<const float> k,
                        std::span<const float> v) {
  Layer& layer = layers_[attention_layer];
  TERN_CHECK(position / kKvPageTokens < layer.pages.size());
  std::byte* const page = layer.pages[position / kKvPageTokens].data();
  const std::size_t row = position % kKvPageTokens * shape_.head_dim * value_bytes(type_);
  const auto store = [&](std::span<const float> values, std::byte* to) {
    if (type_ == KvType::f32) {
      std::memcpy(to, values.data(), values.size_bytes());
      return;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint16_t bits =
          type_ == KvType::f16 ? float_to_f16(values[i]) : float_to_bf16(values[i]);
      std::memcpy(to + 2 * i, &bits, 2);
    }
  };
  for (std::size_t head = 0; head < shape_.kv_heads; ++head) {
    std::byte* const keys = page + 2 * head * head_bytes();
    store(k.subspan(head * shape_.head_dim, shape_.head_dim), keys + row);
    store(v.subspan(head * shape_.head_dim, shape_.head_dim), keys + head_bytes() + row);
  }
}

kernels::KvHead Sequence::kv(std::size_t attention_layer, std::size_t head) const {
  return {layers_[attention_layer].addresses, 2 * head * head_bytes(),
          (2 * head + 1) * head_bytes(), shape_.head_dim, type_};
}

std::span<float> Sequence::conv_state(std::size_t mamba_layer) {
  return states_.span().subspan(mamba_layer * (conv_values() + shape_.ssm_values), conv_values());
}

std::span<float> Sequence::ssm_state(std::size_t mamba_layer) {
  const std::size_t layer = conv_values() + shape_.ssm_values;
  return states_.span().subspan(mamba_layer * layer + conv_values(), shape_.ssm_values);
}

void Sequence::advance(std::size_t tokens) {
  TERN_CHECK(tokens <= capacity_ - position_);
  position_ += tokens;
}

void Sequence::reset() {
  position_ = 0;
  std::ranges::fill(states_.span(), 0.0f);
  for (Layer& layer : layers_) layer = Layer();
}

Result<Sequence> Sequence::fork() const {
  TERN_TRY(Sequence copy, create(shape_, config_, capacity_));
  TERN_TRY_VOID(copy.reserve(position_));
  copy.position_ = position_;
  std::ranges::copy(states_.span(), copy.states_.data());
  for (std::size_t i = 0; i < layers_.size(); ++i)
    for (std::size_t p = 0; p < copy.layers_[i].pages.size(); ++p)
      std::memcpy(copy.layers_[i].pages[p].data(), layers_[i].pages[p].data(), page_bytes());
  return copy;
}

Result<Snapshot> Sequence::snapshot() const {
  Snapshot snapshot;
  try {
    snapshot.states_ = Buffer<float>(states_.size());
  } catch (const std::bad_alloc&) {
    return no_memory("a snapshot", shape_.state_bytes());
  }
  snapshot.position_ = position_;
  std::ranges::copy(states_.span(), snapshot.states_.data());
  return snapshot;
}

Result<void> Sequence::restore(const Snapshot& snapshot) {
  if (snapshot.states_.size() != states_.size())
    return fail(ErrorCode::mismatch, "a snapshot of " + std::to_string(snapshot.bytes()) +
                                         " bytes for a sequence whose state has " +
                                         std::to_string(shape_.state_bytes()));
  if (snapshot.position_ > position_)
    return fail(ErrorCode::mismatch, "a snapshot at token " + std::to_string(snapshot.position_) +
                                         " of a sequence that holds " + std::to_string(position_));
  std::ranges::copy(snapshot.states_.span(), states_.data());
  position_ = snapshot.position_;
  return {};
}

}  // namespace tern::state
