"""Estimates of how many people are unique in the population, from a sample.

Each takes a histogram of class sizes in the sample and the population's size, and
returns the part of the population that is estimated to be unique; nan where the
estimator has no solution. The formulas are those of ARX, which follows Dankar et al.
(2012), "Estimating the re-identification risk of clinical data sets".
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize, root
from scipy.special import digamma, expit, gammaln, logit

from .errors import AnonymizeError
from .keys import Floats, Ints

ESTIMATORS = ("dankar", "pitman", "zayatz", "snb")
# The United States, as in ARX's population model.
DEFAULT_POPULATION = 317_238_626


def estimate(sizes: Ints, *, population: int, estimator: str = "dankar") -> float:
    """Part of the population that is unique, by the named estimator.

    "dankar" is the rule of Dankar et al.: Pitman's model for sampling fractions up to
    10%, else the lower one of Zayatz's and the SNB model's.
    """
    if estimator not in ESTIMATORS:
        raise AnonymizeError(f"The estimator must be one of {', '.join(ESTIMATORS)}.")
    rows = int(sizes.sum())
    if rows > population:
        raise AnonymizeError("The population must be at least as large as the table.")
    size, count = np.unique(sizes, return_counts=True)
    if not len(size) or size[0] != 1:
        return 0.0
    if estimator == "pitman":
        return pitman(size, count, population=population)
    if estimator == "zayatz":
        return zayatz(size, count, population=population)
    if estimator == "snb":
        return snb(size, count, population=population)
    if rows / population <= 0.1:
        return pitman(size, count, population=population)
    low = zayatz(size, count, population=population)
    other = snb(size, count, population=population)
    return low if math.isnan(other) or other == 0 else min(low, other)


def zayatz(size: Ints, count: Ints, *, population: int) -> float:
    """Zayatz (1991): sample uniques times their chance to be population uniques.

    The sizes of classes in the population are taken to be distributed as in the
    sample; the chance to draw exactly one of m is hypergeometric.
    """
    rows = float((size * count).sum())
    classes = float(count.sum())
    fraction = rows / population
    # P(1 of m) = m n/N prod_{i<m-1} (N - n - i)/(N - 1 - i), for all m at once.
    i = np.arange(int(size.max()) - 1, dtype=float)
    with np.errstate(divide="ignore"):
        steps = np.log(np.maximum(population - rows - i, 0) / (population - 1 - i))
    logs = np.concatenate(([0.0], np.cumsum(steps)))
    one = size * fraction * np.exp(logs[size - 1])
    conditional = count[0] / classes * fraction / float((count / classes * one).sum())
    return float(count[0] * conditional / fraction / population)


def pitman(size: Ints, count: Ints, *, population: int) -> float:
    """Pitman's sampling formula, fitted by maximum likelihood (Hoshino, 2001).

    Searched over theta > 0 and 0 < alpha < 1 from Hoshino's moment estimate, rather
    than by ARX's Newton steps, which can leave the region or find another root.
    """
    n, u = float((size * count).sum()), float(count.sum())
    many = size > 1
    often, big = count[many].astype(float), size[many].astype(float)

    def loss(point: Floats) -> tuple[float, Floats]:
        theta, alpha = math.exp(point[0]), float(expit(point[1]))
        value, by_theta, by_alpha = _pitman_likelihood(
            theta, alpha, often=often, big=big, u=u, n=n
        )
        slopes = np.array([by_theta * theta, by_alpha * alpha * (1 - alpha)])
        return -value / n, -slopes / n

    theta, alpha = _pitman_start(size, count, u=u, n=n)
    found = minimize(
        loss,
        np.array([math.log(theta), float(logit(alpha))]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-20.0, 30.0), (-20.0, 10.0)],
        options={"ftol": 1e-13, "gtol": 1e-9},
    )
    theta, alpha = math.exp(found.x[0]), float(expit(found.x[1]))
    logs = float(gammaln(theta + 1) - gammaln(theta + alpha))
    uniques = math.exp(min(logs + alpha * math.log(population), 700.0))
    return uniques / population if uniques <= population else math.nan


def _pitman_start(
    size: Ints, count: Ints, *, u: float, n: float
) -> tuple[float, float]:
    c1 = float(count[0])
    c2 = float(count[size == 2][0]) if (size == 2).any() else 1.0
    c = c1 * (c1 - 1) / c2
    divisor = 2 * c1 * u + c1 * c - n * c
    if divisor:
        theta = (n * u * c - c1 * (n - 1) * (2 * u + c)) / divisor
        alpha = (theta * (c1 - n) + (n - 1) * c1) / (n * u)
        if theta > 1e-6 and 0.001 < alpha < 0.999:
            return theta, alpha
    return 1.0, 0.5


def _pitman_likelihood(
    theta: float, alpha: float, *, often: Floats, big: Floats, u: float, n: float
) -> tuple[float, float, float]:
    """The log-likelihood and its slopes in theta and alpha."""
    s = theta / alpha
    value = (u - 1) * math.log(alpha) + gammaln(s + u) - gammaln(s + 1)
    value -= gammaln(theta + n) - gammaln(theta + 1)
    value += float((often * (gammaln(big - alpha) - gammaln(1 - alpha))).sum())
    psi = digamma(s + u) - digamma(s + 1)
    by_theta = psi / alpha - digamma(theta + n) + digamma(theta + 1)
    by_alpha = (u - 1) / alpha - psi * theta / alpha**2
    by_alpha -= float((often * (digamma(big - alpha) - digamma(1 - alpha))).sum())
    return float(value), float(by_theta), float(by_alpha)


def snb(size: Ints, count: Ints, *, population: int) -> float:
    """The slide negative binomial model (Chen and Keller-McNulty, 1998).

    The number of classes in the population is Shlosser's estimate (Haas and Stokes,
    1998).
    """
    f = float((size * count).sum()) / population
    if f >= 1:
        return float(count[0]) / population
    c1 = float(count[0])
    c2 = float(count[size == 2][0]) if (size == 2).any() else 0.0
    k = _shlosser(size, count, f=f)

    def equations(point: Floats) -> Floats:
        a, b = point
        d = (1 - f) * (1 - b)
        first = k * f * (b / (1 - d)) ** a * (a * d / (1 - d) + 1) - c1
        second = (k * a * b**a * f**2 * (1 - b) / 2 / (1 - d) ** (a + 2)) * (
            2 - (1 - a) * d
        ) - c2
        return np.array([first, second])

    with np.errstate(all="ignore"):
        for start in ((0.5, 0.5), (0.1, 0.1), (1.0, 0.9), (0.05, 0.01), (2.0, 0.5)):
            found = root(equations, start)
            a, b = found.x
            if found.success and a > 0 and 0 < b < 1:
                uniques = k * b**a
                return float(uniques / population)
    return math.nan


def _shlosser(size: Ints, count: Ints, *, f: float) -> float:
    """How many classes the population has."""
    m, c = size.astype(float), count.astype(float)
    left = (1 - f) ** m * c
    one = float((m * f**2 * (1 - f**2) ** (m - 1) * c).sum())
    two = float((left * ((1 + f) ** m - 1)).sum())
    four = float((m * f * (1 - f) ** (m - 1) * c).sum())
    return float(c.sum() + c[0] * one / two * (left.sum() / four) ** 2)
