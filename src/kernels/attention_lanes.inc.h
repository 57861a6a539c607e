// The fast form of attention.h; included inside the namespace of each instruction set, see lanes.h,
// with its kTiles. No include guard: that is the point.
//
// A tile is R query rows of one KV head. Whatever is in a register, sixteen tokens of a key's
// element or sixteen elements of a token's value, meets all R rows before the next. For more than
// one tile a page is unpacked once, into a buffer of a page's size: as whole numbers where it holds
// codes (attention_whole.inc.h), or else as floats.

struct Tile {
  std::size_t first, rows;  ///< first: counted from the group's first row
  bool sees;                ///< any token of the page
};

/// The next page's bytes, which are asked for while the present page is computed: a page is more
/// than memory delivers while it is unpacked.
struct Ahead {
  static constexpr std::size_t kLine = 64;
  const std::byte* at[2] = {};
  std::size_t left[2] = {};  ///< bytes of keys and of values
  std::size_t lines = 0;     ///< asked for at once

  void some() {
    for (std::size_t side = 0; side < 2; ++side)
      for (std::size_t i = 0; i < lines && left[side] > 0; ++i) {
        __builtin_prefetch(at[side], 0, 2);
        at[side] += kLine;
        left[side] -= std::min(kLine, left[side]);
      }
  }
};

/// Rows that take pages in together, and what they make of the present one.
struct Group {
  static constexpr std::size_t kRows = 128;

  std::size_t first = 0, rows = 0, tiles = 0;
  std::size_t limit = 1;  ///< rows of a tile
  bool unpacked = false;
  std::uint64_t any = 0;  ///< tokens that some row sees
  Tile tile[kRows];
  Ahead ahead;
  std::uint64_t visible[kRows];
  float shrink[kRows], bias[kRows], factor[kRows];
  std::uint16_t scales[kKvPageTokens], biases[kKvPageTokens];  ///< of `any`, else 0
  alignas(64) float p[kRows * kKvPageTokens];                  ///< scores, then weights
  union {
    alignas(64) float weighted[kRows * kKvPageTokens];  ///< weights times scales
    std::int16_t rounded[kRows * kKvPageTokens];
  };
  union {
    alignas(64) float numbers[kKvPageTokens * kKvUnpackedDim];
    std::int32_t pairs[kKvPageTokens * kKvUnpackedDim / 2];
  };
};

/// Calls f.operator()<R>(tile) for the tiles that see the page.
template <class F>
void for_tiles(Group& group, F f) {
  for (std::size_t i = 0; i < group.tiles; ++i) {
    const Tile& tile = group.tile[i];
    if (!tile.sees) continue;
    group.ahead.some();
    switch (tile.rows) {
      case 1:
        f.template operator()<1>(tile);
        break;
      case 2:
        f.template operator()<2>(tile);
        break;
      case 4:
        f.template operator()<4>(tile);
        break;
      case 5:
        if constexpr (kTiles.floats == 6) f.template operator()<5>(tile);
        break;
      case 6:
        if constexpr (kTiles.floats == 6) f.template operator()<6>(tile);
        break;
      default:
        if constexpr (kTiles.floats == 16) f.template operator()<16>(tile);
    }
  }
}

/// All tiles, B blocks of tokens at a time. @param q  of the group [tile][head_dim][R]
template <class Numbers>
void segment_scores(Group& group, const Numbers& keys, Places at, const std::byte* page,
                    const KvSegment& s, const float* q, std::size_t head_dim) {
  const auto take = [&]<std::size_t R, std::size_t B>(const Tile& tile, std::size_t j) {
    add_scores<R, B>(keys, at, j, page, s, q + tile.first * head_dim + s.first * R,
                     group.p + tile.first * kKvPageTokens);
  };
  if (group.unpacked) {
    for (std::size_t j = 0; j < kTokenBlocks; ++j)
      for_tiles(group,
                [&]<std::size_t R>(const Tile& tile) { take.template operator()<R, 1>(tile, j); });
    return;
  }
  for_tiles(group, [&]<std::size_t R>(const Tile& tile) {
    constexpr std::size_t B = R > kTiles.direct       ? 1
                              : kTiles.direct / R < 4 ? kTiles.direct / R
                                                      : kTokenBlocks;
    for (std::size_t j = 0; j < kTokenBlocks; j += B) take.template operator()<R, B>(tile, j);
  });
}

/// From the page itself.
template <KvCode code>
TERN_TARGET void direct_scores(Group& group, const std::byte* page, const KvSegment& s,
                               const float* q, std::size_t head_dim) {
  const Source<code> source(page, s);
  const Places at = {(s.first - s.run_first) * kKvPageTokens, kKvPageTokens, 16};
  segment_scores(group, source, at, page, s, q, head_dim);
}

/// Scores become weights relative to the greatest score so far.
/// @param visible  tokens of the page that the row sees, at least one
/// @return what earlier sums must be multiplied with
TERN_TARGET inline float soften(float* p, std::uint64_t visible, float& greatest, float& weight) {
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  if (~visible != 0)
    for (std::size_t s = 0; s < kKvPageTokens; ++s)
      if ((visible >> s & 1) == 0) p[s] = kHidden;
  Lanes most = all(kHidden);
  for (std::size_t j = 0; j < kKvPageTokens; j += 16) most = max(load(p + j), most);
  const float maximum = std::max(greatest, max_of(most));
  Lanes total = all(0.0f);
  for (std::size_t j = 0; j < kKvPageTokens; j += 16) {
    const Lanes e = exp_down(load(p + j) - all(maximum));
    store(p + j, e);
    total = total + e;
  }
  if (~visible != 0)  // not the 2^-126 that exp_down makes of them
    for (std::size_t s = 0; s < kKvPageTokens; ++s)
      if ((visible >> s & 1) == 0) p[s] = 0;
  // 0 for the first page
  const float shrink = maximum == greatest ? 1.0f : std::exp(greatest - maximum);
  weight = weight * shrink + sum(total);
  greatest = maximum;
  return shrink;
}

/// Calls f.operator()<code>() for the code of a segment.
template <class F>
void with_code(KvCode code, F f) {
  switch (code) {
    case KvCode::f32:
      return f.template operator()<KvCode::f32>();
    case KvCode::f16:
      return f.template operator()<KvCode::f16>();
    case KvCode::bf16:
      return f.template operator()<KvCode::bf16>();
    case KvCode::code2:
      return f.template operator()<KvCode::code2>();
    case KvCode::code3:
      return f.template operator()<KvCode::code3>();
    case KvCode::code4:
      return f.template operator()<KvCode::code4>();
    case KvCode::code8:
      return f.template operator()<KvCode::code8>();
  }
}

/// What follows the pairs of a tile's rounded queries: their steps [R], and for every segment the
/// sums of their elements [R].
struct RoundedQueries {
  const std::int32_t* pairs;
  const float* steps;
  RoundedQueries(const float* tile, std::size_t head_dim, std::size_t rows)
      : pairs(reinterpret_cast<const std::int32_t*>(tile)), steps(tile + head_dim / 2 * rows) {}
};

/// Scores of the page's keys in group.p. @param q  of the group's view [tile][head_dim][R]
void page_scores(const KvPages& keys, std::size_t number, const float* q, std::size_t head_dim,
                 Group& group) {
  const std::byte* const page = keys.pages[number] + keys.offset;
  std::size_t index = 0;
  for (const KvSegment& s : keys.layout->segments()) {
    ++index;
    with_code(s.code, [&]<KvCode code> {
      if constexpr (code >= KvCode::code2)
        if (keys.layout->whole()) {
          unpack_whole_keys<code>(page, s, group.pairs);
          for (std::size_t j = 0; j < kTokenBlocks; ++j)
            for_tiles(group, [&]<std::size_t R>(const Tile& tile) {
              const RoundedQueries rounded(q + tile.first * head_dim, head_dim, R);
              whole_scores<R>(group.pairs, j, page, s, rounded.pairs + s.first / 2 * R,
                              rounded.steps, rounded.steps + index * R,
                              group.p + tile.first * kKvPageTokens);
            });
          return;
        }
      if (!group.unpacked) return direct_scores<code>(group, page, s, q, head_dim);
      unpack_keys<code>(page, s, group.numbers);
      segment_scores(group, Floats{group.numbers}, Places{0, 16, s.count * 16}, page, s, q,
                     head_dim);
    });
  }
}

/// Scores become weights, and rows know what their earlier sums shrink by.
TERN_TARGET void soften_page(Group& group, Attended rows) {
  for (std::size_t r = 0; r < group.rows; ++r) {
    float* const p = group.p + r * kKvPageTokens;
    group.shrink[r] = 1;
    if (group.visible[r] != 0)
      group.shrink[r] = soften(p, group.visible[r], rows.greatest[group.first + r],
                               rows.weights[group.first + r]);
    else
      std::fill_n(p, kKvPageTokens, 0.0f);
  }
}

/// The scales and biases of a segment; of what no row sees, which may hold anything, 0.
void read_scales(const std::byte* page, const KvSegment& s, Group& group) {
  const auto visible_only = [&](std::size_t offset, std::uint16_t* to) {
    std::memcpy(to, page + offset, 2 * kKvPageTokens);
    if (~group.any != 0)
      for (std::size_t t = 0; t < kKvPageTokens; ++t)
        if ((group.any >> t & 1) == 0) to[t] = 0;
  };
  visible_only(s.scale, group.scales);
  if (s.bias != 0) visible_only(s.bias, group.biases);
}

/// The weights of a page times the scales of its values, and what the biases add.
TERN_TARGET void weigh(const KvSegment& s, Group& group) {
  for (std::size_t r = 0; r < group.rows; ++r) {
    Lanes total = all(0.0f);
    for (std::size_t j = 0; j < kKvPageTokens; j += 16) {
      const Lanes weight = load(group.p + r * kKvPageTokens + j);
      store(group.weighted + r * kKvPageTokens + j, weight * load_f16(group.scales + j));
      if (s.bias != 0) total = fma(weight, load_f16(group.biases + j), total);
    }
    group.bias[r] = s.bias != 0 ? sum(total) : 0.0f;
  }
}

/// The same in 16 bits, where rows see anything.
void round_page_weights(Group& group, const KvSegment& s) {
  for (std::size_t r = 0; r < group.rows; ++r) {
    const WholeWeights weights = round_weights(group.p + r * kKvPageTokens, group.scales,
                                               group.biases, s, group.rounded + r * kKvPageTokens);
    group.factor[r] = weights.factor;
    group.bias[r] = weights.bias;
  }
}

/// The elements of one segment for all tiles. @param w  weights of the group @param out  [rows, d]
template <class Numbers>
void segment_values(Group& group, const Numbers& values, Places at, const KvSegment& s,
                    const float* w, float* out, std::size_t head_dim) {
  const std::size_t blocks = s.count / 16;
  const auto take = [&]<std::size_t R, std::size_t C>(const Tile& tile, std::size_t c) {
    add_values<R, C>(values, at, c, group.any, w + tile.first * kKvPageTokens,
                     group.bias + tile.first, group.shrink + tile.first,
                     out + tile.first * head_dim + s.first + c * 16, head_dim);
  };
  if (group.unpacked) {
    for (std::size_t c = 0; c < blocks; ++c)
      for_tiles(group,
                [&]<std::size_t R>(const Tile& tile) { take.template operator()<R, 1>(tile, c); });
    return;
  }
  for_tiles(group, [&]<std::size_t R>(const Tile& tile) {
    constexpr std::size_t C = R > kTiles.direct ? 1 : kTiles.direct / R < 4 ? kTiles.direct / R : 4;
    std::size_t c = 0;
    for (; c + C <= blocks; c += C) take.template operator()<R, C>(tile, c);
    for (; c < blocks; ++c) take.template operator()<R, 1>(tile, c);
  });
}

/// Plain numbers beyond the last whole block of sixteen.
template <KvCode code>
TERN_TARGET void last_values(const Group& group, const Source<code>& source, const KvSegment& s,
                             float* out, std::size_t head_dim) {
  for (std::size_t i = s.count / 16 * 16; i < s.count; ++i)
    for (std::size_t r = 0; r < group.rows; ++r) {
      float sum = group.shrink[r] * out[r * head_dim + i];
      for (std::size_t t = 0; t < kKvPageTokens; ++t)
        if ((group.any >> t & 1) != 0)
          sum =
              __builtin_fmaf(group.p[r * kKvPageTokens + t], source.one(t * s.run_count + i), sum);
      out[r * head_dim + i] = sum;
    }
}

/// From the page itself.
template <KvCode code>
TERN_TARGET void direct_values(Group& group, const std::byte* page, const KvSegment& s,
                               const float* w, float* out, std::size_t head_dim) {
  const Source<code> source(page, s);
  const Places at = {s.first - s.run_first, s.run_count, 16};
  segment_values(group, source, at, s, w, out, head_dim);
  if constexpr (code <= KvCode::bf16) last_values<code>(group, source, s, out, head_dim);
}

/// Adds the page's values to the rows of the group. @param out  [rows of the group, head_dim]
void page_values(const KvPages& values, std::size_t number, float* out, std::size_t head_dim,
                 Group& group) {
  const std::byte* const page = values.pages[number] + values.offset;
  for (const KvSegment& s : values.layout->segments()) {
    if (s.scale != 0)
      read_scales(page, s, group);
    else
      std::fill_n(group.bias, group.rows, 0.0f);
    with_code(s.code, [&]<KvCode code> {
      if constexpr (code >= KvCode::code2)
        if (values.layout->whole()) {
          if (s.first == s.run_first) unpack_whole_values<code>(page, s, group.pairs);
          round_page_weights(group, s);
          for (std::size_t c = 0; c < s.count / 16; ++c)
            for_tiles(group, [&]<std::size_t R>(const Tile& tile) {
              const std::size_t block = (s.first - s.run_first) / 16 + c;
              add_whole_values<R>(group.pairs + block * kTokenPairs * 16,
                                  group.rounded + tile.first * kKvPageTokens,
                                  group.factor + tile.first, group.bias + tile.first,
                                  group.shrink + tile.first,
                                  out + tile.first * head_dim + s.first + c * 16, head_dim);
            });
          return;
        }
      const float* w = group.p;
      if (s.scale != 0) {
        weigh(s, group);
        w = group.weighted;
      }
      if (group.unpacked) {
        unpack_values<code>(page, s, group.numbers);
        return segment_values(group, Floats{group.numbers}, Places{0, 16, kKvPageTokens * 16}, s, w,
                              out, head_dim);
      }
      direct_values<code>(group, page, s, w, out, head_dim);
    });
  }
}

/// What the group's rows see of the page from position `token` on.
void look(const KvHead& kv, const Queries& queries, bool recent, std::size_t token, Group& group) {
  group.any = 0;
  for (std::size_t i = 0; i < group.tiles; ++i) {
    Tile& tile = group.tile[i];
    std::uint64_t any = 0;
    for (std::size_t r = tile.first; r < tile.first + tile.rows; ++r)
      any |= group.visible[r] =
          seen_by(kv, queries.first_position + (group.first + r) / queries.heads, recent)
              .of_page(token);
    tile.sees = any != 0;
    group.any |= any;
  }
}

/// The page after `number`, if rows go on to it; in as many pieces as tiles meet the present one.
void ask_for_next(const KvHead::View& view, std::size_t number, std::size_t pages, Group& group) {
  if (number + 1 >= pages) return;
  const KvPages* const sides[2] = {&view.keys, &view.values};
  for (std::size_t side = 0; side < 2; ++side) {
    group.ahead.left[side] = 0;
    const auto all = sides[side]->pages;
    if (number + 1 >= all.size() || all[number + 1] == nullptr) continue;
    group.ahead.at[side] = all[number + 1] + sides[side]->offset;
    group.ahead.left[side] = sides[side]->layout->page_bytes();
  }
  const std::size_t most = std::max(group.ahead.left[0], group.ahead.left[1]) / Ahead::kLine;
  constexpr std::size_t kMeetings = 12;  // of a tile with blocks of a page of 128
  group.ahead.lines = most / (kMeetings * group.tiles) + 1;
}

/// The next tiles of the rows from `first` on.
void gather(std::size_t first, std::size_t rows, Group& group) {
  group.first = first;
  group.rows = group.tiles = 0;
  while (first + group.rows < rows) {
    const std::size_t n = next_tile(rows - first - group.rows, group.limit);
    if (group.rows + n > Group::kRows) break;
    group.tile[group.tiles++] = {group.rows, n, false};
    group.rows += n;
  }
}

void attend_part(const KvHead& kv, const Queries& queries, std::span<const float> prepared,
                 std::size_t part, Attended result) {
  const std::size_t d = kv.head_dim(), rows = queries.rows();
  const bool recent = part % 2 == 1;
  const KvHead::View& view = recent ? kv.recent : kv.main;
  const float* const q = prepared.data() + (recent ? rows * d : 0);
  const std::size_t seen = queries.first_position + queries.tokens;
  const std::size_t begin = part / 2 * kAttentionPart, end = std::min(begin + kAttentionPart, seen);
  Group group;
  group.limit = kTiles.limit(*view.keys.layout, rows, d);
  group.unpacked = kTiles.unpacks(rows, d);
  for (std::size_t first = 0; first < rows; first += group.rows) {
    gather(first, rows, group);
    for (std::size_t token = begin; token < end; token += kKvPageTokens) {
      look(kv, queries, recent, token, group);
      if (group.any == 0) continue;
      ask_for_next(view, token / kKvPageTokens, (end + kKvPageTokens - 1) / kKvPageTokens, group);
      page_scores(view.keys, token / kKvPageTokens, q + first * d, d, group);
      soften_page(group, result);
      page_values(view.values, token / kKvPageTokens, result.sums + first * d, d, group);
    }
  }
}
