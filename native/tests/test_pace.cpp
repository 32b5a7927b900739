// The choice between ways of a step, with made-up times of a step in each.
#include "check.hpp"
#include "engine/pace.hpp"

namespace schuss::test {
namespace {

constexpr double examples = 100;
using Times = std::vector<double>;  // of a step in each way

struct Span {
  std::vector<double> share;  // of the time, in each way
  int changes = 0;
};
Span run(Pace& pace, double seconds, const Times& times) {
  Span span{std::vector<double>(times.size()), 0};
  for (double time = 0; time < seconds;) {
    const std::size_t was = static_cast<std::size_t>(pace.way());
    pace.add(examples, times[was]);
    time += times[was];
    span.share[was] += times[was] / seconds;
    span.changes += pace.way() != static_cast<int>(was);
  }
  return span;
}

// What the ways that are not the best cost, as a share of the best one's time.
double lost(const Span& span, const Times& times) {
  const double best = *std::min_element(times.begin(), times.end());
  double sum = 0;
  for (std::size_t w = 0; w < times.size(); ++w) sum += span.share[w] * (1 - best / times[w]);
  return sum;
}

void quiet() {
  Pace pace(2);
  const Span span = run(pace, 10, {20e-6, 35e-6});
  CHECK(span.changes == 2 && span.share[1] < 0.001 && pace.way() == 0);  // tried once
}

void long_steps_are_not_tried_without_need() {
  Pace pace(2);
  CHECK(run(pace, 10, {1e-3, 2e-3}).changes == 0);
}

void a_team_in_trouble_gives_way_and_comes_back() {
  Pace pace(2);
  run(pace, 1, {20e-6, 35e-6});
  Span span = run(pace, 1, {400e-6, 40e-6});
  CHECK(pace.way() == 1 && span.share[1] > 0.9);
  span = run(pace, 10, {20e-6, 35e-6});
  CHECK(pace.way() == 0 && span.share[1] < 0.1);
}

void trouble_from_the_start() {
  Pace pace(2);
  CHECK(run(pace, 1, {400e-6, 40e-6}).share[1] > 0.9);
}

void a_slow_team_that_is_faster_than_one_thread_stays() {
  Pace pace(2);
  run(pace, 1, {1e-3, 2e-3});
  const Span span = run(pace, 10, {2e-3, 3e-3});
  CHECK(pace.way() == 0 && span.share[1] > 0 && span.share[1] < 0.1);  // tried, ever less often
}

void one_slow_step_changes_nothing() {
  Pace pace(2);
  run(pace, 1, {1e-3, 2e-3});
  for (int i = 0; i < 20; ++i) {
    pace.add(examples, 5e-3);
    CHECK(run(pace, 0.2, {1e-3, 2e-3}).changes == 0);
  }
}

void one_way() {
  Pace pace(1, 3);
  CHECK(run(pace, 1, {400e-6}).changes == 0 && pace.way() == 0 && pace.records()[0].steps >= 2499);
}

// The best of those tried at the start is kept, wherever it stands, at little cost.
void tried_at_the_start() {
  for (const double step : {20e-6, 3e-3, 90e-3})
    for (int best = 0; best < 3; ++best) {
      Times times{step * 1.1, step * 1.1, step * 1.1, step * 2};
      times[static_cast<std::size_t>(best)] = step;
      Pace pace(4, 3);
      const Span span = run(pace, 5, times);
      CHECK(pace.way() == best);
      CHECK(lost(span, times) < 0.02);
      if (step > 1e-3) CHECK(span.share[3] == 0);
    }
}

// What is on trial is not yet what is used.
void on_trial() {
  Pace pace(3, 3);
  bool tried = false;
  for (int i = 0; pace.settling() && i < 1000; ++i) {
    CHECK(pace.settled() == 0);
    tried = tried || pace.way() == 2;
    pace.add(examples, pace.way() == 2 ? 1e-3 : 2e-3);
  }
  CHECK(tried && !pace.settling() && pace.settled() == 2 && pace.way() == 2);
}

// When the cores become busy another way may be best, and the one before when they are free again.
void busy_and_free() {
  Pace pace(4, 2);
  const Times free{1e-3, 1.1e-3, 1.3e-3, 2e-3}, busy{4e-3, 5e-3, 2e-3, 2.2e-3};
  CHECK(run(pace, 2, free).share[0] > 0.9);
  CHECK(run(pace, 2, busy).share[2] > 0.7);
  CHECK(run(pace, 2, busy).share[2] > 0.8);
  CHECK(run(pace, 20, free).share[0] > 0.8 && pace.way() == 0);
}

// When training began the cores were taken, and one thread was the fastest; it does not feel that they are free now.
void free_later() {
  Pace pace(3, 3);
  CHECK(run(pace, 0.2, {9e-5, 8e-5, 5e-5}).share[2] > 0.5 && pace.way() == 2);
  const Times now{3e-5, 3.2e-5, 5e-5};
  CHECK(run(pace, 5, now).share[0] > 0.8 && pace.way() == 0);
  CHECK(lost(run(pace, 5, now), now) < 0.01);
}

}  // namespace
}  // namespace schuss::test

int main() {
  using namespace schuss::test;
  return run_cases(
      {{"quiet", quiet},
       {"long steps are not tried without need", long_steps_are_not_tried_without_need},
       {"a team in trouble gives way and comes back", a_team_in_trouble_gives_way_and_comes_back},
       {"trouble from the start", trouble_from_the_start},
       {"a slow team that is faster than one thread stays", a_slow_team_that_is_faster_than_one_thread_stays},
       {"one slow step changes nothing", one_slow_step_changes_nothing},
       {"one way", one_way},
       {"tried at the start", tried_at_the_start},
       {"busy and free", busy_and_free},
       {"on trial", on_trial},
       {"free later", free_later}});
}
