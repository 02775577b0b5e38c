// SPDX-License-Identifier: MIT
// Three ways through the elements, the first that fits:
//   1. one run, where every input lies like the result or is a single number;
//   2. a run per row, where rows are long enough and lie without gaps;
//   3. blocks, into which whatever does not fit is packed.
#include "dualtape/array/elementwise.hpp"

#include <algorithm>
#include <string_view>

#include "dualtape/array/convert.hpp"
#include "dualtape/array/kernels/elementwise.hpp"
#include "dualtape/num/isa.hpp"
#include "dualtape/ops/rules.hpp"

namespace dualtape::array {

const ElementLoops& element_loops(DType dtype) {
  const ElementKernels* kernels = &generic::element_kernels();
#if defined(__x86_64__)
  switch (num::current_isa()) {
    case num::Isa::avx512:
      kernels = &avx512::element_kernels();
      break;
    case num::Isa::avx2:
      kernels = &avx2::element_kernels();
      break;
    case num::Isa::generic:
      break;
  }
#endif
  return dtype == DType::f32 ? kernels->f32 : kernels->f64;
}

namespace {

constexpr std::int64_t kBlock = 512;
constexpr std::int64_t kLongRow = 16;

/// The first element as a number of the dtype that is computed in.
void read_number(const Array& from, DType dtype, void* to) {
  const double value = from.is_scalar()
                           ? from.scalar()
                           : dispatch(from.dtype(), [&]<class T>() { return static_cast<double>(*from.data<T>()); });
  if (dtype == DType::f32) {
    *static_cast<float*>(to) = static_cast<float>(value);
  } else {
    *static_cast<double*>(to) = value;
  }
}

/// The inputs of a loop and the element that a pass over them has reached.
struct Pass {
  ElementLoop loop;
  DType dtype;
  int inputs;
  const Array* in[kMaxInputs];
  double numbers[kMaxInputs];  // of inputs with a single element
  std::int64_t item;           // bytes of an element of dtype

  bool fits(int k) const { return in[k]->dtype() == dtype; }
};

/// True where one run does it: every input is a single element or lies like the result.
bool one_run(Pass& pass, Shape shape, void* out, std::int64_t n) {
  const void* at[kMaxInputs];
  int steps[kMaxInputs];
  for (int k = 0; k < pass.inputs; ++k) {
    const Array& x = *pass.in[k];
    if (x.size() == 1) {
      read_number(x, pass.dtype, &pass.numbers[k]);
      at[k] = &pass.numbers[k];
      steps[k] = 0;
    } else if (x.contiguous() && pass.fits(k) && same_shape(x.shape(), shape)) {
      at[k] = x.raw_data();
      steps[k] = 1;
    } else {
      return false;
    }
  }
  pass.loop(at, steps, out, n);
  return true;
}

/// The axes of the result, merged where every input allows it, and the strides of the inputs along them.
struct Layout {
  int ndim = 0;
  std::int64_t extents[kMaxDims];
  std::int64_t strides[kMaxInputs][kMaxDims];

  Layout(const Pass& pass, Shape shape) {
    const int full = static_cast<int>(shape.size());
    for (int axis = 0; axis < full; ++axis) {
      const std::int64_t extent = shape[static_cast<std::size_t>(axis)];
      if (extent == 1) continue;
      std::int64_t here[kMaxInputs];
      bool merges = ndim > 0;
      for (int k = 0; k < pass.inputs; ++k) {
        const Array& x = *pass.in[k];
        const int own = axis - (full - x.ndim());
        const std::size_t i = static_cast<std::size_t>(own);
        here[k] = own < 0 || x.shape()[i] == 1 ? 0 : x.strides()[i];
        merges = merges && strides[k][ndim - 1] == here[k] * extent;
      }
      if (!merges) extents[ndim++] = 1;
      extents[ndim - 1] *= extent;
      for (int k = 0; k < pass.inputs; ++k) strides[k][ndim - 1] = here[k];
    }
  }
};

/// Counts through the outer axes of a layout, keeping the offset of each input.
struct Rows {
  const Layout& layout;
  int inputs, outer;  // axes before the last
  std::int64_t index[kMaxDims] = {};
  std::int64_t offset[kMaxInputs] = {};

  Rows(const Layout& layout, int inputs) : layout(layout), inputs(inputs), outer(layout.ndim - 1) {}
  bool next() {
    for (int axis = outer - 1; axis >= 0; --axis) {
      for (int k = 0; k < inputs; ++k) offset[k] += layout.strides[k][axis];
      if (++index[axis] < layout.extents[axis]) return true;
      for (int k = 0; k < inputs; ++k) offset[k] -= layout.strides[k][axis] * layout.extents[axis];
      index[axis] = 0;
    }
    return false;
  }
};

const char* element(const Array& x, std::int64_t offset) {
  return static_cast<const char*>(x.raw_data()) + offset * item_size(x.dtype());
}

bool run_by_rows(const Pass& pass, const Layout& layout, char* out, std::int64_t out_item) {
  const int last = layout.ndim - 1;
  const std::int64_t length = layout.extents[last];
  int steps[kMaxInputs];
  bool fits = length >= kLongRow;
  for (int k = 0; k < pass.inputs; ++k) {
    const std::int64_t stride = layout.strides[k][last];
    fits = fits && pass.fits(k) && (stride == 0 || stride == 1);
    steps[k] = static_cast<int>(stride);
  }
  if (!fits) return false;
  Rows rows(layout, pass.inputs);
  do {
    const void* at[kMaxInputs];
    for (int k = 0; k < pass.inputs; ++k) at[k] = element(*pass.in[k], rows.offset[k]);
    pass.loop(at, steps, out, length);
    out += length * out_item;
  } while (rows.next());
  return true;
}

template <class From, class To>
void pack(const From* from, std::int64_t stride, To* to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<To>(from[i * stride]);
}

/// Copies n elements of x from `offset` on, `stride` apart, to `to` in the dtype that is computed in.
void pack_piece(const Array& x, std::int64_t offset, std::int64_t stride, DType dtype, char* to, std::int64_t n) {
  if (stride == 0 && x.dtype() == DType::f64 && dtype == DType::f64) {
    // One element for a row, as where a column meets a matrix: by far the most frequent piece.
    std::fill_n(reinterpret_cast<double*>(to), n, *reinterpret_cast<const double*>(element(x, offset)));
    return;
  }
  dispatch(x.dtype(), [&]<class From>() {
    const From* from = reinterpret_cast<const From*>(element(x, offset));
    if (dtype == DType::f32) {
      pack(from, stride, reinterpret_cast<float*>(to), n);
    } else {
      pack(from, stride, reinterpret_cast<double*>(to), n);
    }
  });
}

/// How an input of a pass by blocks reaches the loop.
enum class Feed {
  number,    // one element for all
  direct,    // its memory already has the order of the result
  periodic,  // a row that repeats: packed once for all blocks
  packed,    // gathered for each block
};

Feed feed(const Pass& pass, const Layout& layout, int k) {
  if (pass.in[k]->size() == 1) return Feed::number;
  const int last = layout.ndim - 1;
  std::int64_t step = 1;
  bool direct = pass.fits(k), repeats = true;
  for (int axis = last; axis >= 0; --axis) {
    direct = direct && layout.strides[k][axis] == step;
    repeats = repeats && (axis == last || layout.strides[k][axis] == 0);
    step *= layout.extents[axis];
  }
  return direct ? Feed::direct : repeats && layout.extents[last] <= kBlock ? Feed::periodic : Feed::packed;
}

void run_by_blocks(const Pass& pass, const Layout& layout, char* out, std::int64_t out_item) {
  alignas(64) char blocks[kMaxInputs][kBlock * sizeof(double)];
  const void* at[kMaxInputs];
  int steps[kMaxInputs];
  Feed feeds[kMaxInputs];
  const int last = layout.ndim - 1;
  const std::int64_t length = layout.extents[last];
  // Blocks of whole rows, where a row fits, so that a row that repeats stands alike in all of them.
  const std::int64_t most = length <= kBlock ? kBlock / length * length : kBlock;
  std::int64_t packed = 0;
  for (int k = 0; k < pass.inputs; ++k) {
    feeds[k] = feed(pass, layout, k);
    steps[k] = feeds[k] != Feed::number;
    at[k] = feeds[k] == Feed::number   ? static_cast<const void*>(&pass.numbers[k])
            : feeds[k] == Feed::direct ? pass.in[k]->raw_data()
                                       : static_cast<const void*>(blocks[k]);
    packed += feeds[k] == Feed::packed;
    if (feeds[k] == Feed::number) read_number(*pass.in[k], pass.dtype, const_cast<double*>(&pass.numbers[k]));
    if (feeds[k] != Feed::periodic) continue;
    for (std::int64_t i = 0; i < most; i += length) {
      pack_piece(*pass.in[k], 0, layout.strides[k][last], pass.dtype, blocks[k] + i * pass.item, length);
    }
  }
  const auto flush = [&](std::int64_t n) {
    pass.loop(at, steps, out, n);
    out += n * out_item;
    for (int k = 0; k < pass.inputs; ++k) {
      if (feeds[k] == Feed::direct) at[k] = static_cast<const char*>(at[k]) + n * pass.item;
    }
  };
  if (packed == 0) {
    std::int64_t rest = 1;
    for (int axis = 0; axis <= last; ++axis) rest *= layout.extents[axis];
    for (; rest > 0; rest -= most) flush(std::min(rest, most));
    return;
  }
  Rows rows(layout, pass.inputs);
  std::int64_t filled = 0;
  do {
    for (std::int64_t i = 0; i < length;) {
      const std::int64_t n = std::min(length - i, most - filled);
      for (int k = 0; k < pass.inputs; ++k) {
        if (feeds[k] != Feed::packed) continue;
        const std::int64_t stride = layout.strides[k][last];
        pack_piece(*pass.in[k], rows.offset[k] + i * stride, stride, pass.dtype, blocks[k] + filled * pass.item, n);
      }
      i += n;
      filled += n;
      if (filled < most) continue;
      flush(filled);
      filled = 0;
    }
  } while (rows.next());
  if (filled) flush(filled);
}

/// Runs the loop over all elements of a result of that shape, which is C-ordered at `out`.
void run(Pass& pass, Shape shape, void* out, std::int64_t out_item) {
  const std::int64_t n = element_count(shape);
  if (n == 0 || one_run(pass, shape, out, n)) return;
  const Layout layout(pass, shape);
  if (!run_by_rows(pass, layout, static_cast<char*>(out), out_item)) {
    run_by_blocks(pass, layout, static_cast<char*>(out), out_item);
  }
}

/// The shape of the broadcast; shortcuts for what is nearly always the case.
Dims result_shape(std::string_view op, const Array* const* in, int inputs) {
  const Array* largest = in[0];
  for (int k = 1; k < inputs; ++k) {
    if (in[k]->ndim() > largest->ndim() || (in[k]->ndim() == largest->ndim() && in[k]->size() > largest->size())) {
      largest = in[k];
    }
  }
  bool simple = true;
  for (int k = 0; k < inputs; ++k)
    simple = simple && (in[k]->ndim() == 0 || same_shape(in[k]->shape(), largest->shape()));
  if (simple) return Dims(largest->shape());
  Shape shapes[kMaxInputs];
  for (int k = 0; k < inputs; ++k) shapes[k] = in[k]->shape();
  return broadcast_shapes(op, {shapes, static_cast<std::size_t>(inputs)});
}

DType compute_dtype(std::span<const Array* const> operands) {
  DType dtype = operands[0]->dtype();
  for (const Array* x : operands.subspan(1)) dtype = promote(dtype, x->dtype());
  return float_dtype(dtype);
}

/// Copies the numbers of operands that are all inline scalars; false where one is not.
bool all_scalars(std::span<const Array* const> operands, double* numbers) {
  for (const Array* x : operands) {
    if (!x->is_scalar()) return false;
    *numbers++ = x->scalar();
  }
  return true;
}

/// x**2 is by far the most frequent power; square has its bits and needs no loop over the exponent's.
bool is_square(ops::Op op, std::span<const Array* const> operands) {
  return op == ops::Op::integer_power && operands[1]->ndim() == 0 && operands[1]->item() == 2 &&
         compute_dtype(operands) == float_dtype(operands[0]->dtype());
}

}  // namespace

Array apply(ops::Op op, std::span<const Array* const> operands) {
  const ops::OpInfo& row = ops::info(op);
  double numbers[ops::kMaxArity];
  if (!row.predicate && all_scalars(operands, numbers)) return Array(scalar_value(op, numbers));
  if (is_square(op, operands)) return apply(ops::Op::square, operands.first(1));
  const DType dtype = compute_dtype(operands);
  Pass pass{element_loops(dtype).value[static_cast<int>(op)], dtype, row.arity, {}, {}, item_size(dtype)};
  std::copy(operands.begin(), operands.end(), pass.in);
  const DType out_dtype = row.predicate ? DType::boolean : dtype;
  const Dims shape = result_shape(row.name, pass.in, pass.inputs);
  Array out = Array::empty(out_dtype, shape);
  run(pass, shape, out.raw_writable_data(), item_size(out_dtype));
  return out;
}

void apply_into(ops::Op op, std::span<const Array* const> operands, Array& out) {
  const DType dtype = out.dtype();
  Pass pass{element_loops(dtype).number[static_cast<int>(op)], dtype, ops::info(op).arity, {}, {}, item_size(dtype)};
  std::copy(operands.begin(), operands.end(), pass.in);
  run(pass, out.shape(), out.raw_writable_data(), item_size(dtype));
}

Array times_partial(ops::Op op, int which, std::span<const Array* const> operands, const Array& result,
                    const Array& cotangent) {
  const ops::OpInfo& row = ops::info(op);
  const std::size_t i = static_cast<std::size_t>(which);
  double numbers[ops::kMaxArity];
  if (result.is_scalar() && cotangent.is_scalar() && all_scalars(operands, numbers)) {
    return Array(ops::strong_multiply(cotangent.scalar(), scalar_partial(op, which, numbers, result.scalar())));
  }
  if (which == 0 && is_square(op, operands)) {
    return times_partial(ops::Op::square, 0, operands.first(1), result, cotangent);
  }
  const DType dtype = float_dtype(result.dtype());
  const Array unread;
  Pass pass{
      element_loops(dtype).times_partial[static_cast<int>(op)][i], dtype, row.arity + 2, {}, {}, item_size(dtype)};
  const Array* in[kMaxInputs];
  in[0] = pass.in[0] = &cotangent;
  for (int k = 0; k <= row.arity; ++k) {
    in[k + 1] = k < row.arity ? operands[static_cast<std::size_t>(k)] : &result;
    pass.in[k + 1] = row.reads[i] >> k & 1 ? in[k + 1] : &unread;
  }
  const Dims shape = result_shape(row.name, in, pass.inputs);
  if (!pass.loop) return Array::zeros(dtype, shape);
  Array out = Array::empty(dtype, shape);
  run(pass, shape, out.raw_writable_data(), item_size(dtype));
  return out;
}

void accumulate(Array& to, const Array& x) {
  if (to.is_scalar()) {
    to = Array(to.scalar() + x.item());
    return;
  }
  if (!to.contiguous()) to = to.copy();
  Pass pass{element_loops(to.dtype()).value[static_cast<int>(ops::Op::add)],
            to.dtype(),
            2,
            {&to, &x},
            {},
            item_size(to.dtype())};
  run(pass, to.shape(), to.raw_writable_data(), item_size(to.dtype()));
}

}  // namespace dualtape::array
