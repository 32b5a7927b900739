// The choice between the whole team and the calling thread alone, with made-up times of a step.
#include "check.hpp"
#include "engine/pace.hpp"

namespace schuss::test {
namespace {

constexpr double examples = 100;

// What `seconds` of training look like where a step takes so long with the team and alone.
struct Span {
  double alone = 0;  // share of the time
  int changes = 0;
};
Span run(Pace& pace, double seconds, double team, double alone) {
  Span span;
  for (double time = 0; time < seconds;) {
    const bool was = pace.alone();
    const double step = was ? alone : team;
    pace.add(examples, step);
    time += step;
    span.alone += was ? step / seconds : 0;
    span.changes += pace.alone() != was;
  }
  return span;
}

void quiet() {
  Pace pace(true);
  const Span span = run(pace, 10, 20e-6, 35e-6);
  CHECK(span.changes == 2 && span.alone < 0.001 && !pace.alone());  // tried once
}

void long_steps_are_not_tried_without_need() {
  Pace pace(true);
  CHECK(run(pace, 10, 1e-3, 2e-3).changes == 0);
}

void a_team_in_trouble_gives_way_and_comes_back() {
  Pace pace(true);
  run(pace, 1, 20e-6, 35e-6);
  Span span = run(pace, 1, 400e-6, 40e-6);
  CHECK(pace.alone() && span.alone > 0.9);
  span = run(pace, 10, 20e-6, 35e-6);
  CHECK(!pace.alone() && span.alone < 0.1);
}

void trouble_from_the_start() {
  Pace pace(true);
  CHECK(run(pace, 1, 400e-6, 40e-6).alone > 0.9);
}

void a_slow_team_that_is_faster_than_one_thread_stays() {
  Pace pace(true);
  run(pace, 1, 1e-3, 2e-3);
  const Span span = run(pace, 10, 2e-3, 3e-3);
  CHECK(!pace.alone() && span.alone > 0 && span.alone < 0.1);  // tried, ever less often
}

void one_slow_step_changes_nothing() {
  Pace pace(true);
  run(pace, 1, 1e-3, 2e-3);
  for (int i = 0; i < 20; ++i) {
    pace.add(examples, 5e-3);
    CHECK(run(pace, 0.2, 1e-3, 2e-3).changes == 0);
  }
}

void may_not() {
  Pace pace(false);
  CHECK(run(pace, 1, 400e-6, 40e-6).changes == 0 && !pace.alone());
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
       {"a pace that may not change", may_not}});
}
