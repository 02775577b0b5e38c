// SPDX-License-Identifier: MIT
// Registers for the values of a body. The lines stand in a row and every use is known, so the choice is easy: a value
// takes a register that is free, and where none is, the value whose next use is furthest away gives its up; it goes to
// memory, unless it is in memory anyway (inputs and constants).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dualtape/base/error.hpp"
#include "dualtape/machine/body.hpp"

namespace dualtape::machine {

/// Where values are during one copy of a body.
class Allocation {
 public:
  static constexpr int kNone = -1;

  /// `registers`: those that may be used, the preferred ones first; `masks` likewise, for masks; empty where masks are
  /// in the same registers.
  Allocation(const Body& body, const std::vector<bool>& needed, std::vector<int> registers, std::vector<int> masks)
      : body_(body), registers_(std::move(registers)), masks_(std::move(masks)) {
    const std::size_t n = body.lines.size();
    reg_.assign(n, kNone);
    slot_.assign(n, kNone);
    uses_.resize(n);
    resident_.assign(n, false);
    owner_.assign(64, kNoLine);
    mask_owner_.assign(16, kNoLine);
    for (std::size_t i = 0; i < n; ++i) {
      if (!needed[i]) continue;
      for (LineId id : body.lines[i].operands) {
        if (id != kNoLine) uses_[static_cast<std::size_t>(id)].push_back(static_cast<LineId>(i));
      }
    }
  }

  /// One more use of a value, behind all lines.
  void use_at_end(LineId id) { uses_[index(id)].push_back(static_cast<LineId>(body_.lines.size())); }

  int reg(LineId id) const { return reg_[index(id)]; }
  int slot(LineId id) const { return slot_[index(id)]; }
  int slots() const { return slot_count_; }
  /// Uses at line `at` or later.
  int uses_from(LineId id, LineId at) const {
    const std::vector<LineId>& uses = uses_[index(id)];
    return static_cast<int>(uses.end() - std::lower_bound(uses.begin(), uses.end(), at));
  }
  bool dies_at(LineId id, LineId at) const { return uses_from(id, at + 1) == 0; }
  bool in_memory(LineId id) const {
    const Kind kind = body_.lines[index(id)].kind;
    return slot(id) != kNone || ((kind == Kind::input || kind == Kind::constant) && !resident_[index(id)]);
  }
  /// An input that is kept in a register from iteration to iteration: what is in memory is old.
  void keep(LineId id, int reg) {
    resident_[index(id)] = true;
    take(id, reg);
  }

  /// The value has this register from now on.
  void take(LineId id, int reg) {
    std::vector<LineId>& owner = owners(id);
    owner[static_cast<std::size_t>(reg)] = id;
    reg_[index(id)] = reg;
  }
  void drop(LineId id) {
    if (reg(id) == kNone) return;
    owners(id)[static_cast<std::size_t>(reg(id))] = kNoLine;
    reg_[index(id)] = kNone;
  }
  /// For the result of line `at`: the register of a value that is not used behind it is free. (Its slot is not: the
  /// instruction may read it there, after something else was spilled.)
  void end_register(LineId id, LineId at) {
    if (dies_at(id, at)) drop(id);
  }
  /// After line `at`: a value that is not used any more has neither register nor slot.
  void end_use(LineId id, LineId at) {
    if (!dies_at(id, at)) return;
    drop(id);
    if (slot(id) != kNone) {
      free_slots_.push_back(slot(id));
      slot_[index(id)] = kNone;
    }
  }

  /// Before lines that may be left out: every value that is in a register is in memory as well, and only there.
  template <class Spill>
  void put_away(Spill&& spill) {
    for (std::vector<LineId>* owner : {&owner_, &mask_owner_}) {
      for (std::size_t reg = 0; reg < owner->size(); ++reg) {
        const LineId id = (*owner)[reg];
        if (id == kNoLine) continue;
        if (!in_memory(id)) to_slot(id, spill);
        drop(id);
      }
    }
  }
  /// Behind them: values from before line `guard`, and what is in memory anyway, are in memory, whether the lines
  /// have been run or not.
  void join(LineId guard) {
    for (std::vector<LineId>* owner : {&owner_, &mask_owner_}) {
      for (LineId id : std::vector<LineId>(*owner)) {
        if (id != kNoLine && (id < guard || in_memory(id))) drop(id);
      }
    }
  }

  /// A register for value `id` at line `at`, `wanted` if that is free. `busy` are values that must keep theirs.
  /// `spill(value, register, slot)` is called for a value that has to be written to a slot.
  template <class Spill>
  int find(LineId id, LineId at, int wanted, const std::vector<LineId>& busy, Spill&& spill) {
    const bool mask = is_separate_mask(id);
    const std::vector<int>& pool = mask ? masks_ : registers_;
    std::vector<LineId>& owner = owners(id);
    const auto free = [&](int reg) { return owner[static_cast<std::size_t>(reg)] == kNoLine; };
    if (wanted != kNone && std::find(pool.begin(), pool.end(), wanted) != pool.end() && free(wanted)) return wanted;
    for (int reg : pool) {
      if (free(reg)) return reg;
    }
    LineId victim = kNoLine, furthest = -1;
    for (int reg : pool) {
      const LineId candidate = owner[static_cast<std::size_t>(reg)];
      if (std::find(busy.begin(), busy.end(), candidate) != busy.end()) continue;
      const std::vector<LineId>& uses = uses_[index(candidate)];
      const auto next = std::lower_bound(uses.begin(), uses.end(), at);
      LineId when = next == uses.end() ? static_cast<LineId>(body_.lines.size()) : *next;
      when = 2 * when + in_memory(candidate);  // of two, the one that costs no store
      if (when > furthest) furthest = when, victim = candidate;
    }
    if (victim == kNoLine) throw TapeError("machine code: too few registers.");
    const int reg = reg_[index(victim)];
    if (!in_memory(victim)) to_slot(victim, spill);
    drop(victim);
    return reg;
  }

 private:
  template <class Spill>
  void to_slot(LineId id, Spill&& spill) {
    if (free_slots_.empty()) {
      slot_[index(id)] = slot_count_++;
    } else {
      slot_[index(id)] = free_slots_.back();
      free_slots_.pop_back();
    }
    spill(id, reg(id), slot(id));
  }
  static std::size_t index(LineId id) { return static_cast<std::size_t>(id); }
  bool is_separate_mask(LineId id) const { return !masks_.empty() && body_.lines[index(id)].is_mask(); }
  std::vector<LineId>& owners(LineId id) { return is_separate_mask(id) ? mask_owner_ : owner_; }

  const Body& body_;
  std::vector<int> registers_, masks_;
  std::vector<int> reg_, slot_;
  std::vector<bool> resident_;
  std::vector<std::vector<LineId>> uses_;
  std::vector<LineId> owner_, mask_owner_;
  std::vector<int> free_slots_;
  int slot_count_ = 0;
};

}  // namespace dualtape::machine
