// SPDX-License-Identifier: MIT
// Shaped functions of one array, each once: a function of the module and a method of dlarray. `x` is a dlarray, the
// other arguments follow. The list is at the end; reductions.cpp and rearranging.cpp define what is in it.
#pragma once

#include "bindings/dlarray.hpp"

namespace dualtape::bindings {

using Args = PyObject* const*;
using Impl = PyObject* (*)(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames);

/// Every shaped function of one array, once: F(name, what follows the array in its signature, doc).
#define DUALTAPE_SHAPED(F)                                                                                       \
  F(sum, "axis=None, keepdims=False", "Sum over all elements, or along an axis or a tuple of axes.")             \
  F(mean, "axis=None, keepdims=False", "Mean of all elements, or along an axis or a tuple of axes.")             \
  F(prod, "axis=None, keepdims=False", "Product; its derivative is right where elements are zero.")              \
  F(max, "axis=None, keepdims=False", "Largest element; NaN wins. Equal ones share the derivative evenly.")      \
  F(min, "axis=None, keepdims=False", "Smallest element; NaN wins. Equal ones share the derivative evenly.")     \
  F(any, "axis=None, keepdims=False", "Whether any element is true, as bool (a constant).")                      \
  F(all, "axis=None, keepdims=False", "Whether all elements are true, as bool (a constant).")                    \
  F(var, "axis=None, ddof=0, keepdims=False", "Variance; the divisor is N - ddof.")                              \
  F(std, "axis=None, ddof=0, keepdims=False", "Standard deviation; the divisor is N - ddof.")                    \
  F(argmax, "axis=None, keepdims=False", "Position of the first largest element, as int64 (a constant).")        \
  F(argmin, "axis=None, keepdims=False", "Position of the first smallest element, as int64 (a constant).")       \
  F(argsort, "axis=-1", "Places that sort along an axis, as int64 (a constant); stable, NaN last.")              \
  F(cumsum, "axis=None", "Cumulative sum along an axis, or of the flattened array.")                             \
  F(reshape, "*shape", "The same elements in another shape; one extent may be -1. A view where possible.")       \
  F(ravel, "", "The elements in one axis. A view where possible.")                                               \
  F(transpose, "*axes", "A view with the axes permuted, by default reversed.")                                   \
  F(swapaxes, "axis1, axis2", "A view with two axes exchanged.")                                                 \
  F(moveaxis, "source, destination", "A view with axes moved to other places.")                                  \
  F(squeeze, "axis=None", "A view without axes of extent 1.")                                                    \
  F(expand_dims, "axis", "A view with new axes of extent 1.")                                                    \
  F(broadcast_to, "shape", "The array repeated along axes of extent 1 and new leading axes, without a copy.")    \
  F(take, "indices, axis=None", "Elements at integer positions along an axis, or of the flattened array.")       \
  F(take_along_axis, "indices, axis=-1", "Elements at places of its own for each vector along an axis.")         \
  F(add_along_axis, "indices, axis, extent", "Zeros of an extent along an axis, with elements added at places.") \
  F(astype, "dtype", "The values in another dtype; derivatives pass between float32 and float64.")               \
  F(logsumexp, "axis=None, keepdims=False", "log(sum(exp(x))), without overflow.")                               \
  F(softmax, "axis=None", "exp(x) / sum(exp(x)) along an axis: by default C where labelled, else the last.")     \
  F(log_softmax, "axis=None", "log(softmax(x)), without underflow.")

#define DUALTAPE_DECLARE(name, ...) PyObject* name##_(PyObject* x, Args args, Py_ssize_t count, PyObject* kwnames);
DUALTAPE_SHAPED(DUALTAPE_DECLARE)
#undef DUALTAPE_DECLARE

}  // namespace dualtape::bindings
