// SPDX-License-Identifier: MIT
// The update rules, each written once as a template over its number type: a double or lanes (buffers in memory), or a
// number that records what is done with it (updates inside a gradient or a program).
//
// A rule is a struct with the name of its entry in rules.def and two parts:
//   prepare(hyper, t, carry)      what is the same for all parameters in iteration t = 1, 2, ...: a Step
//   update(step, p, g, states...) one parameter p, its gradient g, and its states, brought from t - 1 to t
// The text uses + - * /, comparisons, and functions of the table of ops; a choice is a `select`, never a branch, so
// that every parameter takes the same way. `terms` is the part that all rules share: clipping, L1 and L2 terms, and
// weight decay, applied before the rule. Hyper structs are generated from the table. Start reading at `sgdm`.
#pragma once

#include "dualtape/ops/lanes_functions.hpp"

namespace dualtape::optim::DUALTAPE_ISA {

// For numbers; other types bring theirs along.
using ops::power;
using ops::power_complement;
using ops::select;
using ops::sqrt;

// clang-format off
/// For each rule a struct of its hyperparameters, with their defaults.
namespace hyper {
#define RULE(name) template <class S> struct name {
#define HYPER(name, default_value, low, high) S name = S(default_value);
#define END(name) };
#include "dualtape/optim/rules.def"
}  // namespace hyper

/// For each rule a struct of its carried numbers.
namespace carry {
#define RULE(name) template <class S> struct name {
#define CARRY(name) S name = S(0);
#define END(name) };
#include "dualtape/optim/rules.def"
}  // namespace carry
// clang-format on

/// What is done to every gradient and parameter before its rule sees them.
template <class T>
struct Terms {
  T scale;   // of the gradient: the factor of norm clipping; its sign turns ascent into descent
  T limit;   // of the scaled gradient's magnitude
  T l1, l2;  // factors of sign(p) and p, added to the gradient
  T shrink;  // of the parameter: decoupled weight decay

  template <class U>
  DUALTAPE_INLINE void apply(U& p, U& g) const {
    g = minimum(maximum(g * scale, -limit), limit) + l2 * p + l1 * sign(p);
    p = p * shrink;
  }
};

namespace rules {

/// Stochastic gradient descent with MATLAB's momentum: the learning rate is inside the velocity.
struct sgdm {
  template <class S>
  struct Step {
    S rate, momentum;
  };
  template <class S>
  static Step<S> prepare(const hyper::sgdm<S>& h, const S&, carry::sgdm<S>&) {
    return {h.learn_rate, h.momentum};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& vel) {
    vel = s.momentum * vel - s.rate * g;
    p = p + vel;
  }
};

/// Gradient descent.
struct sgd {
  template <class S>
  struct Step {
    S rate;
  };
  template <class S>
  static Step<S> prepare(const hyper::sgd<S>& h, const S&, carry::sgd<S>&) {
    return {h.learn_rate};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g) {
    p = p - s.rate * g;
  }
};

/// PyTorch's momentum: the velocity is an average of gradients, and the learning rate is outside. Iteration 1 knows
/// no dampening. Nesterov's variant looks one step ahead.
struct sgd_momentum {
  template <class S>
  struct Step {
    S rate, momentum, intake, direct, inertia;
  };
  template <class S>
  static Step<S> prepare(const hyper::sgd_momentum<S>& h, const S& t, carry::sgd_momentum<S>&) {
    const auto nesterov = h.nesterov > S(0);
    return {h.learn_rate, h.momentum, select(t <= S(1), S(1), S(1) - h.dampening), select(nesterov, S(1), S(0)),
            select(nesterov, h.momentum, S(1))};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& velocity) {
    velocity = s.momentum * velocity + s.intake * g;
    p = p - s.rate * (s.direct * g + s.inertia * velocity);
  }
};

/// What the family of Adam shares: its two averages and how much of each is filled after t iterations.
struct adam_averages {
  template <class S>
  static S filled(const S& decay, const S& t) {
    return power_complement(decay, t);
  }
  template <class T, class Step>
  DUALTAPE_INLINE static void average(const Step& s, const T& g, T& avg_g, T& avg_sqg) {
    avg_g = avg_g + s.take * (g - avg_g);
    avg_sqg = s.sq_keep * avg_sqg + s.sq_take * g * g;
  }
};

/// Adam (Kingma and Ba 2015, algorithm 1; PyTorch). With epsilon_hat, epsilon is added to the root before the
/// correction of bias (the paper's last remark in section 2; TensorFlow). The root of that correction is taken out of
/// the denominator, into what is the same for all parameters: the rate, and epsilon.
struct adam : adam_averages {
  template <class S>
  struct Step {
    S rate, take, sq_keep, sq_take, epsilon;
  };
  template <class S>
  static Step<S> prepare(const hyper::adam<S>& h, const S& t, carry::adam<S>&) {
    const S root = sqrt(filled(h.sq_grad_decay, t));
    return {h.learn_rate * root / filled(h.grad_decay, t), S(1) - h.grad_decay, h.sq_grad_decay, S(1) - h.sq_grad_decay,
            select(h.epsilon_hat > S(0), h.epsilon, h.epsilon * root)};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_g, T& avg_sqg) {
    average(s, g, avg_g, avg_sqg);
    p = p - s.rate * avg_g / (sqrt(avg_sqg) + s.epsilon);
  }
};

/// AMSGrad as PyTorch has it: the largest average of squares so far, without its correction of bias, which is applied
/// afterwards (Reddi et al. 2018 have no correction at all).
struct amsgrad : adam_averages {
  template <class S>
  struct Step {
    S rate, take, sq_keep, sq_take, unroot, epsilon;
  };
  template <class S>
  static Step<S> prepare(const hyper::amsgrad<S>& h, const S& t, carry::amsgrad<S>&) {
    return {h.learn_rate / filled(h.grad_decay, t),
            S(1) - h.grad_decay,
            h.sq_grad_decay,
            S(1) - h.sq_grad_decay,
            S(1) / sqrt(filled(h.sq_grad_decay, t)),
            h.epsilon};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_g, T& avg_sqg, T& max_sqg) {
    average(s, g, avg_g, avg_sqg);
    max_sqg = maximum(max_sqg, avg_sqg);
    p = p - s.rate * avg_g / (sqrt(max_sqg) * s.unroot + s.epsilon);
  }
};

/// NAdam (Dozat 2016, with its warm-up of the momentum; PyTorch). The product of all momenta so far is carried.
struct nadam : adam_averages {
  template <class S>
  struct Step {
    S take, sq_keep, sq_take, refill, epsilon, direct, inertia;
  };
  template <class S>
  static S momentum(const hyper::nadam<S>& h, const S& t) {
    return h.grad_decay * (S(1) - S(0.5) * power(S(0.96), t * h.momentum_decay));
  }
  template <class S>
  static Step<S> prepare(const hyper::nadam<S>& h, const S& t, carry::nadam<S>& c) {
    const S now = momentum(h, t), next = momentum(h, t + S(1));
    c.momentum_product = select(t <= S(1), now, c.momentum_product * now);
    return {S(1) - h.grad_decay,
            h.sq_grad_decay,
            S(1) - h.sq_grad_decay,
            S(1) / filled(h.sq_grad_decay, t),
            h.epsilon,
            h.learn_rate * (S(1) - now) / (S(1) - c.momentum_product),
            h.learn_rate * next / (S(1) - c.momentum_product * next)};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_g, T& avg_sqg) {
    average(s, g, avg_g, avg_sqg);
    p = p - (s.direct * g + s.inertia * avg_g) / (sqrt(avg_sqg * s.refill) + s.epsilon);
  }
};

/// RAdam (Liu et al. 2020; PyTorch): while the variance of the average of squares cannot be known (rho <= 5), plain
/// momentum; afterwards Adam with a factor that grows to 1.
struct radam : adam_averages {
  template <class S>
  struct Step {
    S rate, take, sq_keep, sq_take, adaptive, plain, epsilon;
  };
  template <class S>
  static Step<S> prepare(const hyper::radam<S>& h, const S& t, carry::radam<S>&) {
    const S filled_sq = filled(h.sq_grad_decay, t);
    const S rho_max = S(2) / (S(1) - h.sq_grad_decay) - S(1);
    const S rho = rho_max - S(2) * t * power(h.sq_grad_decay, t) / filled_sq;
    const auto known = rho > S(5);
    const S safe = select(known, rho, S(6)), safe_max = select(known, rho_max, S(6));
    const S factor = sqrt((safe - S(4)) * (safe - S(2)) * safe_max / ((safe_max - S(4)) * (safe_max - S(2)) * safe));
    const S rate = h.learn_rate / filled(h.grad_decay, t);
    return {select(known, rate * factor * sqrt(filled_sq), rate),
            S(1) - h.grad_decay,
            h.sq_grad_decay,
            S(1) - h.sq_grad_decay,
            select(known, S(1), S(0)),
            select(known, S(0), S(1)),
            h.epsilon};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_g, T& avg_sqg) {
    average(s, g, avg_g, avg_sqg);
    p = p - s.rate * avg_g / (s.adaptive * (sqrt(avg_sqg) + s.epsilon) + s.plain);
  }
};

/// Adamax (Kingma and Ba 2015, section 7.1). As in PyTorch, epsilon is added to the gradient's magnitude.
struct adamax {
  template <class S>
  struct Step {
    S rate, take, max_keep, epsilon;
  };
  template <class S>
  static Step<S> prepare(const hyper::adamax<S>& h, const S& t, carry::adamax<S>&) {
    return {h.learn_rate / adam_averages::filled(h.grad_decay, t), S(1) - h.grad_decay, h.max_decay, h.epsilon};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_g, T& max_g) {
    avg_g = avg_g + s.take * (g - avg_g);
    max_g = maximum(s.max_keep * max_g, absolute(g) + s.epsilon);
    p = p - s.rate * avg_g / max_g;
  }
};

/// RMSprop (Hinton 2012; MATLAB, PyTorch): epsilon is outside the root. Centered (Graves 2013), the root is of the
/// variance; where rounding makes that negative it counts as 0. With momentum, the velocity is of scaled gradients.
struct rmsprop {
  template <class S>
  struct Step {
    S rate, sq_keep, sq_take, epsilon;
  };
  template <class S>
  static Step<S> prepare(const hyper::rmsprop<S>& h, const S&, carry::rmsprop<S>&) {
    return {h.learn_rate, h.sq_grad_decay, S(1) - h.sq_grad_decay, h.epsilon};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_sqg) {
    p = p - s.rate * g / scale(s, g, avg_sqg);
  }
  template <class T, class Step>
  DUALTAPE_INLINE static T scale(const Step& s, const T& g, T& avg_sqg) {
    avg_sqg = s.sq_keep * avg_sqg + s.sq_take * g * g;
    return sqrt(avg_sqg) + s.epsilon;
  }
  template <class T, class Step>
  DUALTAPE_INLINE static T centered_scale(const Step& s, const T& g, T& avg_sqg, T& avg_g) {
    avg_sqg = s.sq_keep * avg_sqg + s.sq_take * g * g;
    avg_g = avg_g + s.sq_take * (g - avg_g);
    return sqrt(maximum(avg_sqg - avg_g * avg_g, T(0))) + s.epsilon;
  }
};

struct rmsprop_momentum {
  template <class S>
  struct Step {
    S rate, sq_keep, sq_take, epsilon, momentum;
  };
  template <class S>
  static Step<S> prepare(const hyper::rmsprop_momentum<S>& h, const S&, carry::rmsprop_momentum<S>&) {
    return {h.learn_rate, h.sq_grad_decay, S(1) - h.sq_grad_decay, h.epsilon, h.momentum};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_sqg, T& velocity) {
    velocity = s.momentum * velocity + g / rmsprop::scale(s, g, avg_sqg);
    p = p - s.rate * velocity;
  }
};

struct rmsprop_centered {
  template <class S>
  struct Step {
    S rate, sq_keep, sq_take, epsilon;
  };
  template <class S>
  static Step<S> prepare(const hyper::rmsprop_centered<S>& h, const S&, carry::rmsprop_centered<S>&) {
    return {h.learn_rate, h.sq_grad_decay, S(1) - h.sq_grad_decay, h.epsilon};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_sqg, T& avg_g) {
    p = p - s.rate * g / rmsprop::centered_scale(s, g, avg_sqg, avg_g);
  }
};

struct rmsprop_centered_momentum {
  template <class S>
  struct Step {
    S rate, sq_keep, sq_take, epsilon, momentum;
  };
  template <class S>
  static Step<S> prepare(const hyper::rmsprop_centered_momentum<S>& h, const S&, carry::rmsprop_centered_momentum<S>&) {
    return {h.learn_rate, h.sq_grad_decay, S(1) - h.sq_grad_decay, h.epsilon, h.momentum};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_sqg, T& avg_g, T& velocity) {
    velocity = s.momentum * velocity + g / rmsprop::centered_scale(s, g, avg_sqg, avg_g);
    p = p - s.rate * velocity;
  }
};

/// Adagrad (Duchi et al. 2011; PyTorch). initial_sum is what the sum holds before iteration 1.
struct adagrad {
  template <class S>
  struct Step {
    S rate, initial, epsilon;
  };
  template <class S>
  static Step<S> prepare(const hyper::adagrad<S>& h, const S& t, carry::adagrad<S>&) {
    return {h.learn_rate / (S(1) + (t - S(1)) * h.learn_rate_decay), select(t <= S(1), h.initial_sum, S(0)), h.epsilon};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& sum_sqg) {
    sum_sqg = (sum_sqg + s.initial) + g * g;
    p = p - s.rate * g / (sqrt(sum_sqg) + s.epsilon);
  }
};

/// Adadelta (Zeiler 2012; PyTorch, whose learning rate is 1 in the paper).
struct adadelta {
  template <class S>
  struct Step {
    S rate, sq_keep, sq_take, epsilon;
  };
  template <class S>
  static Step<S> prepare(const hyper::adadelta<S>& h, const S&, carry::adadelta<S>&) {
    return {h.learn_rate, h.sq_grad_decay, S(1) - h.sq_grad_decay, h.epsilon};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_sqg, T& avg_sqstep) {
    avg_sqg = s.sq_keep * avg_sqg + s.sq_take * g * g;
    const T step = sqrt(avg_sqstep + s.epsilon) / sqrt(avg_sqg + s.epsilon) * g;
    avg_sqstep = s.sq_keep * avg_sqstep + s.sq_take * step * step;
    p = p - s.rate * step;
  }
};

/// Rprop (Riedmiller and Braun 1993) in the variant iRprop- (Igel and Huesken 2000; PyTorch): after a change of sign
/// the step shrinks and the parameter rests for one iteration. The learning rate is the first step.
struct rprop {
  template <class S>
  struct Step {
    S initial, shrink, grow, low, high;
  };
  template <class S>
  static Step<S> prepare(const hyper::rprop<S>& h, const S& t, carry::rprop<S>&) {
    return {select(t <= S(1), h.learn_rate, S(0)), h.shrink_factor, h.grow_factor, h.min_step, h.max_step};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& previous_g, T& step) {
    const T agreement = g * previous_g;
    const auto turned = agreement < T(0);
    const T factor = select(agreement > T(0), s.grow, select(turned, s.shrink, T(1)));
    step = minimum(maximum((step + s.initial) * factor, s.low), s.high);
    previous_g = select(turned, T(0), g);
    p = p - sign(previous_g) * step;
  }
};

/// Lion (Chen et al. 2023): the sign of an average.
struct lion {
  template <class S>
  struct Step {
    S rate, keep, take, avg_keep, avg_take;
  };
  template <class S>
  static Step<S> prepare(const hyper::lion<S>& h, const S&, carry::lion<S>&) {
    return {h.learn_rate, h.grad_decay, S(1) - h.grad_decay, h.average_decay, S(1) - h.average_decay};
  }
  template <class T>
  DUALTAPE_INLINE static void update(const Step<T>& s, T& p, const T& g, T& avg_g) {
    p = p - s.rate * sign(s.keep * avg_g + s.take * g);
    avg_g = s.avg_keep * avg_g + s.avg_take * g;
  }
};

}  // namespace rules
}  // namespace dualtape::optim::DUALTAPE_ISA
