// SPDX-License-Identifier: MIT
// Bodies as x86-64 code, written with Xbyak, in two styles: 512-bit registers with their masks (AVX-512), and 256-bit
// registers, or single numbers, with masks in vectors (AVX2 and FMA). Start reading at Emitter::write; each line of a
// body is written by x86_lines.hpp, its operands are found by x86_values.hpp.
#include "dualtape/machine/kernel.hpp"

#if defined(__x86_64__)
#include <algorithm>
#include <cstddef>
#include <new>

#include "dualtape/machine/x86_lines.hpp"
#include "dualtape/num/isa.hpp"

namespace dualtape::machine {
namespace {

constexpr std::size_t kCacheLine = 64, kFarLines = 1000;
constexpr int kAhead = 4096;  // bytes of code

/// A kernel: the frame, the loops over lanes and iterations, the states, and within them the lines.
class Emitter : public Lines {
 public:
  Emitter(const Body& body, const Style& style, std::size_t most, std::byte* memory)
      : Lines(body, style, most, memory) {
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
  Label pool_label_;
  int most_slots_ = 0;
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
