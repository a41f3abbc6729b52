// Ctrl-C as a flag: the first one is noted, a second one ends the process. One object at a time, on
// the main thread.
#pragma once

#include <signal.h>

#include <atomic>

namespace cadre {

class Interrupt {
 public:
  // From now on Ctrl-C sets the flag; system calls that wait are interrupted.
  Interrupt();
  // Ctrl-C does what it did before.
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  static const std::atomic<bool>& flag();

 private:
  struct sigaction previous_;
};

}  // namespace cadre
