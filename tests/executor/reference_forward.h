#pragma once
// reference_logits: a decoder as a textbook writes it: whole matrices, no cache, no blocks, no
// chunks, no Ops. It shares nothing with the transformer but the weights it reads.
#include <cmath>
#include <vector>

#include "executor/rank_weights.h"
#include "tests/executor/reference_ops.h"

namespace vramplan {

class ReferenceForward {
 public:
  using Row = std::vector<double>;
  using Matrix = std::vector<Row>;  // [tokens][features]

  /// With a `keep`: every query sees the first `sinks` tokens and its window only, and all of them
  /// are rotated for their places in that short row, again for each query.
  ReferenceForward(const ModelCard& card, const RankWeights& weights, const KvKeep& keep = {})
      : card_(card), w_(weights), keep_(keep) {}

  /// [tokens * vocab]
  std::vector<float> logits(const std::vector<std::int32_t>& ids) const {
    Matrix x;
    for (std::size_t t = 0; t < ids.size(); ++t) {
      Row row = row_of(w_.embedding.tensor, ids[t]);
      for (double& v : row) v *= card_.embedding_scale;
      if (card_.learned_positions > 0) {
        add(row, row_of(w_.positions.tensor, static_cast<std::int64_t>(t)));
      }
      x.push_back(row);
    }
    for (std::size_t i = 0; i < card_.layers.size(); ++i) layer(card_.layers[i], w_.layers[i], x);
    std::vector<float> out;
    for (const Row& row : x) {
      Row l = product(w_.head, norm(row, w_.final_norm));
      for (double& v : l) {
        if (card_.logit_softcap > 0) v = card_.logit_softcap * std::tanh(v / card_.logit_softcap);
        out.push_back(static_cast<float>(v));
      }
    }
    return out;
  }

 private:
  static Row row_of(const TensorView& t, std::int64_t row) {
    Row out;
    for (std::int64_t c = 0; c < t.columns; ++c) out.push_back(element(t, row, c));
    return out;
  }

  static void add(Row& a, const Row& b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  }

  static Row product(const LinearWeights& w, const Row& in) {
    Row out;
    for (std::int64_t o = 0; o < w.weight.tensor.rows; ++o) {
      double sum = w.bias.data != nullptr ? element(w.bias, 0, o) : 0.0;
      for (std::size_t i = 0; i < in.size(); ++i) {
        sum += in[i] * element(w.weight.tensor, o, static_cast<std::int64_t>(i));
      }
      out.push_back(sum);
    }
    return out;
  }

  Row rms(const Row& x, const TensorView& weight) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    Row out;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double gain =
          element(weight, 0, static_cast<std::int64_t>(i)) + (card_.norm_one_plus ? 1 : 0);
      out.push_back(x[i] / std::sqrt(squares / static_cast<double>(x.size()) + card_.norm_eps) *
                    gain);
    }
    return out;
  }

  Row norm(const Row& x, const NormWeights& w) const {
    if (!w.present()) return x;
    if (card_.norm == NormKind::kRms) return rms(x, w.weight);
    double mean = 0, variance = 0;
    for (const double v : x) mean += v / static_cast<double>(x.size());
    for (const double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
    Row out;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto c = static_cast<std::int64_t>(i);
      out.push_back((x[i] - mean) / std::sqrt(variance + card_.norm_eps) * element(w.weight, 0, c) +
                    (w.bias.data != nullptr ? element(w.bias, 0, c) : 0.0F));
    }
    return out;
  }

  static void rotate(Row& head, const Rope& rope, double position) {
    const auto half = static_cast<std::size_t>(rope.rotary_dim / 2);
    for (std::size_t i = 0; i < half; ++i) {
      const double angle =
          position /
          std::pow(rope.theta, static_cast<double>(2 * i) / static_cast<double>(rope.rotary_dim));
      double& a = head[rope.interleaved ? 2 * i : i];
      double& b = head[rope.interleaved ? 2 * i + 1 : i + half];
      const double x = a, y = b;
      a = x * std::cos(angle) - y * std::sin(angle);
      b = x * std::sin(angle) + y * std::cos(angle);
    }
  }

  /// [tokens][heads][dim]
  std::vector<Matrix> heads_of(const LinearWeights& w, const Matrix& n, std::int64_t dim,
                               const TensorView& head_norm, const Mixer& mixer,
                               bool rotated) const {
    std::vector<Matrix> out;
    for (std::size_t t = 0; t < n.size(); ++t) {
      const Row all = product(w, n[t]);
      Matrix heads;
      for (std::size_t h = 0; h < all.size(); h += static_cast<std::size_t>(dim)) {
        Row head(all.begin() + static_cast<std::ptrdiff_t>(h),
                 all.begin() + static_cast<std::ptrdiff_t>(h) + dim);
        if (head_norm.data != nullptr) head = rms(head, head_norm);
        if (rotated && card_.position == PositionKind::kRope)
          rotate(head, mixer.rope, static_cast<double>(t));
        heads.push_back(head);
      }
      out.push_back(heads);
    }
    return out;
  }

  Matrix attention(const Mixer& mixer, const LayerWeights& w, const Matrix& n) const {
    const bool rotated = keep_.all();
    const auto q = heads_of(w.q, n, mixer.head_dim, w.q_norm, mixer, rotated);
    const auto k = heads_of(w.k, n, mixer.head_dim, w.k_norm, mixer, rotated);
    const auto v = heads_of(w.v, n, mixer.value_dim, {}, mixer, false);
    const double scale = mixer.softmax_scale != 0
                             ? mixer.softmax_scale
                             : 1 / std::sqrt(static_cast<double>(mixer.head_dim));
    const bool sliding = mixer.kind == MixerKind::kSlidingWindow;
    Matrix out;
    for (std::size_t t = 0; t < n.size(); ++t) {
      Row joined;
      for (std::size_t h = 0; h < q[t].size(); ++h) {
        const std::size_t group = h / (q[t].size() / k[t].size());
        Row weights(t + 1, 0);
        double total = 0;
        for (std::size_t s = 0; s <= t; ++s) {
          if (sliding && static_cast<std::int64_t>(t - s) >= mixer.window_tokens) continue;
          double score = 0;
          if (keep_.all()) {
            for (std::size_t d = 0; d < q[t][h].size(); ++d) score += q[t][h][d] * k[s][group][d];
          } else {
            if (!kept(t, s)) continue;
            Row query = q[t][h], key = k[s][group];
            rotate(query, mixer.rope, place(t, t));
            rotate(key, mixer.rope, place(t, s));
            for (std::size_t d = 0; d < query.size(); ++d) score += query[d] * key[d];
          }
          score *= scale;
          if (mixer.score_softcap > 0)
            score = mixer.score_softcap * std::tanh(score / mixer.score_softcap);
          total += weights[s] = std::exp(score);
        }
        for (std::size_t d = 0; d < static_cast<std::size_t>(mixer.value_dim); ++d) {
          double value = 0;
          for (std::size_t s = 0; s <= t; ++s) value += weights[s] / total * v[s][group][d];
          joined.push_back(value);
        }
      }
      out.push_back(product(w.output, joined));
    }
    return out;
  }

  bool kept(std::size_t query, std::size_t token) const {
    return static_cast<std::int64_t>(token) < keep_.sinks.n ||
           static_cast<std::int64_t>(query - token) < keep_.window.n;
  }
  /// How many of the tokens the query sees come before `token`.
  double place(std::size_t query, std::size_t token) const {
    double before = 0;
    for (std::size_t s = 0; s < token; ++s) before += kept(query, s) ? 1 : 0;
    return before;
  }

  static double activated(double x, Activation kind) {
    switch (kind) {
      case Activation::kSilu:
        return x / (1 + std::exp(-x));
      case Activation::kGelu:
        return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
      case Activation::kGeluTanh:
        return x / (1 + std::exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)));
      case Activation::kRelu:
        return x > 0 ? x : 0;
      case Activation::kRelu2:
      case Activation::kSiluClipped:
        break;  // no card with these runs
    }
    return x;
  }

  Row feed_forward(const FeedForward& ff, const LayerWeights& w, const Row& n) const {
    Row up = product(w.up, n);
    const Row gate = ff.gated ? product(w.gate, n) : up;
    for (std::size_t i = 0; i < up.size(); ++i) {
      up[i] =
          ff.gated ? activated(gate[i], ff.activation) * up[i] : activated(up[i], ff.activation);
    }
    return product(w.down, up);
  }

  void layer(const Layer& l, const LayerWeights& w, Matrix& x) const {
    Matrix n;
    for (const Row& row : x) n.push_back(norm(row, w.attention_norm));
    const Matrix before = x;
    const Matrix mixed = attention(l.mixer, w, n);
    for (std::size_t t = 0; t < x.size(); ++t) {
      add(x[t], norm(mixed[t], w.post_attention_norm));
      Row in;
      if (!l.parallel)
        in = norm(x[t], w.feed_forward_norm);
      else
        in = l.parallel_two_norms ? norm(before[t], w.feed_forward_norm) : n[t];
      add(x[t], norm(feed_forward(l.feed_forward, w, in), w.post_feed_forward_norm));
    }
  }

  const ModelCard& card_;
  const RankWeights& w_;
  KvKeep keep_;
};

}  // namespace vramplan
