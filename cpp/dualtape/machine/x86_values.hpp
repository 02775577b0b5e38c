// SPDX-License-Identifier: MIT
// Where the values of a body are while its code is written: registers, places of the frame, and the memory that a
// kernel is called with. Start reading at memory and in_register.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "dualtape/machine/allocation.hpp"
#include "dualtape/machine/kernel.hpp"
#include "dualtape/machine/x86_instructions.hpp"

namespace dualtape::machine {

class Values : public Instructions {
 protected:
  using Instructions::Instructions;

  static std::size_t at(LineId id) { return static_cast<std::size_t>(id); }

  const Line& line(LineId id) const { return body_.lines[at(id)]; }

  /// The first place of the frame holds the flags of `until`.
  Address in_slot(int slot) const { return ptr[rsp + (slot + 1) * vector_bytes()]; }
  /// Where a value lies that is in memory. A table's address is put into r11 first.
  Address memory(LineId id) {
    if (where_->slot(id) != Allocation::kNone) return in_slot(where_->slot(id));
    const Line& here = line(id);
    if (here.kind == Kind::constant) return pooled(bits_of(body_.constants[here.immediate]));
    const Input& input = body_.inputs[here.immediate];
    switch (input.from) {
      case Input::From::lanes:
        return lanes_at(input.offset);
      case Input::From::shared:
        return spread(rdx + static_cast<int>(input.offset), false);
      case Input::From::row_lanes:
        mov(r11, ptr[rbx + 8 * static_cast<int>(input.offset)]);
        return vector_at(r11 + rax);
      case Input::From::row_shared:
        mov(r11, ptr[rbx + 8 * static_cast<int>(input.offset)]);
        return spread(Xbyak::RegExp(r11), false);
      case Input::From::place_lanes:
        mov(r11, ptr[rdx + 8 * static_cast<int>(input.offset)]);
        return vector_at(r11 + rax);
      case Input::From::place_shared:
        mov(r11, ptr[rdx + 8 * static_cast<int>(input.offset)]);
        return spread(Xbyak::RegExp(r11), false);
      case Input::From::table:
        break;
    }
    mov(r11, ptr[rdi + offsetof(Call, tables)]);
    mov(r11, ptr[r11 + 8 * static_cast<int>(input.offset)]);
    return spread(r11 + r10, false);
  }
  Address lanes_at(std::int64_t offset) const { return vector_at(rsi + rax + static_cast<int>(offset)); }
  Address vector_at(const Xbyak::RegExp& first) const {
    const Xbyak::RegExp where = first + copy_ * vector_bytes();
    if (style_.scalar) return body_.single ? dword[where] : qword[where];
    return ptr[where];
  }
  int row_places() const {
    return static_cast<int>(std::count_if(body_.inputs.begin(), body_.inputs.end(), [](const Input& input) {
      return input.from == Input::From::row_lanes || input.from == Input::From::row_shared;
    }));
  }
  bool is_gathered(LineId id) const {
    return line(id).kind == Kind::input && body_.inputs[line(id).immediate].from == Input::From::table &&
           body_.own_iterations && where_->slot(id) == Allocation::kNone;
  }
  /// Whether an instruction can take the value from memory.
  bool folds(LineId id) const {
    if (is_gathered(id)) return false;
    const Line& here = line(id);
    if (style_.masks || style_.scalar || where_->slot(id) != Allocation::kNone) return true;
    if (here.kind == Kind::constant) return true;
    const Input::From from = body_.inputs[here.immediate].from;
    return from == Input::From::lanes || from == Input::From::row_lanes || from == Input::From::place_lanes;
  }

  int new_register(LineId id, LineId here, int wanted = Allocation::kNone) {
    const int reg =
        where_->find(id, here, wanted, busy_, [&](LineId which, int from, int slot) { spill(which, from, slot); });
    where_->take(id, reg);
    return reg;
  }
  bool is_mask(LineId id) const { return style_.masks && line(id).is_mask(); }
  void spill(LineId id, int from, int slot) {
    is_mask(id) ? kmovw(in_slot(slot), Xbyak::Opmask(from)) : store(in_slot(slot), vector(from));
  }

  using Instructions::load;
  void load(const Xmm& d, LineId id) { is_gathered(id) ? gather(id, d) : load(d, memory(id)); }
  /// The value in a register, for an instruction of line `here`.
  Xmm in_register(LineId id, LineId here) {
    if (where_->reg(id) == Allocation::kNone) {
      const int reg = new_register(id, here);
      load(vector(reg), id);
    }
    busy_.push_back(id);
    return vector(where_->reg(id));
  }
  Xbyak::Opmask mask_register(LineId id, LineId here) {
    if (where_->reg(id) == Allocation::kNone) {
      const Xbyak::Opmask k(new_register(id, here));
      kmovw(k, in_slot(where_->slot(id)));
    }
    busy_.push_back(id);
    return Xbyak::Opmask(where_->reg(id));
  }

  /// The entries of a table for the lanes' own iterations.
  void gather(LineId id, const Xmm& to) {
    mov(r11, ptr[rdi + offsetof(Call, tables)]);
    mov(r11, ptr[r11 + 8 * static_cast<int>(body_.inputs[line(id).immediate].offset)]);
    mov(rbx, ptr[rdi + offsetof(Call, iterations_done)]);
    const Xmm numbers = vector(scratch(0));
    vmovups(numbers, ptr[rbx + rax + copy_ * vector_bytes()]);
    add(r11, r10);
    if (style_.masks) {
      kxnorw(k1, k1, k1);
      if (body_.single) {
        vgatherdps(to | k1, ptr[r11 + numbers * 4]);
      } else {
        vgatherqpd(to | k1, ptr[r11 + numbers * 8]);
      }
    } else {
      const Xmm all = vector(scratch(1));
      vpcmpeqd(all, all, all);
      if (body_.single) {
        vgatherdps(to, ptr[r11 + numbers * 4], all);
      } else {
        vgatherqpd(to, ptr[r11 + numbers * 8], all);
      }
    }
  }

  /// The value as the last operand of an instruction: a register, or memory where that costs nothing.
  struct Source {
    Xmm reg;
    Address memory;
    bool is_register;
    operator const Operand&() const { return is_register ? static_cast<const Operand&>(reg) : memory; }
  };
  Source source(LineId id, LineId here, bool may_fold = true) {
    const bool fold = may_fold && where_->reg(id) == Allocation::kNone && folds(id) &&
                      (line(id).kind == Kind::constant || where_->uses_from(id, here) <= 2);
    if (fold) return {Xmm(0), memory(id), false};
    return {in_register(id, here), ptr[rax], true};
  }

  /// A register for the result of line `here`, after its operands have had their last use.
  Xmm result(LineId here) { return vector(result_index(here)); }
  int result_index(LineId here) {
    for (LineId id : line(here).operands) {
      if (id != kNoLine) where_->end_register(id, here);
    }
    busy_.clear();
    return new_register(here, here, wanted(here));
  }
  /// The register in which a new state is wanted.
  int wanted(LineId id) const {
    if (!style_.kept) return Allocation::kNone;
    for (std::size_t s = 0; s < body_.states.size(); ++s) {
      if (body_.states[s].line == id) return state_register(s, copy_);
    }
    return Allocation::kNone;
  }
  int state_register(std::size_t state, int copy) const { return static_cast<int>(state) * group_copies_ + copy; }

  std::optional<Allocation> where_;  // during one copy of the body
  std::vector<LineId> busy_;         // values that must keep their registers
  int copy_ = 0, group_copies_ = 1;
};

}  // namespace dualtape::machine
