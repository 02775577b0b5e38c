// SPDX-License-Identifier: MIT
// The code of each line of a body. Start reading at emit.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "dualtape/machine/x86_values.hpp"

namespace dualtape::machine {

class Lines : public Values {
 protected:
  using Values::Values;

  void emit(LineId here) {
    const Line& now = line(here);
    const auto [a, b, c] = now.operands;
    busy_.clear();
    switch (now.kind) {
      case Kind::input:
      case Kind::constant:
        return;
      case Kind::guard:
        return emit_guard(here);
      case Kind::join:
        return emit_join(here);
      case Kind::add:
      case Kind::multiply: {
        if (now.kind == Kind::multiply && doubles(a, b, here)) break;
        // The factors change places where that saves a load.
        const bool swap = where_->reg(a) == Allocation::kNone && where_->reg(b) != Allocation::kNone;
        const Xmm x = in_register(swap ? b : a, here);
        const Source y = source(swap ? a : b, here);
        const Xmm d = result(here);
        now.kind == Kind::add ? add(d, x, y) : mul(d, x, y);
        break;
      }
      case Kind::subtract:
      case Kind::divide: {
        const Xmm x = in_register(a, here);
        const Source y = source(b, here);
        const Xmm d = result(here);
        now.kind == Kind::subtract ? sub(d, x, y) : div(d, x, y);
        break;
      }
      case Kind::fma:
        emit_fma(here);
        break;
      case Kind::strong:
      case Kind::strong_sum:
        emit_strong(here);
        break;
      case Kind::negate:
      case Kind::absolute: {
        const Xmm x = in_register(a, here);
        const Xmm d = result(here);
        now.kind == Kind::negate ? bitwise_xor(d, x, pooled_bits(kSign)) : bitwise_and(d, x, pooled_bits(kRest));
        break;
      }
      case Kind::copysign: {
        const Xmm x = in_register(a, here), y = in_register(b, here);
        const Xmm s = vector(scratch(0)), t = vector(scratch(1));
        bitwise_and(s, x, pooled_bits(kRest));
        bitwise_and(t, y, pooled_bits(kSign));
        const Xmm d = result(here);
        bitwise_or(d, s, t);
        break;
      }
      case Kind::at_most:
      case Kind::at_least: {
        const Xmm bound = in_register(b, here);
        const Source x = source(a, here);
        const Xmm d = result(here);
        now.kind == Kind::at_most ? min(d, bound, x) : max(d, bound, x);  // (x where it is NaN)
        break;
      }
      case Kind::power: {
        const Xmm x = in_register(a, here);
        const Xmm d = result(here);
        body_.single ? vpslld(d, x, 23) : vpsllq(d, x, 52);
        break;
      }
      case Kind::sqrt: {
        const Xmm x = in_register(a, here);
        const Xmm d = result(here);
        if (style_.scalar) {
          body_.single ? vsqrtss(d, x, x) : vsqrtsd(d, x, x);
        } else {
          body_.single ? vsqrtps(d, x) : vsqrtpd(d, x);
        }
        break;
      }
      case Kind::round: {
        constexpr std::uint8_t kModes[] = {0x8, 0x9, 0xA, 0xB};
        const std::uint8_t mode = kModes[now.immediate];
        const Xmm x = in_register(a, here);
        const Xmm d = result(here);
        if (style_.scalar) {
          body_.single ? vroundss(d, x, x, mode) : vroundsd(d, x, x, mode);
        } else if (style_.masks) {
          body_.single ? vrndscaleps(d, x, mode) : vrndscalepd(d, x, mode);
        } else {
          body_.single ? vroundps(d, x, mode) : vroundpd(d, x, mode);
        }
        break;
      }
      case Kind::compare: {
        const Xmm x = in_register(a, here);
        const Source y = source(b, here);
        compare(result_index(here), x, y, predicate(static_cast<Comparison>(now.immediate)));
        break;
      }
      case Kind::both:
      case Kind::either:
      case Kind::differ:
        if (style_.masks) {
          const Xbyak::Opmask x = mask_register(a, here), y = mask_register(b, here), d(result_index(here));
          now.kind == Kind::both ? kandw(d, x, y) : now.kind == Kind::either ? korw(d, x, y) : kxorw(d, x, y);
        } else {
          const Xmm x = in_register(a, here), y = in_register(b, here), d = result(here);
          now.kind == Kind::both ? vandps(d, x, y) : now.kind == Kind::either ? vorps(d, x, y) : vxorps(d, x, y);
        }
        break;
      case Kind::inverse:
        if (style_.masks) {
          const Xbyak::Opmask x = mask_register(a, here);
          knotw(Xbyak::Opmask(result_index(here)), x);
        } else {
          const Xmm x = in_register(a, here), all = vector(scratch(0));
          vpcmpeqd(all, all, all);
          const Xmm d = result(here);
          vxorps(d, x, all);
        }
        break;
      case Kind::select: {
        if (style_.masks) {
          const Xmm z = in_register(c, here);
          const Source y = source(b, here);
          const Xbyak::Opmask k = mask_register(a, here);
          const Xmm d = result(here);
          body_.single ? vblendmps(d | k, z, y) : vblendmpd(d | k, z, y);
        } else {
          const Xmm m = in_register(a, here), z = in_register(c, here);
          const Source y = source(b, here, !style_.scalar);
          const Xmm d = result(here);
          body_.single ? vblendvps(d, z, y, m) : vblendvpd(d, z, y, m);
        }
        break;
      }
    }
    busy_.clear();
    for (LineId id : now.operands) {
      if (id != kNoLine) where_->end_use(id, here);
    }
    where_->end_use(here, here);
  }

  /// 2 x as x + x, which many processors have more units for.
  bool doubles(LineId a, LineId b, LineId here) {
    const auto is_two = [&](LineId id) {
      return line(id).kind == Kind::constant && body_.constants[line(id).immediate] == 2.0;
    };
    if (!is_two(a) && !is_two(b)) return false;
    const Xmm x = in_register(is_two(a) ? b : a, here);
    const Xmm d = result(here);
    add(d, x, x);
    return true;
  }

  /// All values go to memory; then the lines up to the join are run or not.
  void emit_guard(LineId here) {
    const LineId mask = line(here).operands[0];
    Xmm in_vector(0);
    Xbyak::Opmask in_mask(0);
    if (style_.masks) {
      in_mask = mask_register(mask, here);
    } else {
      in_vector = in_register(mask, here);
    }
    where_->put_away([&](LineId id, int from, int slot) { spill(id, from, slot); });
    const auto target = std::make_shared<Label>();
    joins_[static_cast<LineId>(line(here).immediate)] = target;
    if (style_.masks) {
      kortestw(in_mask, in_mask);
    } else {
      body_.single ? vmovmskps(r11d, in_vector) : vmovmskpd(r11d, in_vector);
      test(r11d, style_.scalar ? 1 : 0xFF);
    }
    jz(*target, T_NEAR);
    guards_.push_back(here);
    where_->end_use(mask, here);
  }
  void emit_join(LineId here) {
    where_->join(guards_.back());
    guards_.pop_back();
    L(*joins_[here]);
  }

  /// One of the operands gives its register to the result: one that is not read again, or else a copy.
  void emit_fma(LineId here) {
    const Line& now = line(here);
    LineId a = now.operands[0], b = now.operands[1], c = now.operands[2];
    const auto held = [&](LineId id) { return where_->reg(id) != Allocation::kNone; };
    const auto dying = [&](LineId id) { return held(id) && where_->dies_at(id, here); };
    const auto at_home = [&](LineId id) { return held(id) && where_->reg(id) == wanted(here); };
    // The result replaces the addend (order 231) or a factor (order 213).
    bool addend = true;
    if (dying(c) && !(dying(a) && at_home(a)) && !(dying(b) && at_home(b))) {
      addend = true;
    } else if (dying(a) && a != b && a != c) {
      addend = false;
    } else if (dying(b) && a != b && b != c) {
      std::swap(a, b);
      addend = false;
    } else if (!held(c) && c != a && c != b) {
      addend = true;
    } else if (!held(a) && a != b && a != c) {
      addend = false;
    } else if (!held(b) && a != b && b != c) {
      std::swap(a, b);
      addend = false;
    }
    const LineId replaced = addend ? c : a;
    LineId first = addend ? a : b, last = addend ? b : c;
    if (addend && !held(first) && held(last)) std::swap(first, last);
    const bool free = dying(replaced) && replaced != first && replaced != last;
    int d = Allocation::kNone;
    if (!held(replaced)) {
      // Loaded first: the address of a table is good only until the next one is looked up.
      d = new_register(here, here, wanted(here));
      busy_.push_back(here);
      load(vector(d), replaced);
    } else {
      busy_.push_back(replaced);
    }
    const Xmm x = in_register(first, here);
    const Source y = source(last, here);
    if (free) {
      d = where_->reg(replaced);
      where_->drop(replaced);
      where_->take(here, d);
    } else if (d == Allocation::kNone) {
      d = new_register(here, here, wanted(here));
      move(vector(d), vector(where_->reg(replaced)));
    }
    fused(now.immediate, addend, vector(d), x, y);
  }

  /// The product, or the product and a sum, and a look at whether that is NaN, which it hardly ever is; what to do then
  /// stands behind the code.
  void emit_strong(LineId here) {
    const Line& now = line(here);
    const auto [a, b, c] = now.operands;
    const bool sum = now.kind == Kind::strong_sum;
    const Xmm x = in_register(a, here), y = in_register(b, here);
    const Xmm addend = sum ? in_register(c, here) : x;
    const Xmm d = vector(new_register(here, here, wanted(here)));
    if (sum) {
      move(d, addend);
      fused(now.immediate, true, d, x, y);
    } else {
      mul(d, x, y);
    }
    auto repair = std::make_shared<Label>(), back = std::make_shared<Label>();
    if (style_.masks) {
      compare(1, d, d, kUnordered);
      kortestw(k1, k1);
      jnz(*repair, T_NEAR);
    } else if (style_.scalar) {
      body_.single ? vucomiss(d, d) : vucomisd(d, d);
      jp(*repair, T_NEAR);
    } else {
      const Xmm s = vector(scratch(0));
      compare(scratch(0), d, d, kUnordered);
      vtestps(s, s);
      jnz(*repair, T_NEAR);
    }
    L(*back);
    const Address zero = pooled(0);
    cold_.push_back([this, sum, d, x, y, addend, repair, back, zero] {
      L(*repair);
      if (style_.masks) {
        // No general register is free here: those of tables and of rows are in use.
        for (const Xmm& factor : {x, y}) {
          body_.single ? vcmpps(k2 | k1, factor, zero, kEqual) : vcmppd(k2 | k1, factor, zero, kEqual);
          if (sum) {
            body_.single ? vmovaps(d | k2, addend) : vmovapd(d | k2, addend);
          } else {
            body_.single ? vpxord(d | k2, d, d) : vpxorq(d | k2, d, d);
          }
        }
      } else {
        const Xmm s = vector(scratch(0)), t = vector(scratch(1));
        compare(scratch(0), x, zero, kEqual);
        compare(scratch(1), y, zero, kEqual);
        vorps(s, s, t);
        compare(scratch(1), d, d, kUnordered);
        vandps(s, s, t);
        if (sum) {
          body_.single ? vblendvps(d, d, addend, s) : vblendvpd(d, d, addend, s);
        } else {
          vandnps(d, s, d);
        }
      }
      jmp(*back, T_NEAR);
    });
  }

  static constexpr std::uint8_t kEqual = 0x00, kUnordered = 0x03;  // comparisons
  std::vector<LineId> guards_;                                     // that are open
  std::map<LineId, std::shared_ptr<Label>> joins_;
  std::vector<std::function<void()>> cold_;  // what stands behind the code
};

}  // namespace dualtape::machine
