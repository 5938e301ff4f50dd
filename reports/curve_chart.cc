#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "reports/charts.h"
#include "reports/escape.h"
#include "reports/headline.h"
#include "reports/svg.h"

namespace vramplan {
namespace {

constexpr int kPhases = 3;
constexpr double kLeastBand = 1.0 / 6;    // of the plot's width
constexpr std::size_t kMostPoints = 800;  // of a series; the extremes of every bucket stay
constexpr std::size_t kMostTips = 160;

/// Bytes at a time since the phase began.
struct Mark {
  Phase phase = Phase::kLoad;
  double seconds = 0;
  Bytes bytes;
  std::string tip;
};

struct Series {
  std::vector<Mark> marks;
  std::array<double, kPhases> duration{};  // last mark of the phase - last mark of the one before
  std::array<bool, kPhases> present{};
};

std::size_t index_of(Phase phase) { return static_cast<std::size_t>(phase); }

/// `at` of every mark is absolute on the way in.
Series series_of(std::vector<Mark> marks) {
  Series series;
  double start = 0, last = 0;
  for (std::size_t i = 0; i < marks.size(); ++i) {
    if (i == 0 || marks[i].phase != marks[i - 1].phase) start = i == 0 ? marks[0].seconds : last;
    last = std::max(last, marks[i].seconds);
    marks[i].seconds = std::max(0.0, marks[i].seconds - start);
    const std::size_t p = index_of(marks[i].phase);
    series.duration[p] = std::max(series.duration[p], marks[i].seconds);
    series.present[p] = true;
  }
  series.marks = std::move(marks);
  return series;
}

/// Keeps the lowest and the highest mark of every bucket, and the ends of phases.
std::vector<Mark> thinned(const std::vector<Mark>& marks) {
  if (marks.size() <= kMostPoints) return marks;
  const std::size_t bucket = marks.size() / (kMostPoints / 2) + 1;
  std::vector<Mark> out;
  for (std::size_t begin = 0; begin < marks.size();) {
    std::size_t end = begin;
    while (end < marks.size() && end - begin < bucket && marks[end].phase == marks[begin].phase)
      ++end;
    std::size_t low = begin, high = begin;
    for (std::size_t i = begin; i < end; ++i) {
      if (marks[i].bytes < marks[low].bytes) low = i;
      if (marks[i].bytes > marks[high].bytes) high = i;
    }
    out.push_back(marks[std::min(low, high)]);
    if (low != high) out.push_back(marks[std::max(low, high)]);
    if (end - 1 != low && end - 1 != high) out.push_back(marks[end - 1]);
    begin = end;
  }
  return out;
}

class Plot {
 public:
  Plot(const Series& predicted, const Series& taken, const Series& resident, Bytes top,
       double width)
      : width_(width),
        left_(width < 600 ? 58 : 76),
        right_(width - 12),
        bottom_(height() - 46),
        top_bytes_(top) {
    double total = 0;
    for (std::size_t p = 0; p < kPhases; ++p) {
      seconds_[p] = std::max({predicted.duration[p], taken.duration[p], resident.duration[p]});
      shown_[p] = predicted.present[p] || taken.present[p] || resident.present[p];
      total += seconds_[p];
    }
    double sum = 0;
    for (std::size_t p = 0; p < kPhases; ++p) {
      share_[p] = shown_[p] ? std::max(total > 0 ? seconds_[p] / total : 0.0, kLeastBand) : 0;
      sum += share_[p];
    }
    double x = left_;
    for (std::size_t p = 0; p < kPhases; ++p) {
      begin_[p] = x;
      if (sum > 0) x += (right_ - left_) * share_[p] / sum;
      end_[p] = x;
    }
  }

  double height() const { return width_ < 600 ? 300 : 360; }
  double x(Phase phase, double seconds) const {
    const std::size_t p = index_of(phase);
    const double part = seconds_[p] > 0 ? seconds / seconds_[p] : 0;
    return begin_[p] + (end_[p] - begin_[p]) * part;
  }
  double y(Bytes bytes) const { return bottom_ - (bottom_ - kTop) * share(bytes, top_bytes_); }

  void draw_bands(Svg& svg, const Series& predicted, const Series& observed) const;
  void draw_grid(Svg& svg) const;
  void draw_area(Svg& svg, const std::vector<Mark>& marks) const;
  void draw_line(Svg& svg, const std::vector<Mark>& marks, const std::string& class_name) const;
  void draw_capacity(Svg& svg, Bytes capacity) const;

 private:
  static constexpr double kTop = 44;
  /// A polyline a phase, starting at the phase's 0 with what was live before.
  std::vector<std::vector<Point>> pieces(const std::vector<Mark>& marks) const;

  double width_, left_, right_, bottom_;
  Bytes top_bytes_;
  std::array<double, kPhases> seconds_{}, share_{}, begin_{}, end_{};
  std::array<bool, kPhases> shown_{};
};

std::vector<std::vector<Point>> Plot::pieces(const std::vector<Mark>& marks) const {
  std::vector<std::vector<Point>> out;
  for (std::size_t i = 0; i < marks.size(); ++i) {
    if (i == 0 || marks[i].phase != marks[i - 1].phase) {
      out.emplace_back();
      if (i > 0) out.back().push_back({x(marks[i].phase, 0), y(marks[i - 1].bytes)});
    }
    out.back().push_back({x(marks[i].phase, marks[i].seconds), y(marks[i].bytes)});
  }
  return out;
}

std::string seconds_label(double seconds) {
  if (seconds >= 1) return fmt::format("{:g} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:g} ms", seconds * 1e3);
  return fmt::format("{:g} us", seconds * 1e6);
}

void Plot::draw_bands(Svg& svg, const Series& predicted, const Series& observed) const {
  for (std::size_t p = 0; p < kPhases; ++p) {
    if (!shown_[p]) continue;
    const auto phase = static_cast<Phase>(p);
    const double band = end_[p] - begin_[p];
    std::string tip =
        std::string(name_of(phase)) + ": predicted " + to_text(Seconds{predicted.duration[p]});
    if (observed.present[p]) tip += ", observed " + to_text(Seconds{observed.duration[p]});
    svg.rect(begin_[p], kTop - 22, band, bottom_ - kTop + 22,
             p % 2 == 0 ? "phase even" : "phase odd", tip);
    svg.text({begin_[p] + band / 2, kTop - 28}, name_of(phase), "t strong", Anchor::kMiddle);
    if (band > 230 && observed.present[p]) {
      svg.text({begin_[p] + band / 2, kTop - 8},
               fmt::format("predicted {}, observed {}", to_text(Seconds{predicted.duration[p]}),
                           to_text(Seconds{observed.duration[p]})),
               "t dim", Anchor::kMiddle);
    }
    if (seconds_[p] <= 0) continue;
    const double step = nice_step(seconds_[p], std::clamp(static_cast<int>(band / 60), 2, 6));
    const int last = band < 80 ? 0 : 8;  // a narrow band has room for its 0 alone
    for (int i = 0; i * step <= seconds_[p] * (1 + 1e-9) && i <= last; ++i) {
      const double at = x(phase, i * step);
      if (i > 0 && end_[p] - at < (p + 1 < kPhases && shown_[p + 1] ? 26 : -1)) continue;
      svg.line({at, bottom_}, {at, bottom_ + 5}, "axis");
      svg.text({std::min(at, right_ - 14), bottom_ + 19}, i == 0 ? "0" : seconds_label(i * step),
               "t dim", Anchor::kMiddle);
    }
  }
  svg.text(
      {(left_ + right_) / 2, bottom_ + 38},
      width_ < 600
          ? "seconds since each phase began"
          : "seconds since each phase began; every band has its own scale, shared by all series",
      "t dim", Anchor::kMiddle);
}

void Plot::draw_grid(Svg& svg) const {
  const double top = static_cast<double>(top_bytes_.n);
  const double unit = top >= 1073741824.0 ? 1073741824.0
                      : top >= 1048576.0  ? 1048576.0
                      : top >= 1024.0     ? 1024.0
                                          : 1.0;
  const char* name = unit > 1e9 ? "GiB" : unit > 1e6 ? "MiB" : unit > 1e3 ? "KiB" : "B";
  const double step = nice_step(top / unit, 5);
  for (int i = 0; i * step * unit <= top && i <= 12; ++i) {
    const double at = y(Bytes{static_cast<std::int64_t>(i * step * unit)});
    svg.line({left_, at}, {right_, at}, "grid");
    svg.text({left_ - 7, at + 4}, i == 0 ? "0" : fmt::format("{:g} {}", i * step, name), "t dim",
             Anchor::kEnd);
  }
}

void Plot::draw_area(Svg& svg, const std::vector<Mark>& marks) const {
  svg.open_group("s-predicted");
  for (std::vector<Point> piece : pieces(marks)) {
    svg.path(piece, "predicted-line");
    piece.push_back({piece.back().x, bottom_});
    piece.push_back({piece.front().x, bottom_});
    svg.path(piece, "predicted-area", true);
  }
  svg.close_group();
}

void Plot::draw_line(Svg& svg, const std::vector<Mark>& marks,
                     const std::string& class_name) const {
  svg.open_group(class_name);
  for (const std::vector<Point>& piece : pieces(marks)) svg.path(piece, "observed-line");
  const std::size_t stride = marks.size() / kMostTips + 1;
  for (std::size_t i = 0; i < marks.size(); i += stride) {
    svg.circle({x(marks[i].phase, marks[i].seconds), y(marks[i].bytes)}, 4, "tip",
               marks[i].tip + ": " + to_text(marks[i].bytes));
  }
  svg.close_group();
}

void Plot::draw_capacity(Svg& svg, Bytes capacity) const {
  if (capacity.n == 0) return;
  const std::string words = "capacity " + to_text(capacity);
  if (capacity <= top_bytes_) {
    svg.line({left_, y(capacity)}, {right_, y(capacity)}, "capacity");
    svg.text({right_ - 4, y(capacity) + 14}, words, "t capacity-text", Anchor::kEnd);
  } else {
    svg.text({right_ - 4, kTop + 12}, words + ", off this scale \u2191", "t capacity-text",
             Anchor::kEnd);
  }
}

Bytes highest(const std::vector<Mark>& marks) {
  Bytes top;
  for (const Mark& mark : marks) top = std::max(top, mark.bytes);
  return top;
}

}  // namespace

std::string curve_chart(const std::vector<CurvePoint>& curve,
                        const std::vector<MemorySample>& samples, Bytes capacity, double width) {
  std::vector<Mark> planned, tensors, process;
  for (const CurvePoint& p : curve) planned.push_back({p.phase, p.at.v, p.bytes, "predicted"});
  for (const MemorySample& s : samples) {
    tensors.push_back({s.phase, s.at.v, s.taken, s.moment + ", tensors"});
    if (s.resident.n > 0) process.push_back({s.phase, s.at.v, s.resident, s.moment + ", process"});
  }
  const Series predicted = series_of(std::move(planned)), taken = series_of(std::move(tensors)),
               resident = series_of(std::move(process));
  Bytes top =
      std::max({highest(predicted.marks), highest(taken.marks), highest(resident.marks), Bytes{1}});
  const bool near = capacity.n > 0 && share(top, capacity) >= 0.6;
  top = near ? std::max(top, capacity) : top;
  top = {static_cast<std::int64_t>(static_cast<double>(top.n) * 1.14) + 1};
  const Plot plot(predicted, taken, resident, top, width);
  Svg svg(
      width, plot.height(), "chart curve", "Memory over time on rank 0",
      "Predicted bytes as an area, observed bytes as lines, over the seconds of load, prefill and "
      "decode.");
  plot.draw_bands(svg, predicted, taken);
  plot.draw_grid(svg);
  plot.draw_area(svg, thinned(predicted.marks));
  plot.draw_line(svg, thinned(taken.marks), "s-taken");
  plot.draw_line(svg, thinned(resident.marks), "s-resident");
  plot.draw_capacity(svg, capacity);
  return svg.finish();
}

}  // namespace vramplan
