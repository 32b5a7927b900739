// Whether the next steps are taken by the whole team or by the calling thread alone. Where others take the cores too, a
// team that must meet several times in a short step is slower than one thread; which of them it is changes no bit. So
// now and then the other way is tried for a window of some steps, and what is faster goes on.
#pragma once

#include <algorithm>
#include <limits>

namespace schuss {

class Pace {
 public:
  explicit Pace(bool may_change) : may_change_(may_change) {}

  bool alone() const { return alone_; }

  // A step over `examples` took `seconds` in the present way.
  void add(double examples, double seconds) {
    if (!may_change_) return;
    ++steps_;
    examples_ += examples;
    seconds_ += seconds;
    if (seconds_ < kWindow || steps_ < kSteps) return;
    end_window(seconds_ / examples_);
    steps_ = examples_ = seconds_ = 0;
  }

 private:
  static constexpr double kWindow = 2e-3;              // seconds, and
  static constexpr double kSteps = 4;                  // steps at least
  static constexpr double kShortStep = 5e-4;           // seconds: longer ones are not tried alone without need
  static constexpr int kShortest = 8, kLongest = 256;  // windows from one trial to the next
  static constexpr double kSlow = 1.5;                 // times its usual: the team is in trouble
  static constexpr double kGain = 0.9;                 // times the other's: worth the change
  static constexpr double kNewest = 0.25;              // weight of the newest window in the level

  void end_window(double rate) {
    if (!alone_) usual_ = std::min(usual_, rate);
    if (trial_) {
      const bool gain = rate < kGain * level_;
      if (gain) level_ = rate;
      else alone_ = !alone_;
      patience_ = gain ? kShortest : std::min(2 * patience_, kLongest);
      trial_ = false;
      windows_ = 0;
      return;
    }
    level_ = windows_++ == 0 ? rate : level_ + kNewest * (rate - level_);
    if (windows_ >= patience_ && (alone_ || level_ > kSlow * usual_ || (!tried_ && seconds_ / steps_ < kShortStep))) {
      trial_ = tried_ = true;
      alone_ = !alone_;
    }
  }

  const bool may_change_;
  bool alone_ = false;
  bool trial_ = false;  // this window is one of the other way
  bool tried_ = false;
  int windows_ = 0;  // since the last trial
  int patience_ = kShortest;
  double usual_ = std::numeric_limits<double>::infinity();  // least seconds an example of the team
  double level_ = 0;                                        // seconds an example of the present way, smoothed
  double steps_ = 0, examples_ = 0, seconds_ = 0;           // of this window
};

}  // namespace schuss
