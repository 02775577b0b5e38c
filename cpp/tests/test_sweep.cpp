// SPDX-License-Identifier: MIT
// Sweeps in the core: records, runs that stop on their own account or are not finite any more, lanes that are filled
// again, slices, threads, and decisions without a path. The judge is each run alone.
// (ThreadSanitizer runs the cases of this file: `./run sanitize`.)
#include <doctest/doctest.h>

#include <cmath>
#include <thread>

#include "dualtape/loop/sweep.hpp"
#include "tests/program_testing.hpp"

using namespace dualtape;
using namespace dualtape::testing;
using loop::Runs;
using loop::Settings;
using loop::Source;
using loop::Stop;
using ops::Op;

namespace {

/// What the bindings hold, with the step at hand for paths that are missing.
struct Sweep {
  Step step;
  Settings settings;
  Runs runs;
  bool contraction = true;
  int slices = 0, grown = 0;
  std::shared_ptr<loop::Control> control = std::make_shared<loop::Control>();
  std::shared_ptr<const Program> program{};

  /// The inputs of an iteration of a run.
  Arrays inputs(std::int64_t run, std::int64_t iteration) const {
    const auto entry = [](const Array& x, std::int64_t at) {
      Dims shape(x.shape());
      shape.erase(0);
      std::vector<array::Slice> slices{{at, 1, 1}};
      for (std::int64_t extent : shape) slices.push_back({0, 1, extent});
      const Array part = array::slice(x, slices).as_contiguous();
      return shape.empty() && x.dtype() == DType::f64 ? Array(part.data<double>()[0]) : array::reshape(part, shape);
    };
    Arrays out;
    for (const Array& leaf : runs.state) out.push_back(entry(leaf, run));
    for (const Source& source : settings.sources) {
      if (source.kind == Source::Kind::fixed) out.push_back(source.value);
      if (source.kind == Source::Kind::swept) out.push_back(entry(source.value, run));
      if (source.kind == Source::Kind::table) out.push_back(entry(source.value, iteration - 1));
      if (source.kind == Source::Kind::iteration) out.push_back(Array(static_cast<double>(iteration)));
      if (source.kind == Source::Kind::stream) out.push_back(Array(static_cast<double>(settings.first_stream + run)));
    }
    return out;
  }

  void begin() { begin(program_of(step, {inputs(0, 1)}, contraction)); }
  void begin(std::shared_ptr<const Program> traced) {
    program = std::move(traced);
    const Graph& graph = program->graph();
    for (const program::Segment& segment : graph.segments) {
      if (!segment.is_leaf()) continue;
      REQUIRE(segment.results.size() == settings.states + settings.values + settings.until);
      for (std::size_t v = 0; v < settings.values; ++v) {
        const NodeId id = segment.results[settings.states + v];
        Dims shape = graph.shape(id);
        shape.insert(0, runs.count);
        runs.value.push_back(Array::full(graph.nodes[id].dtype, shape, 99.0));
        shape.insert(1, settings.record_every ? settings.iterations / settings.record_every : 0);
        if (settings.record_every) runs.history.push_back(Array::full(graph.nodes[id].dtype, shape, 99.0));
      }
      break;
    }
    runs.iterations.assign(static_cast<std::size_t>(runs.count), 0);
    runs.stopped.assign(static_cast<std::size_t>(runs.count), Stop::running);
  }

  bool running() const {
    for (const Stop stop : runs.stopped) {
      if (stop == Stop::running) return true;
    }
    return false;
  }

  /// To the end, in slices of so many seconds.
  Sweep& go(int threads = 1, double seconds = 60) {
    if (!program) begin();
    while (running()) {
      const loop::Plan plan(program, settings, runs);
      REQUIRE(++slices < 100'000);
      const auto missing = loop::run_sweep(plan, runs, *control, threads, seconds);
      if (!missing) continue;
      ++grown;
      REQUIRE(runs.iterations[static_cast<std::size_t>(missing->run)] == missing->iteration - 1);
      const auto more =
          program->with(trace_path(step, inputs(missing->run, missing->iteration),
                                   program::decisions_to(program->graph(), missing->segment, missing->outcome)));
      REQUIRE(more);
      program = more;
    }
    return *this;
  }
};

Array column(std::int64_t count, double low, double high) {
  Array out = Array::empty(DType::f64, Dims{count});
  for (std::int64_t k = 0; k < count; ++k) {
    out.writable_data<double>()[k] = low + (high - low) * std::fmod(static_cast<double>(k) * 0.6180339887498949, 1.0);
  }
  return out;
}
Array repeated(double value, std::int64_t count) { return Array::full(DType::f64, Dims{count}, value); }

/// Momentum on the valley of the key terms, with the gradient written out: the state and the loss are seen.
std::vector<Var> momentum(std::span<const Var> in) {
  const Var &x = in[0], &y = in[1], &v = in[2], &w = in[3], &rate = in[4];
  const Var rest = op(Op::subtract, {y, op(Op::square, {x})});
  const Var gap = op(Op::subtract, {Var(1.0), x});
  const Var loss = op(Op::add, {op(Op::square, {rest}), op(Op::square, {gap})});
  const Var dx =
      op(Op::subtract, {op(Op::multiply, {op(Op::multiply, {Var(-4.0), x}), rest}), op(Op::multiply, {Var(2.0), gap})});
  const Var dy = op(Op::multiply, {Var(2.0), rest});
  const auto next = [&](const Var& velocity, const Var& slope) {
    return op(Op::subtract, {op(Op::multiply, {Var(0.8), velocity}), op(Op::multiply, {rate, slope})});
  };
  const Var v1 = next(v, dx), w1 = next(w, dy);
  const Var x1 = op(Op::add, {x, v1}), y1 = op(Op::add, {y, w1});
  return {x1, y1, v1, w1, loss, x1};
}

Sweep valley(std::int64_t count, std::int64_t iterations, double highest = 0.05) {
  Sweep out;
  out.step = momentum;
  out.settings.states = 4;
  out.settings.values = 2;
  out.settings.sources = {{Source::Kind::swept, column(count, 0.001, highest)}};
  out.settings.iterations = iterations;
  out.settings.record_every = 1;
  out.runs.count = count;
  out.runs.state = {repeated(2, count), repeated(2, count), repeated(0, count), repeated(0, count)};
  return out;
}

/// The same sweep with run `run` alone.
Sweep alone(const Sweep& of, const Arrays& starts, std::int64_t run) {
  const auto only = [&](const Array& x) {
    std::vector<array::Slice> slices{{run, 1, 1}};
    for (std::size_t i = 1; i < x.shape().size(); ++i) slices.push_back({0, 1, x.shape()[i]});
    return array::slice(x, slices).copy();
  };
  Sweep out;
  out.step = of.step;
  out.settings = of.settings;
  out.contraction = of.contraction;
  for (Source& source : out.settings.sources) {
    if (source.kind == Source::Kind::swept) source.value = only(source.value);
  }
  out.settings.first_stream = of.settings.first_stream + run;
  out.settings.lanes = 0;
  out.runs.count = 1;
  for (const Array& start : starts) out.runs.state.push_back(only(start));
  return out;
}

/// Bits of one run among all: dtype by dtype, entry by entry.
bool same_entry(const Array& all, std::int64_t run, const Array& one) {
  const std::int64_t items = one.size();
  REQUIRE(all.size() == items * all.shape()[0]);
  bool same = all.dtype() == one.dtype();
  array::dispatch(one.dtype(), [&]<class T>() {
    for (std::int64_t e = 0; e < items; ++e) {
      const T a = all.data<T>()[run * items + e], b = one.data<T>()[e];
      same = same && tests::same_bits(static_cast<double>(a), static_cast<double>(b));
    }
  });
  return same;
}

void check_run(const Runs& all, std::int64_t run, const Runs& one) {
  CAPTURE(run);
  const auto at = static_cast<std::size_t>(run);
  CHECK(all.iterations[at] == one.iterations[0]);
  CHECK(all.stopped[at] == one.stopped[0]);
  for (std::size_t i = 0; i < one.state.size(); ++i) CHECK(same_entry(all.state[i], run, one.state[i]));
  for (std::size_t i = 0; i < one.value.size(); ++i) CHECK(same_entry(all.value[i], run, one.value[i]));
  for (std::size_t i = 0; i < one.history.size(); ++i) CHECK(same_entry(all.history[i], run, one.history[i]));
}

/// Runs `make()` in many ways, each of which must be every run alone. Returns the last.
template <class Make>
Sweep check_all_ways(Make&& make, std::int64_t apart = 7) {
  const Sweep fresh = make();
  Arrays starts;
  for (const Array& leaf : fresh.runs.state) starts.push_back(leaf.copy());
  std::vector<Sweep*> judges;
  std::vector<std::unique_ptr<Sweep>> kept;
  for (std::int64_t run = 0; run < fresh.runs.count; run += apart) {
    kept.push_back(std::make_unique<Sweep>());
    *kept.back() = alone(fresh, starts, run);
    kept.back()->go();
  }
  struct Way {
    std::int64_t lanes;
    int threads;
    double seconds;
  };
  Sweep last;
  for (const Way& way : {Way{0, 1, 60}, Way{8, 1, 60}, Way{5, 4, 60}, Way{24, 4, 0}, Way{8, 1, 0}, Way{512, 2, 60}}) {
    CAPTURE(way.lanes);
    CAPTURE(way.threads);
    CAPTURE(way.seconds);
    Sweep sweep = make();
    sweep.settings.lanes = way.lanes;
    sweep.go(way.threads, way.seconds);
    std::int64_t done = 0;
    for (std::int64_t iterations : sweep.runs.iterations) done += iterations;
    CHECK(sweep.control->done == done);
    CHECK(sweep.control->computed >= done);
    CHECK(sweep.control->finished == sweep.runs.count);
    for (std::size_t k = 0; k < kept.size(); ++k) {
      check_run(sweep.runs, static_cast<std::int64_t>(k) * apart, kept[k]->runs);
    }
    last = std::move(sweep);
  }
  return last;
}

}  // namespace

TEST_CASE("sweep: every run is what it is alone, with whatever lanes, threads and slices") {
  const Sweep last = check_all_ways([] { return valley(60, 40); });
  for (const Stop stop : last.runs.stopped) CHECK(stop == Stop::iterations);
}

TEST_CASE("sweep: records are those of every so many-th iteration") {
  Sweep every = valley(20, 90);
  every.go();
  for (std::int64_t apart : {1, 2, 7, 45, 90, 91}) {
    CAPTURE(apart);
    Sweep rare = valley(20, 90);
    rare.settings.record_every = apart;
    rare.settings.lanes = 8;
    rare.go(2, apart == 7 ? 0.0 : 60.0);
    REQUIRE(rare.runs.history[0].shape()[1] == 90 / apart);
    for (std::int64_t run = 0; run < 20; ++run) {
      for (std::int64_t k = 0; k < 90 / apart; ++k) {
        CHECK(rare.runs.history[0].data<double>()[run * (90 / apart) + k] ==
              every.runs.history[0].data<double>()[run * 90 + (k + 1) * apart - 1]);
      }
    }
    CHECK(same_values(rare.runs.state[0], every.runs.state[0]));
    CHECK(same_values(rare.runs.value[0], every.runs.value[0]));
  }
  Sweep none = valley(20, 90);
  none.settings.record_every = 0;
  none.go(2);
  CHECK(none.runs.history.empty());
  CHECK(same_values(none.runs.state[3], every.runs.state[3]));
  CHECK(same_values(none.runs.value[0], every.runs.value[0]));
}

namespace {

Sweep stopping(std::int64_t count, std::int64_t iterations) {
  Sweep out = valley(count, iterations);
  out.step = [](std::span<const Var> in) {
    std::vector<Var> results = momentum(in);
    results.push_back(op(Op::less, {results[4], Var(1e-3)}));
    return results;
  };
  out.settings.until = true;
  return out;
}

}  // namespace

TEST_CASE("sweep: a run that is done leaves its lane to one that waits") {
  const Sweep last = check_all_ways([] { return stopping(80, 300); });
  std::size_t until = 0, most = 0;
  std::int64_t shortest = 300, longest = 0;
  for (std::size_t k = 0; k < 80; ++k) {
    until += last.runs.stopped[k] == Stop::until;
    most += last.runs.stopped[k] == Stop::iterations;
    shortest = std::min(shortest, last.runs.iterations[k]);
    longest = std::max(longest, last.runs.iterations[k]);
  }
  CHECK(until > 40);
  CHECK(most > 0);
  CHECK(longest > 3 * shortest);
  // Records behind the end are left as they were.
  for (std::int64_t k = 0; k < 80; ++k) {
    const std::int64_t done = last.runs.iterations[static_cast<std::size_t>(k)];
    if (done < 300) CHECK(last.runs.history[0].data<double>()[k * 300 + done] == 99.0);
    CHECK(last.runs.history[0].data<double>()[k * 300 + done - 1] == last.runs.value[0].data<double>()[k]);
  }
  // Eight lanes that are filled again are busy nearly all the time.
  Sweep narrow = stopping(80, 300);
  narrow.settings.lanes = 8;
  narrow.settings.record_every = 0;
  narrow.go();
  CHECK(static_cast<double>(narrow.control->done) > 0.6 * static_cast<double>(narrow.control->computed));
}

TEST_CASE("sweep: a run that is not finite any more stops alone, with its last finite state") {
  const auto wild = [] { return valley(60, 40, 0.6); };
  const Sweep last = check_all_ways(wild, 1);
  std::int64_t broken = 0;
  for (std::int64_t k = 0; k < 60; ++k) {
    const auto at = static_cast<std::size_t>(k);
    for (const Array& leaf : last.runs.state) CHECK(std::isfinite(leaf.data<double>()[k]));
    if (last.runs.stopped[at] != Stop::nonfinite) continue;
    ++broken;
    Sweep before = wild();
    before.settings.iterations = last.runs.iterations[at] - 1;
    before.go();
    for (std::size_t i = 0; i < 4; ++i) {
      CHECK(before.runs.state[i].data<double>()[k] == last.runs.state[i].data<double>()[k]);
    }
  }
  CHECK(broken > 5);
  CHECK(broken < 55);
}

TEST_CASE("sweep: decisions without a path are traced when they are met, and nothing is lost") {
  const auto make = [] {
    Sweep out = valley(50, 60, 0.2);
    out.step = [](std::span<const Var> in) {
      std::vector<Var> results = momentum(in);
      for (std::size_t i = 0; i < 2; ++i) {
        if (truth(op(Op::greater, {op(Op::absolute, {results[i + 2]}), Var(0.3)}))) {
          results[i + 2] = op(Op::multiply, {results[i + 2], Var(0.5)});
        }
        if (truth(op(Op::greater, {op(Op::absolute, {results[i]}), Var(2.5)}))) results[i] = op(Op::tanh, {results[i]});
      }
      const std::int64_t n = integer(op(Op::minimum, {op(Op::absolute, {results[4]}), Var(3.0)}));
      results[5] = op(Op::add, {results[5], Var(static_cast<double>(n))});
      return results;
    };
    return out;
  };
  const Sweep last = check_all_ways(make, 3);
  CHECK(last.grown > 5);
  const auto with_until = [&] {
    Sweep out = make();
    const Step inner = out.step;
    out.step = [inner](std::span<const Var> in) {
      std::vector<Var> results = inner(in);
      results.push_back(op(Op::less, {op(Op::sin, {op(Op::multiply, {Var(30.0), results[0]})}), Var(-0.9)}));
      return results;
    };
    out.settings.until = true;
    return out;
  };
  check_all_ways(with_until, 3);
}

namespace {

/// Everything an iteration can be given, and states of several shapes and dtypes.
Sweep furnished(std::int64_t count, bool until) {
  Sweep out;
  out.step = [](std::span<const Var> in) {
    const Var &x = in[0], &y = in[1], &rate = in[2], &iteration = in[3], &table = in[4], &fixed = in[5],
              &stream = in[6];
    const Var decay = op(Op::true_divide, {rate, op(Op::add, {Var(1.0), op(Op::multiply, {iteration, fixed})})});
    const Var force = op(Op::sin, {op(Op::add, {op(Op::multiply, {x, table}), op(Op::multiply, {stream, Var(0.1)})})});
    const Var x1 = op(Op::subtract, {x, op(Op::multiply, {decay, force})});
    const Var total = tape::sum(x1, Dims{0}, false);
    const Var y1 = tape::cast(op(Op::tanh, {op(Op::add, {y, total})}), DType::f32);
    std::vector<Var> results{x1, y1, total, y1, decay, op(Op::greater, {total, Var(0.0)})};
    if (in.size() > 7)
      results.push_back(op(Op::greater, {op(Op::sin, {op(Op::multiply, {total, Var(9.0)})}), Var(0.95)}));
    return results;
  };
  const std::int64_t iterations = 50;
  out.settings.states = 2;
  out.settings.values = 4;
  out.settings.until = until;
  out.settings.iterations = iterations;
  out.settings.record_every = 1;
  out.settings.first_stream = 3;
  out.settings.sources = {{Source::Kind::swept, column(count, 0.1, 0.9)},
                          {Source::Kind::iteration, {}},
                          {Source::Kind::table, column(iterations, 0.5, 2)},
                          {Source::Kind::fixed, Array(0.05)},
                          {Source::Kind::stream, {}}};
  if (until) out.settings.sources.push_back({Source::Kind::fixed, Array(0.0)});
  out.runs.count = count;
  out.runs.state = {random(DType::f64, Dims{count, 3}, 5), random(DType::f32, Dims{count, 2}, 6)};
  return out;
}

}  // namespace

TEST_CASE("sweep: hyperparameters, tables, the iteration and the stream reach every lane") {
  check_all_ways([] { return furnished(45, false); });
  const Sweep last = check_all_ways([] { return furnished(45, true); });
  CHECK(std::count(last.runs.stopped.begin(), last.runs.stopped.end(), Stop::until) > 5);
}

TEST_CASE("sweep: minibatches are the same for all runs") {
  const auto make = [](std::optional<std::uint64_t> shuffle) {
    Sweep out;
    out.step = [](std::span<const Var> in) {
      const Var mean = tape::mean(in[2], Dims{0}, false);
      return std::vector<Var>{op(Op::add, {op(Op::multiply, {in[0], in[1]}), mean}), mean};
    };
    out.settings.states = out.settings.values = 1;
    out.settings.iterations = 23;
    out.settings.record_every = 1;
    loop::Batches batches;
    batches.data = {random(DType::f64, {20, 3}, 9)};
    batches.size = 6;
    batches.shuffle = shuffle;
    out.settings.batches = std::move(batches);
    out.settings.sources = {{Source::Kind::swept, column(30, 0.1, 0.9)}, {Source::Kind::batch, {}}};
    out.runs.count = 30;
    out.runs.state = {random(DType::f64, Dims{30, 3}, 2)};
    return out;
  };
  // (`inputs` gives no batch; the step has no decisions, so any serves to trace it.)
  const auto begun = [&](std::optional<std::uint64_t> shuffle) {
    Sweep out = make(shuffle);
    // `inputs` gives no batch; the step has no decisions, so any serves to trace it.
    const Arrays any{vector_of<double>({1, 2, 3}), Array(0.5), random(DType::f64, {6, 3}, 4)};
    out.begin(program_of(out.step, {any}, true));
    return out;
  };
  for (const std::optional<std::uint64_t> shuffle : {std::optional<std::uint64_t>(), std::optional<std::uint64_t>(7)}) {
    Sweep one = begun(shuffle);
    one.go();
    for (std::int64_t run = 1; run < 30; ++run) {
      for (std::int64_t e = 0; e < 69; ++e) {
        CHECK(one.runs.history[0].data<double>()[run * 69 + e] == one.runs.history[0].data<double>()[e]);
      }
    }
    for (const auto& [lanes, threads, seconds] :
         {std::tuple(8, 1, 60.0), std::tuple(7, 4, 0.0), std::tuple(64, 2, 0.0)}) {
      Sweep other = begun(shuffle);
      other.settings.lanes = lanes;
      other.go(threads, seconds);
      CHECK(same_values(other.runs.state[0], one.runs.state[0]));
      CHECK(same_values(other.runs.history[0], one.runs.history[0]));
    }
  }
}

TEST_CASE("sweep: it can be stopped from outside, and gone on with") {
  Sweep whole = stopping(64, 2000);
  whole.go();
  Sweep sweep = stopping(64, 2000);
  sweep.settings.lanes = 8;
  sweep.begin();
  sweep.control->stop = true;
  {
    const loop::Plan plan(sweep.program, sweep.settings, sweep.runs);
    CHECK_FALSE(loop::run_sweep(plan, sweep.runs, *sweep.control, 4, 60));
    CHECK(sweep.control->done == 0);
    sweep.control->stop = false;
    std::atomic<bool> over{false};
    std::thread stopper([&] {
      while (sweep.control->done < 500 && !over) std::this_thread::yield();
      sweep.control->stop = true;
    });
    CHECK_FALSE(loop::run_sweep(plan, sweep.runs, *sweep.control, 2, 60));
    over = true;
    stopper.join();
  }
  sweep.control->stop = false;
  sweep.go(4);
  CHECK(sweep.runs.iterations == whole.runs.iterations);
  CHECK(sweep.runs.stopped == whole.runs.stopped);
  for (std::size_t i = 0; i < 4; ++i) CHECK(same_values(sweep.runs.state[i], whole.runs.state[i]));
  for (std::size_t i = 0; i < 2; ++i) CHECK(same_values(sweep.runs.value[i], whole.runs.value[i]));
}

TEST_CASE("sweep: every instruction set gives the same bits") {
  Sweep first;
  for_every_isa([&] {
    Sweep sweep = furnished(45, true);
    sweep.go(2);
    if (first.program) {
      CHECK(same_values(sweep.runs.history[0], first.runs.history[0]));
      CHECK(same_values(sweep.runs.history[1], first.runs.history[1]));
      CHECK(sweep.runs.iterations == first.runs.iterations);
    } else {
      first = std::move(sweep);
    }
  });
  num::force_isa(num::best_isa());
}
