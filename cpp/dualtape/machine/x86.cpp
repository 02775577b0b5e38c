// SPDX-License-Identifier: MIT
// Bodies as x86-64 code, written with Xbyak, in two styles: 512-bit registers with their masks (AVX-512), and 256-bit
// registers, or single numbers, with masks in vectors (AVX2 and FMA). Start reading at Emitter::write.
#include "dualtape/machine/kernel.hpp"

#if defined(__x86_64__)
#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <new>
#include <optional>

#include "dualtape/machine/allocation.hpp"
#include "dualtape/machine/x86_instructions.hpp"
#include "dualtape/num/isa.hpp"

namespace dualtape::machine {
namespace {

constexpr std::size_t kCacheLine = 64, kFarLines = 1000;
constexpr int kAhead = 4096;                              // bytes of code
constexpr std::uint8_t kEqual = 0x00, kUnordered = 0x03;  // comparisons

class Emitter : public Instructions {
 public:
  Emitter(const Body& body, const Style& style, std::size_t most, std::byte* memory)
      : Instructions(body, style, most, memory) {
    needed_.assign(body.lines.size(), false);
    const auto need = [&](LineId id) {
      if (id != kNoLine) needed_[at(id)] = true;
    };
    for (const State& state : body.states) need(state.line);
    for (const Output& output : body.outputs) need(output.line);
    for (const Output& record : body.records) need(record.line);
    need(body.until);
    for (std::size_t i = body.lines.size(); i-- > 0;) {
      if (body.lines[i].kind == Kind::guard) {
        // Needed, with its join, where something between them is.
        const auto begin = needed_.begin() + static_cast<std::ptrdiff_t>(i);
        const auto end = needed_.begin() + static_cast<std::ptrdiff_t>(body.lines[i].immediate);
        needed_[i] = *end = std::find(begin, end, true) != end;
      }
      if (!needed_[i]) continue;
      for (LineId id : body.lines[i].operands) need(id);
    }
    state_lines_.assign(body.states.size(), kNoLine);
    for (std::size_t i = 0; i < body.lines.size(); ++i) {
      if (body.lines[i].kind != Kind::input) continue;
      for (std::size_t s = 0; s < body.states.size(); ++s) {
        if (body.states[s].input == body.lines[i].immediate) state_lines_[s] = static_cast<LineId>(i);
      }
    }
  }

  /// Places of the frame that hold values for which there was no register.
  int spills() const { return most_slots_; }

  /// False where the layout does not serve the body.
  bool write() {
    if (!style_.kept && exchanges_states()) return false;
    is_straight() ? write_straight() : write_loops();
    for (const auto& cold : cold_) cold();
    write_pool();
    return true;
  }

 private:
  /// The size of the frame is known at the end: the instruction before has room for it.
  void set_frame(std::size_t end_of_instruction) {
    const int bytes = ((most_slots_ + 1) * vector_bytes() + 63) / 64 * 64;
    rewrite(end_of_instruction - 4, static_cast<std::uint64_t>(bytes), 4);
  }

  /// One iteration of one lane, of nothing but inputs and outputs.
  bool is_straight() const {
    return style_.scalar && !body_.rows && body_.states.empty() && body_.records.empty() && body_.until == kNoLine &&
           !body_.own_iterations && !has_tables();
  }
  void write_straight() {
    sub(rsp, 0x01000000);
    const std::size_t begin = getSize();
    mov(rsi, ptr[rdi + offsetof(Call, lanes)]);
    mov(rdx, ptr[rdi + offsetof(Call, shared)]);
    lea(rcx, ptr[rip + pool_label_]);
    xor_(eax, eax);
    copy(1);
    Instructions::add(rsp, 0x01000000);
    const std::size_t end = getSize();
    ret();
    set_frame(begin);
    set_frame(end);
  }

  void write_loops() {
    push(rbp);
    mov(rbp, rsp);
    push(rbx);
    push(r12);
    and_(rsp, -64);
    sub(rsp, 0x01000000);
    const std::size_t frame_at = getSize();
    mov(rsi, ptr[rdi + offsetof(Call, lanes)]);
    mov(rdx, ptr[rdi + (body_.rows ? offsetof(Call, places) : offsetof(Call, shared))]);
    lea(rcx, ptr[rip + pool_label_]);
    mov(r8, ptr[rdi + offsetof(Call, bytes)]);
    Label row;
    if (body_.rows) {
      mov(rbx, ptr[rdi + offsetof(Call, rows)]);
      mov(r9, ptr[rdi + offsetof(Call, iterations)]);
      L(row);
    }
    mov(rax, ptr[rdi + offsetof(Call, first)]);
    for (int copies = style_.copies; copies > 0; copies /= 2) {
      Label again, next;
      L(again);
      lea(r11, ptr[rax + copies * vector_bytes()]);
      cmp(r11, r8);
      ja(next, T_NEAR);
      group(copies);
      add(rax, copies * vector_bytes());
      jmp(again, T_NEAR);
      L(next);
    }
    if (body_.rows) {
      add(rsi, ptr[rdi + offsetof(Call, row_step)]);
      add(rbx, 8 * row_places());
      dec(r9);
      jnz(row, T_NEAR);
    }
    if (!style_.scalar) vzeroupper();
    lea(rsp, ptr[rbp - 16]);
    pop(r12);
    pop(rbx);
    pop(rbp);
    ret();
    set_frame(frame_at);
  }

  void write_pool() {
    align(64);
    L(pool_label_);
    const int spread = style_.masks || style_.scalar ? 1 : 32 / item();
    for (std::uint64_t bits : pool_) {
      for (int i = 0; i < spread; ++i) {
        for (int byte = 0; byte < item(); ++byte) db(static_cast<int>(bits >> 8 * byte & 0xFF));
      }
      if (style_.scalar) {
        for (int byte = item(); byte < pool_step(); ++byte) db(0);  // bitwise instructions read a whole register
      }
    }
  }

  static std::size_t at(LineId id) { return static_cast<std::size_t>(id); }

  // Values
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

  /// All iterations for `copies` vectors.
  void group(int copies) {
    group_copies_ = copies;
    if (body_.rows) {
      for (copy_ = 0; copy_ < copies; ++copy_) copy(copies);
      return;
    }
    const bool counts = !body_.records.empty() || body_.own_iterations || has_tables();
    const auto each_state = [&](auto&& body) {
      for (copy_ = 0; copy_ < copies; ++copy_) {
        for (std::size_t s = 0; s < body_.states.size(); ++s) {
          body(vector(state_register(s, copy_)), lanes_at(body_.inputs[body_.states[s].input].offset));
        }
      }
    };
    mov(r9, ptr[rdi + offsetof(Call, iterations)]);
    if (counts) xor_(r10d, r10d);
    if (!body_.records.empty()) mov(r12, ptr[rdi + offsetof(Call, records)]);
    if (style_.kept) each_state([&](const Xmm& reg, const Address& place) { load(reg, place); });
    Label again, out;
    align(32);
    L(again);
    if (body_.until != kNoLine) mov(dword[rsp], 0);
    for (copy_ = 0; copy_ < copies; ++copy_) copy(copies);
    if (counts) add(r10, item());
    if (!body_.records.empty()) add(r12, ptr[rdi + offsetof(Call, record_step)]);
    dec(r9);
    if (body_.until != kNoLine) {
      jz(out, T_NEAR);
      cmp(dword[rsp], 0);
      jz(again, T_NEAR);
      L(out);
      mov(r11, ptr[rdi + offsetof(Call, iterations)]);
      sub(r11, r9);
      mov(rbx, ptr[rdi + offsetof(Call, done)]);
      for (int i = 0; i < copies; ++i) mov(dword[rbx + rax + i * vector_bytes()], r11d);
    } else {
      jnz(again, T_NEAR);
    }
    if (style_.kept) each_state([&](const Xmm& reg, const Address& place) { store(place, reg); });
  }

  bool has_tables() const {
    for (const Input& input : body_.inputs) {
      if (input.from == Input::From::table) return true;
    }
    return false;
  }

  /// One iteration of one vector.
  void copy(int copies) {
    std::vector<int> registers, masks;
    const int kept = style_.kept ? static_cast<int>(body_.states.size()) * copies : 0;
    for (int i = kept; i < register_count() - 2; ++i) registers.push_back(i);
    if (style_.kept) {
      for (std::size_t s = 0; s < body_.states.size(); ++s) registers.push_back(state_register(s, copy_));
    }
    if (style_.masks) masks = {3, 4, 5, 6, 7};
    where_.emplace(body_, needed_, registers, masks);
    for (const State& state : body_.states) where_->use_at_end(state.line);
    for (const Output& output : body_.outputs) where_->use_at_end(output.line);
    for (const Output& record : body_.records) where_->use_at_end(record.line);
    if (body_.until != kNoLine) where_->use_at_end(body_.until);
    if (style_.kept) {
      for (std::size_t s = 0; s < body_.states.size(); ++s) {
        if (state_lines_[s] == kNoLine || !needed_[at(state_lines_[s])]) continue;
        where_->keep(state_lines_[s], state_register(s, copy_));
      }
    }
    // Code that is longer than a cache comes from far away, and no processor fetches it ahead of time by itself.
    const bool far = body_.lines.size() > kFarLines;
    for (LineId i = 0; i < static_cast<LineId>(body_.lines.size()); ++i) {
      if (!needed_[at(i)]) continue;
      emit(i);
      if (far && getSize() >= fetched_ + kCacheLine) fetched_ = getSize(), prefetcht1(ptr[rip + kAhead]);
    }
    finish();
    most_slots_ = std::max(most_slots_, where_->slots());
  }

  void finish() {
    const auto end = static_cast<LineId>(body_.lines.size());
    if (body_.until != kNoLine) {
      busy_.clear();
      mov(r11, ptr[rdi + offsetof(Call, active)]);
      if (style_.masks) {
        kmovw(ebx, mask_register(body_.until, end));
      } else {
        const Xmm x = in_register(body_.until, end);
        body_.single ? vmovmskps(ebx, x) : vmovmskpd(ebx, x);
      }
      and_(ebx, dword[r11 + rax + copy_ * vector_bytes()]);
      or_(dword[rsp], ebx);
    }
    for (const Output& output : body_.outputs) {
      busy_.clear();
      store(lanes_at(output.offset), in_register(output.line, end));
    }
    for (const Output& record : body_.records) {
      busy_.clear();
      const Xbyak::RegExp place = r12 + rax + static_cast<int>(record.offset + copy_ * vector_bytes());
      store(style_.scalar ? (body_.single ? dword[place] : qword[place]) : ptr[place], in_register(record.line, end));
    }
    style_.kept ? finish_in_registers() : finish_in_memory(end);
  }

  /// Whether a state becomes what another one, or another input, was: in memory that might be overwritten by then.
  bool exchanges_states() const {
    return std::any_of(body_.states.begin(), body_.states.end(), [&](const State& state) {
      return line(state.line).kind == Kind::input && line(state.line).immediate != state.input;
    });
  }
  void finish_in_memory(LineId end) {
    for (const State& state : body_.states) {
      if (line(state.line).kind == Kind::input) continue;
      busy_.clear();
      store(lanes_at(body_.inputs[state.input].offset), in_register(state.line, end));
    }
  }

  void finish_in_registers() {
    // Moves between registers at the same time: one whose target nobody reads goes first; a circle is cut.
    std::vector<std::pair<int, int>> moves;  // (to, from)
    std::vector<std::pair<int, LineId>> loads;
    for (std::size_t s = 0; s < body_.states.size(); ++s) {
      const int to = state_register(s, copy_);
      const LineId value = body_.states[s].line;
      const int from = where_->reg(value);
      if (from == Allocation::kNone) {
        loads.emplace_back(to, value);
      } else if (from != to) {
        moves.emplace_back(to, from);
      }
    }
    while (!moves.empty()) {
      bool moved = false;
      for (std::size_t i = 0; i < moves.size() && !moved; ++i) {
        const auto [to, from] = moves[i];
        const bool read =
            std::any_of(moves.begin(), moves.end(), [&, to = to](const auto& other) { return other.second == to; });
        if (read) continue;
        move(vector(to), vector(from));
        moves.erase(moves.begin() + static_cast<std::ptrdiff_t>(i));
        moved = true;
      }
      if (moved) continue;
      const int from = moves[0].second;
      move(vector(scratch(0)), vector(from));
      for (auto& other : moves) {
        if (other.second == from) other.second = scratch(0);
      }
    }
    for (const auto& [to, value] : loads) load(vector(to), value);
  }

  std::vector<bool> needed_;
  std::vector<LineId> state_lines_;
  std::optional<Allocation> where_;
  std::vector<LineId> busy_;
  std::vector<LineId> guards_;  // that are open
  std::map<LineId, std::shared_ptr<Label>> joins_;
  std::vector<std::function<void()>> cold_;
  Label pool_label_;
  int copy_ = 0, group_copies_ = 1, most_slots_ = 0;
  std::size_t fetched_ = 0;  // how far the code has been fetched ahead
};

/// Layouts of a kernel, the best first. Several vectors in turn, since one waits for its own results (long bodies keep
/// the processor busy by themselves); with the states in registers, if that leaves enough of them.
std::vector<Style> styles_for(const Body& body, bool masks, bool scalar) {
  constexpr int kFree = 7;  // registers for what lives within an iteration
  const int registers = (masks ? 32 : 16) - 2;
  const auto states = static_cast<int>(body.states.size());
  const std::size_t lines = body.lines.size();
  std::vector<Style> out;
  if (!scalar && !body.rows && lines <= 160) {
    const int most = lines <= 24 ? 8 : lines <= 80 ? 4 : 2;
    for (int copies = most; copies > 1; copies /= 2) {
      if (states * copies < registers) out.push_back({masks, false, copies, true});
    }
    if (states > 0) out.push_back({masks, false, most, false});
  }
  out.push_back({masks, scalar, 1, states + kFree <= registers});
  return out;
}

}  // namespace

int vector_width(bool single) {
  switch (num::current_isa()) {
    case num::Isa::avx512:
      return single ? 16 : 8;
    case num::Isa::avx2:
      return single ? 8 : 4;
    default:
      return 0;
  }
}

std::vector<std::byte> emit(const Body& body, bool scalar) {
  const std::size_t most = 4096 + body.lines.size() * 5 * 160;
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t{64}); }
  };
  const std::unique_ptr<std::byte[], Free> memory(new (std::align_val_t{64}) std::byte[most]);
  try {
    for (const Style& style : styles_for(body, num::current_isa() == num::Isa::avx512 && !scalar, scalar)) {
      Emitter emitter(body, style, most, memory.get());
      if (!emitter.write() || (style.kept && style.copies > 1 && emitter.spills() > 0)) continue;
      return {memory.get(), memory.get() + emitter.getSize()};
    }
  } catch (const Xbyak::Error&) {
    return {};
  } catch (const TapeError&) {
    return {};
  }
  return {};
}

}  // namespace dualtape::machine

#else

namespace dualtape::machine {

int vector_width(bool) { return 0; }
std::vector<std::byte> emit(const Body&, bool) { return {}; }

}  // namespace dualtape::machine

#endif
