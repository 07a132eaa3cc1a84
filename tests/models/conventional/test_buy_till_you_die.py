"""BG/NBD and Pareto/NBD against numerical integration over customers' rates, and on customers made up by them. The
published estimates are held by `make check NAME=golden-values`.
"""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import beta as beta_function
from scipy.stats import gamma

from models.conventional.bg_nbd import BGNBD
from models.conventional.buy_till_you_die import PurchaseHistory
from models.conventional.pareto_nbd import ParetoNBD, hypergeometric
from tests.support.worlds.model_worlds import DAY, HORIZON, START, make_dataset, steady_world

PARETO = [(0.9, 8.0, 1.3, 12.0), (0.9, 12.0, 1.3, 8.0)]  # alpha below and above beta
BG = [(0.9, 8.0, 0.8, 2.4), (0.6, 8.0, 1.7, 1.1)]
CUSTOMERS = PurchaseHistory(np.array([0.0, 1.0, 6.0]), np.array([0.0, 4.0, 25.0]), np.array([20.0, 30.0, 27.0]))
EXTREME = PurchaseHistory(
    np.array([0.0, 0.0, 1.0, 900.0, 900.0, 3.0]),
    np.array([0.0, 0.0, 1e-4, 30.0, 899.0, 1e4]),
    np.array([1e-3, 1e5, 1e5, 4000.0, 900.0, 1e4]),
)


def pareto(parameters, x, recency, age, later=0.0):
    """`E[lambda^x exp(-lambda min(left, age + later))]` over a customer's rates, of who had not left at `recency`. The
    rate of purchases integrates to a gamma function, the moment of leaving by `quad`.
    """
    r, alpha, s, beta = parameters

    def leaving(moment):  # the density of leaving, a mixture of exponentials: Pareto's
        return s / beta * (beta / (beta + moment)) ** (s + 1)

    def purchases(until):
        return quad(lambda rate: gamma.pdf(rate, r, scale=1 / alpha) * rate**x * np.exp(-rate * until), 0, np.inf)[0]

    end = age + later
    left = quad(lambda moment: leaving(moment) * purchases(moment), recency, end, epsabs=1e-13)[0]
    return left + (beta / (beta + end)) ** s * purchases(end)


def bg(parameters, x, recency, age, later=0.0):
    """The same for BG/NBD, by the moments of the chance to leave, ratios of beta functions: `quad` over rates."""
    r, alpha, a, b = parameters
    stayed = beta_function(a, b + x) / beta_function(a, b)
    left = beta_function(a + 1, b + x - 1) / beta_function(a, b) if x else 0.0

    def of(rate):
        there = stayed * np.exp(-rate * (age + later)) + left * np.exp(-rate * recency)
        return gamma.pdf(rate, r, scale=1 / alpha) * rate**x * there

    return quad(of, 0, np.inf, epsabs=1e-13)[0]


CASES = [*((ParetoNBD, pareto, each) for each in PARETO), *((BGNBD, bg, each) for each in BG)]


@pytest.mark.parametrize(("kind", "integrated", "parameters"), CASES)
@pytest.mark.parametrize("number", [0, 2])
def test_the_probability_of_no_purchase_is_what_integration_over_the_rates_gives(kind, integrated, parameters, number):
    customer = tuple(float(column[number]) for column in (CUSTOMERS.repeats, CUSTOMERS.recency, CUSTOMERS.age))
    expected = integrated(parameters, *customer, later=10.0) / integrated(parameters, *customer)
    model = kind((10,), 1)
    model.estimates = dict(zip(kind.names, parameters, strict=True))
    assert model._no_purchase(CUSTOMERS, 10.0)[number] == pytest.approx(expected, abs=2e-6)
    likelihood = np.exp(kind.log_likelihood(parameters, CUSTOMERS)[number])
    assert likelihood == pytest.approx(integrated(parameters, *customer), rel=1e-5)


@pytest.mark.parametrize(("kind", "parameters"), [(kind, parameters) for kind, _, parameters in CASES])
def test_expected_purchases_begin_at_the_rate_at_which_silence_ends(kind, parameters):
    """Over an instant at most one purchase comes: its expectation is the probability of one."""
    model, instant = kind((1,), 1), 1e-3
    model.estimates = dict(zip(kind.names, parameters, strict=True))
    expected = kind.expected_purchases(parameters, CUSTOMERS, instant)
    assert expected == pytest.approx(1 - model._no_purchase(CUSTOMERS, instant), rel=1e-3)
    longer = [kind.expected_purchases(parameters, CUSTOMERS, time) for time in (1.0, 10.0, 100.0)]
    assert (np.diff(longer, axis=0) > 0).all()


@pytest.mark.parametrize(("kind", "parameters"), [(kind, parameters) for kind, _, parameters in CASES])
def test_absurd_customers_have_probabilities_too(kind, parameters):
    model = kind((10,), 1)
    model.estimates = dict(zip(kind.names, parameters, strict=True))
    with np.errstate(all="raise", under="ignore"):
        chances = np.array([model._no_purchase(EXTREME, time) for time in (1.0, 30.0, 1e6)])
        purchases = kind.expected_purchases(parameters, EXTREME, 30.0)
    assert ((chances >= 0) & (chances <= 1)).all()
    assert (np.diff(chances, axis=0) < 1e-9).all()
    assert np.isfinite(purchases).all()
    assert (purchases >= 0).all()


def test_the_continued_fraction_is_the_sum_of_the_series():
    random = np.random.default_rng(1)
    b, more = 10 ** random.uniform(-2, 3, (2, 40))
    z = 1 - 10 ** random.uniform(-3, 0, 40)
    n = np.arange(100_000)[:, None]
    summed = 1 + np.exp(np.cumsum(np.log((b + n) / (b + more + n) * z), axis=0)).sum(axis=0)
    assert hypergeometric(b, b + more, z) == pytest.approx(summed, rel=1e-9)


def made_up(kind, parameters, customers, age, seed):
    """Customers of the process itself, first seen at random moments of the first third."""
    random = np.random.default_rng(seed)
    r, alpha, third, fourth = parameters
    rates = random.gamma(r, 1 / alpha, customers)
    ages = age * random.uniform(2 / 3, 1, customers)
    rows = []
    for rate, end in zip(rates, ages, strict=True):
        if kind is ParetoNBD:
            stays, chance = random.exponential(1 / random.gamma(third, 1 / fourth)), 0.0
        else:
            stays, chance = np.inf, random.beta(third, fourth)
        x, last, now = 0, 0.0, random.exponential(1 / rate)
        while now < min(end, stays):
            x, last = x + 1, now
            if random.random() < chance:
                break
            now += random.exponential(1 / rate)
        rows.append((x, last, end))
    return PurchaseHistory(*np.array(rows).T)


@pytest.mark.parametrize(("kind", "parameters"), [(ParetoNBD, (0.8, 6.0, 0.7, 10.0)), (BGNBD, (0.8, 6.0, 0.8, 2.0))])
def test_the_parameters_of_made_up_customers_are_found_again(kind, parameters):
    customers = made_up(kind, parameters, 20_000, 80.0, seed=1)
    estimates = kind.estimated(customers)
    assert list(estimates.values()) == pytest.approx(parameters, rel=0.12)
    at_truth = kind.log_likelihood(parameters, customers).sum()
    assert 0 <= kind.log_likelihood(list(estimates.values()), customers).sum() - at_truth < 10


@pytest.mark.parametrize("kind", [BGNBD, ParetoNBD])
def test_the_unit_of_time_is_only_a_unit(kind):
    customers = made_up(kind, (0.8, 6.0, 0.8, 2.0), 2_000, 80.0, seed=2)
    weeks, days = kind.estimated(customers), kind.estimated(customers.scaled(1 / 7))
    for name in kind.names:
        assert days[name] == pytest.approx(weeks[name] * (7 if name in kind.times else 1), rel=1e-3)


def test_customers_are_counted_up_to_the_end_of_knowledge():
    """Two events of a day are one; what lies at or after the end of the last label, and others' histories, are not
    looked at.
    """
    times = [START + (np.array(days) * DAY).astype(np.int64) for days in ([1.1, 1.9, 4.5, 30.2], [2.5, 90.0], [3.5])]
    data = make_dataset(times, [START + 10 * DAY], (HORIZON,), np.random.default_rng(1)).select(np.array([0, 1]))
    assert PurchaseHistory.of_customers(data).repeats.tolist() == [1, 0]  # known up to day 24
    assert PurchaseHistory.of_customers(data).recency.tolist() == [3, 0]
    assert PurchaseHistory.of_customers(data).age.tolist() == [23, 22]
    assert PurchaseHistory.of_examples(data.aggregates).repeats.tolist() == [1, 0]
    assert PurchaseHistory.of_examples(data.aggregates).recency == pytest.approx([3.4, 0])


def test_who_was_silent_for_longer_churns_the_likelier():
    model = ParetoNBD((HORIZON,), 1)
    data = steady_world()
    model.fit(data, None)
    rows = data.aggregates[data.aggregates["active_days_total"] > 3].iloc[:50].reset_index(drop=True)
    silent = rows.assign(days_since_last_event=rows["days_since_last_event"] / 2)
    np.testing.assert_array_equal(
        model.survival(data, np.array([1, HORIZON]))[:, 1:], model.predict(data).churn_probability
    )
    churn = [model._no_purchase(PurchaseHistory.of_examples(each), HORIZON) for each in (silent, rows)]
    assert (churn[1] > churn[0]).all()
