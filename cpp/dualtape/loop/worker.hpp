// SPDX-License-Identifier: MIT
// Worker: one thread's share of a sweep. It holds a block of lanes, iterates them in stretches without events, and
// deals with what happens in between: records, runs that are done, runs that are no longer finite.
//
// A stretch is as long as no lane reaches a record or its last iteration, and never longer than a poll. The state at
// its beginning is kept: if the watch finds at its end that a lane has become infinite or NaN, the stretch is gone
// through again one iteration at a time, and the lane leaves with the last state that was finite.
#pragma once

#include <chrono>
#include <mutex>
#include <vector>

#include "dualtape/exec/runner.hpp"
#include "dualtape/loop/machine.hpp"
#include "dualtape/loop/sweep.hpp"

namespace dualtape::loop {

using Clock = std::chrono::steady_clock;

/// The runs that wait for a lane, those that are equally far together.
class Queue {
 public:
  Queue(const Runs& runs);
  /// Up to `most` runs; with `same_iteration` all at the same one.
  std::vector<std::int64_t> take(std::int64_t most, bool same_iteration);

 private:
  const Runs& runs_;
  std::mutex mutex_;
  std::vector<std::int64_t> order_;
  std::size_t next_ = 0;
};

class Worker {
 public:
  Worker(const Plan& plan, Runs& runs, Control& control, Queue& queue, const std::atomic<bool>& halt,
         Clock::time_point deadline);
  /// Until there is nothing left to do, or it is told to stop; then all its lanes are back in `runs`.
  std::optional<Missing> work();

 private:
  enum class Outcome { ended, missing };

  bool fill_block();
  std::span<const std::int64_t> first_lanes();
  void load(std::span<const std::int64_t> lanes, std::span<const std::int64_t> runs);
  bool iterate();
  bool iterate_once_through();
  bool iterate_by_machine();
  void finish_stretch(bool broken, bool missing_next);
  std::int64_t stretch() const;
  bool step(std::int64_t ahead);
  void commit();
  bool any_done() const;
  bool wants_stop(std::int64_t lane) const;
  void save();
  void restore();
  bool broken(std::int64_t lane) const;
  bool any_broken() const;
  void record();
  void settle(bool single);
  void leave(std::span<const std::int64_t> lanes, Stop stop, const std::vector<std::vector<char>>* state);
  void store_states(std::span<const std::int64_t> lanes, std::span<const std::int64_t> runs,
                    const std::vector<std::vector<char>>* state);
  void drop(std::int64_t lane);
  void come_home();
  struct Place {
    DType dtype;
    const char* first;
    std::int64_t stride;
  };
  Place result_place(std::size_t i, std::int64_t lane) const;
  void record_rows(std::span<const std::int64_t> before);
  void store_values(std::span<const std::int64_t> lanes, std::vector<array::Array>& to,
                    std::span<const std::int64_t> entries);

  /// An input that has an entry for each run, in an array with a leading axis of runs: a state, or a value of a lane.
  struct Column {
    exec::ValueId id;
    char* entries;
    std::int64_t bytes, item;  // of an entry, and of a number
    bool number, state;
  };

  const Plan& plan_;
  Runs& runs_;
  Control& control_;
  Queue& queue_;
  const std::atomic<bool>& halt_;
  Clock::time_point deadline_;
  exec::Runner runner_;
  Plan::Tables tables_;
  std::optional<BatchOrder> order_;
  std::size_t states_;  // with the watches
  std::int64_t poll_;

  std::int64_t lanes_ = 0;  // in use
  std::vector<std::int64_t> run_, done_;
  std::vector<std::int64_t> numbers_;  // 0, 1, 2, ...
  std::vector<Column> columns_;
  std::vector<std::vector<char>> saved_;
  std::int64_t careful_ = 0;  // iterations to go one by one
  std::int64_t limit_ = 0;    // a stretch must not be longer than this (0: any)
  std::optional<MachineRun> machine_;
  bool going_home_ = false;   // there is no time left
  bool finite_start_ = true;  // the states that were loaded are
  bool by_machine_ = false;   // the last stretch was
  bool values_good_ = false;  // results hold what the last iteration of all lanes returned
};

}  // namespace dualtape::loop
