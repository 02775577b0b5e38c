// SPDX-License-Identifier: MIT
// Instructions of x86-64 in the forms that a kernel may need: packed or scalar, double or float, with the registers
// and masks of AVX-512 or with those of AVX2 and FMA. And the pool of constants that they read.
#pragma once

#include <xbyak/xbyak.h>

#include <bit>
#include <vector>

#include "dualtape/machine/body.hpp"

namespace dualtape::machine {

using Xbyak::Address;
using Xbyak::Label;
using Xbyak::Operand;
using Xbyak::Xmm;

/// How a kernel is laid out.
struct Style {
  bool masks;        // AVX-512
  bool scalar;       // one lane
  int copies = 1;    // vectors worked on in turn within an iteration
  bool kept = true;  // states stay in registers
};

inline constexpr std::uint64_t kSign = 0x8000000000000000u, kRest = ~kSign;

class Instructions : public Xbyak::CodeGenerator {
 protected:
  Instructions(const Body& body, const Style& style, std::size_t most, std::byte* memory)
      : CodeGenerator(most, memory), body_(body), style_(style) {}

  int item() const { return static_cast<int>(body_.item()); }
  int vector_bytes() const { return style_.scalar ? item() : style_.masks ? 64 : 32; }
  int pool_step() const { return style_.scalar ? 16 : style_.masks ? item() : 32; }

  // Registers. Two vector registers and two masks are never given to values.
  Xmm vector(int i) const {
    if (style_.scalar) return Xmm(i);
    if (style_.masks) return Xbyak::Zmm(i);
    return Xbyak::Ymm(i);
  }
  int register_count() const { return style_.masks ? 32 : 16; }
  int scratch(int i) const { return register_count() - 1 - i; }

  // Constants
  Address pooled(std::uint64_t bits) { return spread(place_in_pool(bits), true); }
  /// The same for bitwise instructions, which read whole registers.
  Address pooled_bits(std::uint64_t bits) {
    const Xbyak::RegExp where = place_in_pool(pattern(bits));
    return style_.masks ? ptr_b[where] : ptr[where];
  }
  Xbyak::RegExp place_in_pool(std::uint64_t bits) {
    std::size_t i = 0;
    while (i < pool_.size() && pool_[i] != bits) ++i;
    if (i == pool_.size()) pool_.push_back(bits);
    return rcx + static_cast<int>(i) * pool_step();
  }
  std::uint64_t bits_of(double value) const {
    return body_.single ? std::bit_cast<std::uint32_t>(static_cast<float>(value)) : std::bit_cast<std::uint64_t>(value);
  }
  std::uint64_t pattern(std::uint64_t bits) const { return body_.single ? bits >> 32 : bits; }
  /// A number that is the same for all lanes; `whole`: a whole vector of it lies there.
  Address spread(const Xbyak::RegExp& where, bool whole) const {
    if (style_.masks) return ptr_b[where];
    return whole && !style_.scalar ? ptr[where] : (body_.single ? dword[where] : qword[where]);
  }

  // Instructions in all forms: pd, ps, sd, ss.
#define DUALTAPE_FORMS(name)                                      \
  void name(const Xmm& d, const Operand& a, const Operand& b) {   \
    if (style_.scalar) {                                          \
      body_.single ? v##name##ss(d, a, b) : v##name##sd(d, a, b); \
    } else {                                                      \
      body_.single ? v##name##ps(d, a, b) : v##name##pd(d, a, b); \
    }                                                             \
  }
  DUALTAPE_FORMS(add)
  DUALTAPE_FORMS(sub)
  DUALTAPE_FORMS(mul)
  DUALTAPE_FORMS(div)
  DUALTAPE_FORMS(min)
  DUALTAPE_FORMS(max)
#undef DUALTAPE_FORMS
  using CodeGenerator::add;
  using CodeGenerator::div;
  using CodeGenerator::mul;
  using CodeGenerator::sub;

  /// d = +-(a * b) +- d, or d = +-(d * a) +- b: order 231 or 213.
  void fused(std::uint32_t signs, bool order_231, const Xmm& d, const Xmm& a, const Operand& b) {
#define DUALTAPE_FORMS(name, order)                                           \
  if (style_.scalar) {                                                        \
    body_.single ? v##name##order##ss(d, a, b) : v##name##order##sd(d, a, b); \
  } else {                                                                    \
    body_.single ? v##name##order##ps(d, a, b) : v##name##order##pd(d, a, b); \
  }                                                                           \
  return;
#define DUALTAPE_ORDERS(name) \
  if (order_231) {            \
    DUALTAPE_FORMS(name, 231) \
  } else {                    \
    DUALTAPE_FORMS(name, 213) \
  }
    switch (signs) {
      case 0:
        DUALTAPE_ORDERS(fmadd)
      case kNegateAddend:
        DUALTAPE_ORDERS(fmsub)
      case kNegateProduct:
        DUALTAPE_ORDERS(fnmadd)
      default:
        DUALTAPE_ORDERS(fnmsub)
    }
#undef DUALTAPE_ORDERS
#undef DUALTAPE_FORMS
  }
  /// From memory as `memory` gives it.
  void load(const Xmm& d, const Address& from) {
    if (style_.scalar) return body_.single ? vmovss(d, from) : vmovsd(d, from);
    if (!from.isBroadcast() && from.getBit() != body_.item() * 8) return vmovups(d, from);
    const Address number = body_.single ? dword[from.getRegExp()] : qword[from.getRegExp()];
    if (body_.single) return vbroadcastss(d, number);
    style_.masks ? vbroadcastsd(Xbyak::Zmm(d.getIdx()), number) : vbroadcastsd(Xbyak::Ymm(d.getIdx()), number);
  }
  void store(const Address& to, const Xmm& x) {
    if (style_.scalar) return body_.single ? vmovss(to, x) : vmovsd(to, x);
    vmovups(to, x);
  }
  void move(const Xmm& d, const Xmm& x) {
    if (d.getIdx() != x.getIdx()) vmovaps(d, x);
  }
  void bitwise_and(const Xmm& d, const Xmm& a, const Operand& b) {
    if (!style_.masks) return vandps(d, a, b);
    body_.single ? vpandd(d, a, b) : vpandq(d, a, b);
  }
  void bitwise_or(const Xmm& d, const Xmm& a, const Operand& b) {
    if (!style_.masks) return vorps(d, a, b);
    body_.single ? vpord(d, a, b) : vporq(d, a, b);
  }
  void bitwise_xor(const Xmm& d, const Xmm& a, const Operand& b) {
    if (!style_.masks) return vxorps(d, a, b);
    body_.single ? vpxord(d, a, b) : vpxorq(d, a, b);
  }
  static std::uint8_t predicate(Comparison how) {
    constexpr std::uint8_t kPredicates[] = {0x00, 0x04, 0x11, 0x12, 0x1E, 0x1D};  // quiet, as C's are about values
    return kPredicates[static_cast<int>(how)];
  }
  void compare(int d, const Xmm& a, const Operand& b, std::uint8_t how) {
    if (style_.masks) {
      const Xbyak::Opmask k(d);
      return body_.single ? vcmpps(k, a, b, how) : vcmppd(k, a, b, how);
    }
    const Xmm x = vector(d);
    if (style_.scalar) return body_.single ? vcmpss(x, a, b, how) : vcmpsd(x, a, b, how);
    body_.single ? vcmpps(x, a, b, how) : vcmppd(x, a, b, how);
  }

  const Body& body_;
  Style style_;
  std::vector<std::uint64_t> pool_;  // behind the code; rcx points to it
};

}  // namespace dualtape::machine
