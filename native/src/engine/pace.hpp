// In which way the next steps are taken: ways are cuts of the same step, which change no bit, so the clock decides. A
// few of them may be tried in turns when a training begins. Later they are compared again where steps take long: where
// others take the cores too, a team that must meet several times in a short step is slower than a smaller one.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

namespace schuss {

class Pace {
 public:
  // What is known of a way.
  struct Record {
    std::int64_t steps = 0;
    double examples = 0, seconds = 0;
    double best = std::numeric_limits<double>::infinity();  // least seconds an example of a window
  };

  // Starts with way 0; tries the first `tries` at once.
  explicit Pace(int ways, int tries = 1) : records_(static_cast<std::size_t>(std::max(ways, 1))) {
    found_.resize(records_.size());
    near_ = std::min(tries, ways);
    for (int turn = 0; turn < kTurns && near_ > 1; ++turn)
      for (int w = 0; w < near_; ++w) queue_.push_back(w);
    if (!queue_.empty()) begin_comparison();
  }

  int way() const { return way_; }
  // The one in use, also while others are on trial.
  int settled() const { return settled_; }
  // Whether the trials at the start are still going on.
  bool settling() const { return comparing_ && starting_; }
  const std::vector<Record>& records() const { return records_; }

  // A step over `examples` took `seconds` in the present way.
  void add(double examples, double seconds) {
    Record& record = records_[static_cast<std::size_t>(way())];
    ++record.steps;
    record.examples += examples;
    record.seconds += seconds;
    if (records_.size() == 1) return;
    ++steps_;
    examples_ += examples;
    seconds_ += seconds;
    if (seconds_ < kWindow || (steps_ < kSteps && seconds_ < kLongWindow)) return;
    const double rate = seconds_ / examples_, step = seconds_ / steps_;
    record.best = std::min(record.best, rate);
    steps_ = examples_ = seconds_ = 0;
    if (comparing_) compare(rate);
    else watch(rate, step);
  }

 private:
  static constexpr double kWindow = 2e-3;             // seconds, and
  static constexpr double kSteps = 4;                 // steps at least, but no more of them than in
  static constexpr double kLongWindow = 2e-2;         // seconds
  static constexpr double kShortStep = 5e-4;          // seconds: longer ones are not compared without need
  static constexpr int kShortest = 8, kLongest = 64;  // windows from one comparison in trouble to the next
  static constexpr int kRoutine = 256;                // and without
  static constexpr int kTurns = 3;                    // of each way at the start
  static constexpr double kSlow = 1.5;                // times the least ever: the present way is in trouble
  static constexpr double kGain = 0.9;                // times the present way's: worth the change
  static constexpr double kQuiet = 1.1;               // times the least ever: nobody else takes the cores
  static constexpr double kNewest = 0.25;             // weight of the newest window in the level

  // One window of each way in the queue, then the best of them, or the present one where none is clearly better.
  void begin_comparison() {
    comparing_ = true;
    std::fill(found_.begin(), found_.end(), std::numeric_limits<double>::infinity());
    next_ = 0;
    way_ = queue_[0];
  }

  void compare_others(int ways) {
    queue_.clear();
    for (int w = 0; w < ways; ++w)
      if (w != way_) queue_.push_back(w);
    begin_comparison();
  }

  void compare(double rate) {
    double& found = found_[static_cast<std::size_t>(way())];
    found = std::min(found, rate);
    if (++next_ < queue_.size()) {
      way_ = queue_[next_];
      return;
    }
    const auto least = std::min_element(found_.begin(), found_.end());
    const bool gain = *least < (starting_ ? level_ : kGain * level_);
    if (gain) {
      settled_ = static_cast<int>(least - found_.begin());
      level_ = *least;
    }
    way_ = settled_.load();
    if (starting_ || level_ < kQuiet * least_ever()) home_ = way_;
    if (gain || starting_) patience_ = kShortest;
    else if (trouble_) patience_ = std::min(2 * patience_, kLongest);
    comparing_ = starting_ = false;
    windows_ = 0;
  }

  void watch(double rate, double step) {
    starting_ = false;
    level_ = windows_++ == 0 ? rate : level_ + kNewest * (rate - level_);
    trouble_ = way_ != home_ || level_ > kSlow * least_ever();
    if (windows_ >= patience_ && (trouble_ || (!compared_ && step < kShortStep))) {
      compared_ = true;
      compare_others(static_cast<int>(records_.size()));
    } else if (windows_ >= kRoutine &&
               near_ > 1) {  // a way with fewer threads does not feel that others left the cores
      compare_others(near_);
    }
  }

  double least_ever() const {
    double least = std::numeric_limits<double>::infinity();
    for (const Record& record : records_) least = std::min(least, record.best);
    return least;
  }

  std::vector<Record> records_;
  std::atomic<int> way_{0}, settled_{0};  // others may look
  int near_ = 1;                          // ways that may be the best one though nothing is wrong
  int home_ = 0;                          // the best way while nobody else takes the cores
  bool starting_ = true;                  // a comparison that comes before any other window
  bool comparing_ = false;
  bool compared_ = false;
  bool trouble_ = false;    // why it is compared
  std::vector<int> queue_;  // ways of a comparison, in turn
  std::size_t next_ = 0;
  std::vector<double> found_;  // least of each in this comparison
  int windows_ = 0;            // since the last one
  int patience_ = kShortest;
  double level_ = std::numeric_limits<double>::infinity();  // seconds an example of the present way, smoothed
  double steps_ = 0, examples_ = 0, seconds_ = 0;           // of this window
};

}  // namespace schuss
