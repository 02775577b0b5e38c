// SPDX-License-Identifier: MIT
// The file of a program: what comes back is the same to the bit, and what is no such file is refused with a reason,
// however it was damaged.
#include <doctest/doctest.h>

#include <cstring>

#include "dualtape/base/error.hpp"
#include "tests/program_testing.hpp"

using namespace dualtape;
using namespace dualtape::testing;
using ops::Op;

namespace {

/// Decisions, shaped ops with attributes of every kind, constants of two dtypes, results that are views.
std::vector<Var> example(std::span<const Var> x) {
  const Var product = tape::matmul(x[0], Var(array_of<double>({1, -2, 0.5, 3, 1, 1}, {3, 2})));
  const array::Slice slices[] = {{1, -1, 2}, {0, 1, 1}};
  const Var part = tape::slice(product, slices);
  const Array rows = array_of<std::int64_t>({1, 0, 1}, {3});
  const Var taken = tape::take(x[0], 0, rows);
  Var total = op(Op::add, {tape::sum(taken, Dims{0, 1}, false), op(Op::multiply, {x[1], Var(0.1)})});
  if (truth(op(Op::greater, {total, Var(1.0)}))) total = op(Op::negative, {total});
  for (std::int64_t k = 0; k < integer(op(Op::minimum, {op(Op::absolute, {x[1]}), Var(3.0)})); ++k) {
    total = op(Op::sin, {total});
  }
  return {part, op(Op::multiply, {total, total}), tape::logsumexp(tape::cast(x[0], DType::f32), 1, true)};
}

std::vector<Arrays> places() {
  std::vector<Arrays> out;
  for (unsigned k = 0; k < 6; ++k) out.push_back({random(DType::f64, {2, 3}, k + 1), Array(0.7 * k - 1.5)});
  return out;
}

std::uint64_t checksum(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}
constexpr std::size_t kBody = 16 + 4 + 8 + 8;

/// The file with a length and a checksum that fit its body: what a forger would write.
std::string forged(std::string file) {
  const std::uint64_t length = file.size() - kBody, sum = checksum(std::string_view(file).substr(kBody));
  std::memcpy(file.data() + 20, &length, 8);
  std::memcpy(file.data() + 28, &sum, 8);
  return file;
}

/// What loading says; empty where it succeeds. Anything but an error of the package fails the test.
std::string refusal(std::string_view file) {
  try {
    Program::load(file);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

bool says(std::string_view file, const std::string& words) {
  const std::string found = refusal(file);
  CAPTURE(found);
  CHECK(found.starts_with("Program.load: "));
  return found.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("program file: what is loaded gives the same text, bytes and bits") {
  for (bool contraction : {false, true}) {
    const auto program = program_of(example, places(), contraction);
    const auto loaded = Program::load(program->save());
    CHECK(loaded->contraction() == contraction);
    CHECK(loaded->text() == program->text());
    CHECK(loaded->dot() == program->dot());
    CHECK(loaded->save() == program->save());
    CHECK(text_of(loaded->recorded()) == text_of(program->recorded()));
    for (const Arrays& at : places()) {
      CHECK(same_values(compute(loaded->graph(), at), compute(program->graph(), at)));
    }
    // A path joins a loaded program as it would the other.
    const Path more = trace_path(example, {places()[0][0], Array(-3.5)});
    const auto grown = loaded->with(more);
    REQUIRE(grown);
    CHECK(grown->text() == program->with(more)->text());
    CHECK_FALSE(grown->with(more));
  }
}

TEST_CASE("program file: numbers of every kind come back to the bit") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), huge = std::numeric_limits<double>::infinity();
  for (double number : {0.0, -0.0, 0.1, 5e-324, -1e308, huge, -huge, nan}) {
    Build build;
    build.input();
    build.results({build.constant(Array(number)), build.constant(Array::full(DType::f32, Dims{2, 1}, number))});
    const Program program(build.graph(), true);
    const auto loaded = Program::load(program.save());
    for (std::size_t k = 0; k < 2; ++k)
      CHECK(program::identical(loaded->recorded().constants[k], build.graph().constants[k]));
  }
}

TEST_CASE("program file: what is cut off, altered or foreign is refused with its reason") {
  const std::string file = program_of(example, places(), true)->save();
  CHECK(says("", "no file of a program"));
  CHECK(says("PK\x03\x04 something else that is long enough to be a header", "no file of a program"));
  for (std::size_t length = 0; length < file.size(); length += length < 200 ? 1 : 17) {
    CHECK(says(std::string_view(file).substr(0, length), length < kBody ? "no file" : "cut off"));
  }
  CHECK(says(file + "x", "cut off, or has something behind its end"));
  std::string other = file;
  other[16] = 2;
  CHECK(says(other, "version 2, this dualtape reads version 1"));
  for (std::size_t at = kBody; at < file.size(); at += 5) {
    other = file;
    other[at] = static_cast<char>(other[at] ^ 0x20);
    CHECK(says(other, "its checksum is wrong"));
  }
  // An op of a later version.
  other = file;
  const std::size_t name = other.find("logsumexp");
  REQUIRE(name != std::string::npos);
  other.replace(name, 9, "logsumexq");
  CHECK(says(forged(other), "the file uses an op that this version does not have, logsumexq"));
}

TEST_CASE("program file: a forged file is refused or means something, and never breaks the reader") {
  const std::string file = program_of(example, places(), true)->save();
  std::size_t accepted = 0, refused = 0;
  for (std::size_t at = kBody; at < file.size(); ++at) {
    for (const int value : {0, 1, 0x7f, 0xff, static_cast<unsigned char>(file[at]) + 1}) {
      std::string other = file;
      other[at] = static_cast<char>(value);
      if (other == file) continue;
      CAPTURE(at);
      CAPTURE(value);
      std::shared_ptr<const Program> loaded;
      try {
        loaded = Program::load(forged(other));
      } catch (const Error& error) {
        ++refused;
        CHECK(std::string(error.what()).size() > 10);
        continue;
      }
      ++accepted;
      // It is a program, so it prints, saves and compiles like one.
      CHECK_FALSE(loaded->text().empty());
      CHECK(Program::load(loaded->save())->text() == loaded->text());
      CHECK(loaded->part().code);
    }
  }
  CHECK(accepted > 100);  // names, lines, constants
  CHECK(refused > 1000);
}

TEST_CASE("program file: a forged file that is cut off or doubled in the middle") {
  const std::string file = program_of(example, places(), true)->save();
  for (std::size_t at = kBody; at < file.size(); at += 3) {
    CHECK_FALSE(refusal(forged(file.substr(0, at))).empty());
    std::string other = file;
    other.insert(at, file.substr(at, 4));
    refusal(forged(other));  // (a doubled letter of a name may stay a file)
    other = file;
    other.erase(at, 1);
    refusal(forged(other));
  }
}
