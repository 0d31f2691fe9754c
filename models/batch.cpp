#include "models/batch.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace bib {

RowIndex index_rows(std::span<const int> ids) {
  RowIndex index;
  if (ids.empty()) {
    index.offsets = {0};
    return index;
  }
  const int largest = *std::max_element(ids.begin(), ids.end());
  std::vector<int> slot(static_cast<std::size_t>(largest + 1), -1);  // row -> its place in index.rows
  std::vector<int> count;
  for (int id : ids) {
    if (id < 0) continue;
    int& s = slot[static_cast<std::size_t>(id)];
    if (s < 0) {
      s = static_cast<int>(index.rows.size());
      index.rows.push_back(id);
      count.push_back(0);
    }
    ++count[static_cast<std::size_t>(s)];
  }
  if (!count.empty()) index.most = *std::max_element(count.begin(), count.end());
  index.offsets.assign(index.rows.size() + 1, 0);
  for (std::size_t u = 0; u < count.size(); ++u) index.offsets[u + 1] = index.offsets[u] + count[u];
  index.positions.resize(static_cast<std::size_t>(index.offsets.back()));
  std::vector<int> next(index.offsets.begin(), index.offsets.end() - 1);
  for (std::size_t p = 0; p < ids.size(); ++p) {
    if (ids[p] < 0) continue;
    const auto u = static_cast<std::size_t>(slot[static_cast<std::size_t>(ids[p])]);
    index.positions[static_cast<std::size_t>(next[u]++)] = static_cast<int>(p);
  }
  return index;
}

namespace {

void add_characters(const Features& features, std::span<const EncodedText* const> texts, bool train, Batch& batch) {
  std::unordered_map<std::string_view, int> seen;
  std::vector<std::string_view> distinct;
  batch.word_of.assign(static_cast<std::size_t>(batch.T) * static_cast<std::size_t>(batch.B), -1);
  // In the order of positions, so that word_rows.rows is 0, 1, 2, ...: the convolution's own rows.
  for (std::size_t t = 0; t < static_cast<std::size_t>(batch.T); ++t) {
    for (std::size_t b = 0; b < texts.size(); ++b) {
      if (t >= texts[b]->words.size()) continue;
      const auto [at, added] = seen.try_emplace(texts[b]->words[t], static_cast<int>(distinct.size()));
      if (added) distinct.push_back(texts[b]->words[t]);
      batch.word_of[t * texts.size() + b] = at->second;
    }
  }
  std::vector<std::vector<int>> spelled;
  batch.character_T = 1;
  for (std::string_view word : distinct) {
    spelled.push_back(features.spell(word));
    batch.character_T = std::max(batch.character_T, static_cast<int>(spelled.back().size()));
  }
  batch.W = static_cast<int>(distinct.size());
  batch.character_ids.assign(static_cast<std::size_t>(batch.character_T) * distinct.size(), -1);
  for (std::size_t w = 0; w < spelled.size(); ++w) {
    batch.character_lengths.push_back(static_cast<int>(spelled[w].size()));
    for (std::size_t t = 0; t < spelled[w].size(); ++t) batch.character_ids[t * spelled.size() + w] = spelled[w][t];
  }
  if (train) {
    batch.word_rows = index_rows(batch.word_of);
    batch.character_rows = index_rows(batch.character_ids);
  }
}

}  // namespace

Batch make_batch(const Features& features, std::span<const EncodedText* const> texts, bool train,
                 UnknownDropout dropout) {
  Batch batch;
  batch.B = static_cast<int>(texts.size());
  batch.T = 1;
  for (const EncodedText* text : texts) {
    batch.lengths.push_back(static_cast<int>(text->units.size()));
    batch.T = std::max(batch.T, batch.lengths.back());
  }
  const std::size_t B = texts.size(), cells = static_cast<std::size_t>(batch.T) * B;
  const std::vector<Features::Channel>& channels = features.channels();
  for (std::size_t c = 0; c < channels.size(); ++c) {
    std::vector<int>& ids = batch.ids.emplace_back(cells, -1);
    for (std::size_t b = 0; b < B; ++b) {
      const std::size_t n = texts[b]->units.size();
      const int* from = texts[b]->ids.data() + c * n;
      for (std::size_t t = 0; t < n; ++t) ids[t * B + b] = from[t];
    }
    if (train && dropout.rate > 0 && channels[c].open) {
      RandomKey key = dropout.key;
      key.stream += static_cast<std::uint32_t>(c);
      for (std::size_t i = 0; i < cells; ++i) {
        if (ids[i] > 0 && random_uniform(key, i) < dropout.rate) ids[i] = 0;
      }
    }
    if (train) batch.rows.push_back(index_rows(ids));
  }
  if (features.spells()) add_characters(features, texts, train, batch);
  return batch;
}

DeviceRows upload(Context& ctx, const RowIndex& index) {
  const auto view = [&](const std::vector<int>& v) {
    return View<const int, 1>(upload<int, 1>(ctx, v, {static_cast<int>(v.size())}));
  };
  return {
      .rows = view(index.rows), .offsets = view(index.offsets), .positions = view(index.positions), .most = index.most};
}

DeviceBatch upload(Context& ctx, const Batch& batch) {
  DeviceBatch d{.T = batch.T, .B = batch.B};
  d.lengths = upload<int, 1>(ctx, batch.lengths, {batch.B});
  for (const std::vector<int>& ids : batch.ids) d.ids.push_back(upload<int, 2>(ctx, ids, {batch.T, batch.B}));
  for (const RowIndex& index : batch.rows) d.rows.push_back(upload(ctx, index));
  if (batch.W > 0) {
    d.word_of = upload<int, 2>(ctx, batch.word_of, {batch.T, batch.B});
    d.character_ids = upload<int, 2>(ctx, batch.character_ids, {batch.character_T, batch.W});
    d.character_lengths = upload<int, 1>(ctx, batch.character_lengths, {batch.W});
    if (!batch.word_rows.offsets.empty()) {
      d.word_rows = upload(ctx, batch.word_rows);
      d.character_rows = upload(ctx, batch.character_rows);
    }
  }
  return d;
}

}  // namespace bib
