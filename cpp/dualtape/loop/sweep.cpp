// SPDX-License-Identifier: MIT
#include "dualtape/loop/sweep.hpp"

#include <exception>
#include <thread>

#include "dualtape/loop/worker.hpp"

namespace dualtape::loop {

std::optional<Missing> run_sweep(const Plan& plan, Runs& runs, Control& control, int threads, double seconds) {
  Queue queue(runs);
  std::atomic<bool> halt{false};
  std::mutex mutex;
  std::optional<Missing> missing;
  std::exception_ptr error;
  const Clock::time_point deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  const auto work = [&] {
    try {
      Worker worker(plan, runs, control, queue, halt, deadline);
      if (const std::optional<Missing> found = worker.work()) {
        const std::lock_guard lock(mutex);
        missing = found;
        halt = true;
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      error = std::current_exception();
      halt = true;
    }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& thread : others) thread.join();
  if (error) std::rethrow_exception(error);
  return missing;
}

}  // namespace dualtape::loop
