// Counts Ctrl-C, for trainings that run away from Python's main thread: Python tells only the main thread.
#pragma once

namespace schuss {

// Puts a counting handler before the present handler of SIGINT, unless that is the default or to ignore it.
void watch_interrupts();
unsigned interrupts_seen();

}  // namespace schuss
