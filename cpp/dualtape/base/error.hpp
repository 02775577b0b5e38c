// SPDX-License-Identifier: MIT
// The exception types of the core. Each has a namesake in Python; the bindings translate them once
// (cpp/bindings/errors.cpp). A message reads `op(shapes): what is wrong; what was given; what would work.`
#pragma once

#include <stdexcept>
#include <string>

namespace dualtape {

/// Base of every error that dualtape raises on purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Shapes that do not fit each other or the operation. Python: ValueError.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// Data of a kind that cannot be differentiated or computed with. Python: TypeError.
class DTypeError : public Error {
 public:
  using Error::Error;
};

/// A value that leaves the graph where it may not. Python: TypeError.
class TraceError : public Error {
 public:
  using Error::Error;
};

/// A tape used after its end, or from elsewhere. Python: RuntimeError.
class TapeError : public Error {
 public:
  using Error::Error;
};

/// A derivative that cannot be taken. Python: ValueError.
class GradientError : public Error {
 public:
  using Error::Error;
};

/// A value that must be finite and is not. Python: ArithmeticError.
class NumericError : public Error {
 public:
  using Error::Error;
};

}  // namespace dualtape
