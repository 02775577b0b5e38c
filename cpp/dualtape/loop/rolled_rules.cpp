// SPDX-License-Identifier: MIT
// `rolled` and `rolled_pull` as shaped ops, and their derivatives, which are made of the same two ops again. With
// F(x) the result of the loop, and JF(x, u) = (F(x), F'(x) u) the loop that pushes tangents:
//
//   rolled_pull(F)(x, c) = F'(x)^T c. Along (u, d) its tangent is what rolled_pull(JF)((x, u), (d, c)) gives for x,
//   since JF's cotangents (d, c) are pulled back to (F'(x)^T d + (F'(x) u)'^T c, F'(x)^T c).
//   For a cotangent u of its result, c gets F'(x) u, and x gets what rolled_pull(JF)((x, u), (0, c)) gives for x.
#include "dualtape/array/reduce.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/loop/rolled.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/tape.hpp"

namespace dualtape::loop {
namespace {

using tape::ActiveLanes;
using tape::Attributes;
using tape::Call;
using Operands = std::span<const Array* const>;

const Rolled& of(const Attributes& attributes) { return static_cast<const Rolled&>(*attributes.payload); }
std::shared_ptr<const Rolled> shared(const Attributes& attributes) {
  return std::static_pointer_cast<const Rolled>(attributes.payload);
}

/// Numbers `first` ... `first + shape's` of a vector, in a shape and a dtype.
Var piece(const Var& vector, std::int64_t first, const Dims& shape, DType dtype) {
  const array::Slice slice{first, 1, element_count(shape)};
  return tape::cast(tape::reshape(tape::slice(vector, std::span(&slice, 1)), shape), dtype);
}
Var zeros(std::int64_t numbers) { return Var(Array::zeros(DType::f64, Dims{numbers})); }
Var joined(const std::vector<Var>& parts) {
  return parts.empty() ? zeros(0) : parts.size() == 1 ? parts[0] : tape::concatenate(parts, 0);
}

std::vector<Array> samples_of(std::span<const Var> operands, const Rolled& rolled) {
  std::vector<Array> out;
  for (std::size_t i = 0; i < rolled.operand_count(); ++i) out.push_back(operands[i].value());
  return out;
}

/// Operands of the loop that pushes tangents; a null tangent is zero.
std::vector<Var> paired(const Rolled& rolled, std::span<const Var> operands, std::span<const Var* const> tangents) {
  std::vector<Var> out;
  for (std::size_t i = 0; i < rolled.operand_count(); ++i) {
    out.push_back(operands[i]);
    if (!rolled.operands()[i].differentiable()) continue;
    out.push_back(tangents[i] ? tape::cast(*tangents[i], operands[i].dtype()) : tape::zeros_like(operands[i]));
  }
  return out;
}

/// Carry and outputs of a loop: how many numbers each has, and whether it has a tangent.
struct Place {
  std::int64_t numbers;
  bool differentiable;
};
std::vector<Place> places(const Rolled& rolled) {
  std::vector<Place> out;
  for (std::size_t i = 0; i < rolled.parts().carry; ++i) {
    out.push_back({rolled.operands()[i].size, rolled.operands()[i].differentiable()});
  }
  for (const Leaf& output : rolled.outputs()) {
    out.push_back({output.size * rolled.parts().length, output.differentiable()});
  }
  return out;
}

/// The tangent of the result of `rolled`, out of that of the loop that pushes tangents.
Var tangents_of(const Rolled& rolled, const Var& pushed) {
  std::vector<Var> parts;
  std::int64_t at = 0;
  for (const Place& place : places(rolled)) {
    at += place.numbers;
    if (!place.differentiable) {
      parts.push_back(zeros(place.numbers));
      continue;
    }
    parts.push_back(piece(pushed, at, Dims{place.numbers}, DType::f64));
    at += place.numbers;
  }
  return joined(parts);
}

/// Cotangents of the result of the loop that pushes tangents: of the primals (null for zero), and of the tangents.
Var cotangents_for(const Rolled& rolled, const Var* primals, const Var& tangents) {
  std::vector<Var> parts;
  std::int64_t at = 0;
  for (const Place& place : places(rolled)) {
    parts.push_back(primals ? piece(*primals, at, Dims{place.numbers}, DType::f64) : zeros(place.numbers));
    if (place.differentiable) parts.push_back(piece(tangents, at, Dims{place.numbers}, DType::f64));
    at += place.numbers;
  }
  return joined(parts);
}

/// What `rolled_pull` of the loop that pushes tangents gives for the primals, in the layout of that of the loop itself.
Var primals_of(const Rolled& rolled, const Var& pulled, bool entries) {
  std::vector<Var> parts;
  std::int64_t at = 0;
  for (std::size_t i = 0; i < rolled.operand_count(); ++i) {
    if (!rolled.operands()[i].differentiable() || (rolled.is_entry(i) && !entries)) continue;
    parts.push_back(piece(pulled, at, Dims{rolled.numbers(i)}, DType::f64));
    at += 2 * rolled.numbers(i);
  }
  return joined(parts);
}

/// `entries`: with the cotangents of what has an entry for each step.
Var apply_pull(std::shared_ptr<const Rolled> rolled, std::vector<Var> operands, const Var& cotangent, bool entries);

/// Whether the cotangent of an operand with entries is wanted.
bool wants_entries(const Rolled& rolled, const std::vector<bool>& wanted) {
  for (std::size_t i = 0; i < rolled.operand_count(); ++i) {
    if (wanted[i] && rolled.is_entry(i)) return true;
  }
  return false;
}

/// Of the attributes, `flag` leaves out the cotangents of entries, and `axis` is the number of lanes, or 0.
class RolledRule : public tape::ShapedRule {
 public:
  bool linear() const override { return false; }
  bool has_payload() const override { return true; }
  std::shared_ptr<const tape::Payload> load(std::string_view bytes) const override { return Rolled::load(bytes); }
  Attributes over_lanes(const Attributes& attributes, std::span<const Dims>, std::int64_t lanes) const override {
    Attributes out = attributes;
    out.axis = lanes;
    return out;
  }
  Array forward(Operands in, const Attributes& attributes) const override {
    const Rolled& rolled = of(attributes);
    Dims shape{size(attributes)};
    if (attributes.axis) shape.push_back(attributes.axis);
    Array out = Array::empty(DType::f64, shape);
    if (attributes.axis) {
      forward_into(out, in, attributes);
      return out;
    }
    // On arrays that stay as they are: what a run keeps serves the pull behind it.
    const std::vector<Array> operands = contiguous(in);
    double* to = out.writable_data<double>();
    if (pulls()) {
      std::optional<Kept> kept = rolled.take(operands);
      if (!kept) run(rolled, operands, 1, {1, nullptr}, nullptr, &kept.emplace());
      pull(rolled, operands, 1, std::move(*kept), !attributes.flag, to);
    } else if (tape::Tape::current()) {
      Kept kept;
      run(rolled, operands, 1, {1, nullptr}, to, &kept);
      rolled.leave(std::move(kept));
    } else {
      run(rolled, operands, 1, {1, nullptr}, to);
    }
    return out;
  }
  void forward_into(Array& out, Operands in, const Attributes& attributes) const override {
    forward_lanes(out, in, attributes, {std::max<std::int64_t>(attributes.axis, 1), nullptr});
  }
  void forward_lanes(Array& out, Operands in, const Attributes& attributes, const ActiveLanes& active) const override {
    const std::vector<Array> operands = contiguous(in);
    const std::int64_t lanes = std::max<std::int64_t>(attributes.axis, 1);
    double* to = out.writable_data<double>();
    if (!pulls()) return run(of(attributes), operands, lanes, active, to);
    Kept kept;
    run(of(attributes), operands, lanes, active, nullptr, &kept);
    pull(of(attributes), operands, lanes, std::move(kept), !attributes.flag, to);
  }
  std::optional<Dims> infer(Operands, const Attributes& attributes) const override { return Dims{size(attributes)}; }
  void check(Operands in, const Attributes& attributes) const override {
    if (!attributes.payload) throw ShapeError(std::string(name()) + ": the loop is missing.");
    const Rolled& rolled = of(attributes);
    tape::check_count(*this, in.size(), rolled.operand_count() + (pulls() ? 1 : 0));
    for (std::size_t i = 0; i < in.size(); ++i) {
      const bool last = i == rolled.operand_count();
      const Dims shape = last ? Dims{rolled.result_size()} : rolled.full_shape(i);
      const DType dtype = last ? DType::f64 : rolled.operands()[i].dtype;
      if (in[i]->dtype() == dtype && same_shape(in[i]->shape(), shape)) continue;
      throw ShapeError(std::string(name()) + to_string(in[i]->shape()) + ": operand " + std::to_string(i) +
                       " must have the shape " + to_string(shape) + " and the dtype " +
                       std::string(array::name(dtype)) + ".");
    }
  }
  Var vjp(const Call& call, int i, const Var& cotangent) const override {
    std::vector<bool> wanted(call.operands.size());
    wanted[static_cast<std::size_t>(i)] = true;
    return vjps(call, wanted, cotangent)[static_cast<std::size_t>(i)];
  }

 protected:
  virtual bool pulls() const = 0;
  std::int64_t size(const Attributes& attributes) const {
    const Rolled& rolled = of(attributes);
    return pulls() ? rolled.pulled_size(!attributes.flag) : rolled.result_size();
  }
  static std::vector<Array> contiguous(Operands in) {
    std::vector<Array> out;
    for (const Array* x : in) out.push_back(x->as_contiguous());
    return out;
  }
  /// Takes the cotangents of the operands out of the vector in which they come.
  static std::vector<Var> apart(const Rolled& rolled, const Var& pulled, const std::vector<bool>& wanted) {
    std::vector<Var> out(wanted.size());
    for (std::size_t i = 0; i < rolled.operand_count(); ++i) {
      if (!wanted[i]) continue;
      out[i] = piece(pulled, rolled.pulled_offsets()[i], rolled.full_shape(i), rolled.operands()[i].dtype);
    }
    return out;
  }
};

class RunRule final : public RolledRule {
 public:
  std::string_view name() const override { return "rolled"; }
  std::vector<Var> vjps(const Call& call, const std::vector<bool>& wanted, const Var& cotangent) const override {
    const std::shared_ptr<const Rolled> rolled = shared(call.attributes);
    const std::vector<Var> operands(call.operands.begin(), call.operands.end());
    return apart(*rolled, apply_pull(rolled, operands, cotangent, wants_entries(*rolled, wanted)), wanted);
  }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    const Rolled& rolled = of(call.attributes);
    const auto pushed = rolled.pushed(samples_of(call.operands, rolled));
    return tangents_of(rolled, apply_rolled(pushed, paired(rolled, call.operands, tangents)));
  }

 protected:
  bool pulls() const override { return false; }
};

class PullRule final : public RolledRule {
 public:
  std::string_view name() const override { return "rolled_pull"; }
  Var jvp(const Call& call, std::span<const Var* const> tangents) const override {
    const Rolled& rolled = of(call.attributes);
    const auto pushed = rolled.pushed(samples_of(call.operands, rolled));
    const std::size_t last = rolled.operand_count();
    const Var both = cotangents_for(rolled, tangents[last], call.operands[last]);
    const bool entries = !call.attributes.flag;
    return primals_of(rolled, apply_pull(pushed, paired(rolled, call.operands, tangents), both, entries), entries);
  }
  std::vector<Var> vjps(const Call& call, const std::vector<bool>& wanted, const Var& cotangent) const override {
    const Rolled& rolled = of(call.attributes);
    const auto pushed = rolled.pushed(samples_of(call.operands, rolled));
    const std::size_t last = rolled.operand_count();
    std::vector<bool> all(last);
    for (std::size_t i = 0; i < last; ++i) {
      all[i] = rolled.operands()[i].differentiable() && !(call.attributes.flag && rolled.is_entry(i));
    }
    const std::vector<Var> tangents = apart(rolled, cotangent, all);
    std::vector<const Var*> pointers;
    for (std::size_t i = 0; i < last; ++i) pointers.push_back(all[i] ? &tangents[i] : nullptr);
    const std::vector<Var> operands = paired(rolled, call.operands, pointers);
    std::vector<bool> of_operands(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(last));
    const Var both = cotangents_for(rolled, nullptr, call.operands[last]);
    const bool entries = wants_entries(rolled, wanted);
    const Var pulled = primals_of(rolled, apply_pull(pushed, operands, both, entries), entries);
    std::vector<Var> out = apart(rolled, pulled, of_operands);
    out.push_back(wanted[last] ? tangents_of(rolled, apply_rolled(pushed, operands)) : Var());
    return out;
  }

 protected:
  bool pulls() const override { return true; }
};

const RunRule run_rule;
const PullRule pull_rule;
const tape::RegisterRule registered[] = {tape::RegisterRule(run_rule), tape::RegisterRule(pull_rule)};

Attributes with(std::shared_ptr<const Rolled> rolled) {
  Attributes attributes;
  attributes.payload = std::move(rolled);
  return attributes;
}

Var apply_pull(std::shared_ptr<const Rolled> rolled, std::vector<Var> operands, const Var& cotangent, bool entries) {
  operands.push_back(tape::cast(cotangent, DType::f64));
  Attributes attributes = with(std::move(rolled));
  attributes.flag = !entries;
  return tape::apply(pull_rule, operands, std::move(attributes));
}

}  // namespace

std::vector<Var> unpack(const Rolled& rolled, const Var& result) {
  std::vector<Var> out;
  for (std::size_t i = 0; i < rolled.parts().carry; ++i) {
    const Leaf& leaf = rolled.operands()[i];
    out.push_back(piece(result, rolled.offsets()[i], leaf.shape, leaf.dtype));
  }
  for (std::size_t i = 0; i < rolled.outputs().size(); ++i) {
    const Leaf& leaf = rolled.outputs()[i];
    Dims shape = leaf.shape;
    shape.insert(0, rolled.parts().length);
    out.push_back(piece(result, rolled.offsets()[rolled.parts().carry + i], shape, leaf.dtype));
  }
  return out;
}

Var apply_rolled(std::shared_ptr<const Rolled> rolled, std::span<const Var> operands) {
  return tape::apply(run_rule, operands, with(std::move(rolled)));
}

}  // namespace dualtape::loop
