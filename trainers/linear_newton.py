"""Multinomial logistic regression with a ridge penalty, for a whole path of penalties, by Newton's method.

The rows stand in axes along which their second moments are diagonal (see `linear_spaces`), so that the Hessian, their
sum with weights, is nearly diagonal too: conjugate gradients scaled by its diagonal find a Newton step in few rounds,
and no Hessian is ever formed. Each penalty starts from the solution of the next larger one.

n is rows, r axes, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..store.errors import BadInput

Floats = npt.NDArray[np.float64]
STEPS, ROUNDS = 100, 500  # Newton steps per penalty, conjugate gradients per step: far more than are ever needed
HALVINGS = 50
TOLERANCE = 1e-7  # moves probabilities by far less than float32 tells
BLOCK = 4096  # rows whose squares are in memory at once
SLOPE = 1e-4  # share of the promised decrease that a step must bring (Armijo)


def logistic_path(
    rows: Floats,
    energy: Floats,
    labels: npt.NDArray[np.int64],
    classes: int,
    penalties: Sequence[float],
    tolerance: float = TOLERANCE,
) -> list[tuple[Floats, Floats]]:
    """Minimise sum of cross-entropies + penalty / 2 * sum of squared coefficients; intercepts are not penalised.

    Args:
        rows: (n, r), with mean 0.
        energy: sum of squares along each axis, (r,).
        labels: class ids (n,); each of the classes occurs.
        classes: C >= 2.
        penalties: above 0, falling.
        tolerance: largest entry of the gradient, as a share of the largest at zero.

    Returns:
        Coefficients (r, C) and intercepts (C,) for each penalty; both add up to 0 over the classes.

    Raises:
        BadInput: if a penalty is so small that no minimum is found.
    """
    target = np.zeros((len(rows), classes))
    target[np.arange(len(rows)), labels] = 1.0
    shares = np.log(target.mean(0))
    state = np.zeros((rows.shape[1] + 1, classes))  # the last row holds the intercepts
    state[-1] = shares - shares.mean()
    problem = _Problem(rows, energy, target)
    rounding = 1e-14 * max(np.abs(rows).sum(0).max(initial=0.0), len(rows))
    bound = max(tolerance * np.abs(problem.gradient(state, problem.chances(state), 0.0)).max(), rounding)
    path = []
    for penalty in penalties:
        state = problem.minimum(state, penalty, bound)
        path.append((state[:-1] - state[:-1].mean(1, keepdims=True), state[-1] - state[-1].mean()))
    return path


class _Problem:
    """Value, gradient and curvature at a state (r + 1, C): coefficients, then intercepts."""

    def __init__(self, rows: Floats, energy: Floats, target: Floats) -> None:
        self.rows, self.target = rows, target
        self.moments = np.append(energy, len(rows))[:, None] / 2

    def scores(self, state: Floats) -> Floats:
        """Return (n, C)."""
        result: Floats = self.rows @ state[:-1] + state[-1]
        return result

    def chances(self, state: Floats) -> Floats:
        """Return the probabilities of the classes, (n, C)."""
        scores = self.scores(state)
        powers = np.exp(scores - scores.max(1, keepdims=True))
        result: Floats = powers / powers.sum(1, keepdims=True)
        return result

    def value(self, state: Floats, penalty: float) -> float:
        scores = self.scores(state)
        top = scores.max(1, keepdims=True)
        logs = np.log(np.exp(scores - top).sum(1)) + top[:, 0] - (scores * self.target).sum(1)
        return float(logs.sum() + penalty / 2 * np.square(state[:-1]).sum())

    def gradient(self, state: Floats, chances: Floats, penalty: float) -> Floats:
        """Return (r + 1, C)."""
        return self._onto(chances - self.target, state, penalty)

    def minimum(self, state: Floats, penalty: float, bound: float) -> Floats:
        """Return the state with the smallest value, from a state near to it."""
        value = self.value(state, penalty)
        for _ in range(STEPS):
            chances = self.chances(state)
            gradient = self.gradient(state, chances, penalty)
            if np.abs(gradient).max() <= bound:
                return state
            step = self._newton_step(gradient, chances, penalty, bound)
            promised = float((gradient * step).sum())
            for halving in range(HALVINGS):
                tried = state + step / 2**halving
                new = self.value(tried, penalty)
                # Near the minimum the value no longer tells: rounding of the sum hides what a step brings.
                if new <= value + SLOPE * promised / 2**halving + 1e-14 * abs(value):
                    break
            state, value = tried, new
        raise BadInput(
            f"A logistic head was to be fitted with a penalty of {penalty:g}.",
            f"After {STEPS} steps it has found no minimum.",
            "Use a larger smallest penalty (--set lambda_low=...).",
        )

    def _newton_step(self, gradient: Floats, chances: Floats, penalty: float, bound: float) -> Floats:
        """Solve Hessian @ step = -gradient by conjugate gradients, as exactly as the way to go calls for."""
        scale = self._diagonal(chances, penalty)
        size = np.abs(gradient).max()
        enough = max(min(0.1, np.sqrt(size / max(len(self.rows), 1))) * size, 0.1 * bound)
        step, residual = np.zeros_like(gradient), -gradient
        direction = residual / scale
        product = (residual * direction).sum()
        for _ in range(ROUNDS):
            if np.abs(residual).max() <= enough:
                break
            curved = self._curvature(direction, chances, penalty)
            length = product / (direction * curved).sum()
            step, residual = step + length * direction, residual - length * curved
            scaled = residual / scale
            new = (residual * scaled).sum()
            direction, product = scaled + new / product * direction, new
        return step

    def _diagonal(self, chances: Floats, penalty: float) -> Floats:
        """Return the Hessian's diagonal, (r + 1, C), kept from vanishing where all chances are 0 or 1."""
        weights = chances * (1 - chances)
        diagonal = self._onto_squares(weights)
        diagonal[:-1] += penalty
        return np.maximum(diagonal, 1e-6 * self.moments)

    def _onto_squares(self, weights: Floats) -> Floats:
        """Return the sums over rows of squares times weights (n, C): (r + 1, C)."""
        total = np.zeros((self.rows.shape[1] + 1, weights.shape[1]))
        total[-1] = weights.sum(0)
        for start in range(0, len(self.rows), BLOCK):
            part = slice(start, start + BLOCK)
            total[:-1] += np.square(self.rows[part]).T @ weights[part]
        return total

    def _curvature(self, direction: Floats, chances: Floats, penalty: float) -> Floats:
        along = self.scores(direction)
        weighted = chances * (along - (chances * along).sum(1, keepdims=True))
        return self._onto(weighted, direction, penalty)

    def _onto(self, weights: Floats, state: Floats, penalty: float) -> Floats:
        """Return the sums over rows of weights (n, C), coefficient by coefficient, with the penalty's part."""
        result = np.empty_like(state)
        result[:-1] = self.rows.T @ weights + penalty * state[:-1]
        result[-1] = weights.sum(0)
        return result
