// SPDX-License-Identifier: MIT
// Trees of parameters as updates see them: the leaves of params, gradients and states side by side, as memory.
//
// The walk knows the containers that nearly all models are made of (tuple, list, dict with str keys) and takes
// dlarrays, ndarrays and numbers as leaves. Whatever else it meets, a tree of another shape included, it declines;
// python/dualtape/_update.py then does the same with the means of tree.py, or says what is wrong and where.
// Start reading at `Leaf`, then `Leaves`.
#pragma once

#include <vector>

#include "bindings/dlarray.hpp"
#include "dualtape/optim/update.hpp"

namespace dualtape::bindings {

/// One leaf of one tree.
struct Source {
  enum class Kind : std::uint8_t { absent, number, ndarray, dlarray };

  /// Fills this in; false for what is no leaf, or no float array that can be read as it lies.
  bool read(PyObject* leaf);
  Shape shape() const { return {extents, static_cast<std::size_t>(ndim)}; }
  const void* data() const { return kind == Kind::number ? &number : memory; }
  /// As a value inside a differentiated computation.
  Var var() const;

  Ref object;
  Kind kind = Kind::absent;
  DType dtype = DType::f64;
  bool live = false;      // tracked on the open tape, or dual
  bool writable = false;  // its memory may be written, and no other dlarray sees it
  int ndim = 0;
  std::int64_t size = 1;
  const std::int64_t* extents = nullptr;
  const void* memory = nullptr;
  double number = 0.0;
  Array held;  // keeps a dlarray's memory while the interpreter lock is released, or is its contiguous copy
};

/// A new leaf in the making.
struct Target {
  void* memory = nullptr;  // where the kernel writes
  Array array;             // of a dlarray or number
  Ref made;                // an ndarray from the start, the rest when finished
};

inline constexpr int kTrees = 1 + optim::kMaxStates;  // params and states

/// One parameter with what belongs to it.
struct Leaf {
  Source grad;
  Source sources[kTrees];  // the parameter, then its states
  Target targets[kTrees];  // what becomes of them

  Source& param() { return sources[0]; }
};

/// All of them, in the order of params.
class Leaves {
 public:
  explicit Leaves(int state_count) : state_count_(state_count) { leaves_.reserve(8); }

  /// Walks the trees side by side; a null state tree stands for zeros. False to decline.
  bool collect(PyObject* param, PyObject* grad, PyObject* const* states);
  /// Shapes, dtypes and, for an update in place, memory; a gradient of another float dtype is converted.
  bool fit(bool in_place);
  bool any_live() const;
  std::int64_t total_size() const;

  /// Memory for the results.
  void allocate(bool in_place);
  /// Makes objects of the results. After an update in place: puts them where they belong.
  void finish(bool in_place);
  /// Tree `which` of the results (0: params), with containers like those of `like`.
  PyObject* build(PyObject* like, int which);

  std::vector<Leaf>& list() { return leaves_; }
  int tree_count() const { return 1 + state_count_; }

 private:
  PyObject* build_from(PyObject* like, int which, std::size_t& next);

  int state_count_;
  std::vector<Leaf> leaves_;
};

}  // namespace dualtape::bindings
