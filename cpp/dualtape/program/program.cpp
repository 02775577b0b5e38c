// SPDX-License-Identifier: MIT
#include "dualtape/program/program.hpp"

#include "dualtape/program/passes.hpp"

namespace dualtape::program {

Program::Program(Graph recorded, bool contraction)
    : recorded_(std::move(recorded)), contraction_(contraction), graph_(optimize(recorded_, contraction)) {}

const Part& Program::part() const {
  std::call_once(lowered_, [this] { part_ = lower(graph_); });
  return part_;
}

std::shared_ptr<const Program> Program::with(const Path& path) const {
  Graph more = recorded_;
  if (!merge(more, path)) return nullptr;
  return std::make_shared<const Program>(std::move(more), contraction_);
}

}  // namespace dualtape::program
