"""NDB and its divergence against scipy, where their values are known, and against the published ones on MNIST."""

from __future__ import annotations

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from research import evaluate
from research.data import Images
from research.data.source import Data
from research.maths import kmeans
from research.metrics import ndb
from research.types import BadInput

KEY = jax.random.key(0)
P = np.random.default_rng(0).dirichlet(np.full(20, 5.0))


def groups(n: int, seed: int, without: int | None = None) -> np.ndarray:
    """Ten far groups of points in five variables, equally likely but for one that may be missing."""
    rng = np.random.default_rng(seed)
    kept = [k for k in range(10) if k != without]
    centres = np.random.default_rng(99).normal(size=(10, 5)) * 5
    return centres[rng.choice(kept, n)] + rng.normal(size=(n, 5)) * 0.1


@pytest.fixture(scope='module')
def bins() -> ndb.Bins:
    return ndb.make(groups(3000, 0), 10)


def test_bins_are_the_groups_and_their_centres_the_means(bins: ndb.Bins) -> None:
    x = groups(3000, 0)
    assert bins.counts.sum() == 3000 and bins.counts.min() > 200
    assert (ndb.histogram(bins, x) == bins.counts).all()
    own = np.square(x[:, None] - bins.centres).sum(axis=2).argmin(axis=1)
    np.testing.assert_allclose(bins.centres, [x[own == k].mean(axis=0) for k in range(10)], atol=1e-4)


def test_many_variables_are_clustered_on_a_sixth_and_binned_on_all() -> None:
    x = np.repeat(groups(300, 0), 240, axis=1) + np.random.default_rng(1).normal(size=(300, 1200))
    made = ndb.make(x, 10)
    assert made.centres.shape == (10, 1200)
    assert (ndb.histogram(made, x) == made.counts).all()


def test_z_is_the_two_proportion_test() -> None:
    """Its square is Pearson's chi-square of the bin against the rest."""
    rng = np.random.default_rng(3)
    a, b = rng.multinomial(500, P), rng.multinomial(300, P[::-1])
    z = ndb.z_scores(a, b)
    for k in range(20):
        table = [[a[k], 500 - a[k]], [b[k], 300 - b[k]]]
        assert z[k] ** 2 == pytest.approx(stats.chi2_contingency(table, correction=False).statistic, rel=1e-9)
    found = (2 * stats.norm.sf(np.abs(z)) < 0.05).mean()
    assert ndb.share(a, b) == pytest.approx(found) and found > 0.2
    assert ndb.share(a, b, threshold=100) == 0


def test_the_divergence_is_scipys() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.multinomial(500, P), rng.multinomial(30, P[::-1])
    assert ndb.divergence(a, b) == pytest.approx(jensenshannon(a, b) ** 2, rel=1e-9)
    assert ndb.divergence(b, a) == pytest.approx(ndb.divergence(a, b), rel=1e-9)
    assert ndb.divergence(a, a) == 0
    apart = np.array([3, 0, 4, 0]), np.array([0, 5, 0, 1])
    assert ndb.divergence(*apart) == pytest.approx(np.log(2))


def test_one_distribution_gives_the_level_and_the_floor() -> None:
    """2000 pairs of histograms: each z has its level of 0.05, and the divergence is (K - 1) (1/n + 1/m) / 8 on average."""
    rng = np.random.default_rng(5)
    n, m = 4000, 1000
    pairs = list(zip(rng.multinomial(n, P, 2000), rng.multinomial(m, P, 2000), strict=True))
    different = np.array([ndb.share(a, b) for a, b in pairs])
    assert abs(different.mean() - 0.05) < 4 * different.std() / np.sqrt(2000) + 0.001
    divergences = np.array([ndb.divergence(a, b) for a, b in pairs])
    error = divergences.std() / np.sqrt(2000)
    assert abs(divergences.mean() - ndb.floor(20, n, m)) < 4 * error + 0.01 * ndb.floor(20, n, m)


def test_the_training_set_drawn_again_has_a_floor_of_its_own(bins: ndb.Bins) -> None:
    """Only the draw varies: (K - 1) / (8 m)."""
    x, rng, m = groups(3000, 0), np.random.default_rng(6), 500
    found = np.array([ndb.divergence(bins.counts, ndb.histogram(bins, x[rng.integers(0, 3000, m)])) for _ in range(60)])
    assert abs(found.mean() - 9 / (8 * m)) < 4 * found.std() / np.sqrt(60)


def test_a_missing_group_is_found(bins: ndb.Bins) -> None:
    whole, lacking = (ndb.histogram(bins, groups(1000, 7, without)) for without in (None, 4))
    assert ndb.share(bins.counts, lacking, threshold=4) > 0  # its own bin alone, at so strict a threshold
    assert ndb.share(bins.counts, whole, threshold=4) == 0
    gone = np.abs(ndb.z_scores(bins.counts, lacking)).argmax()
    assert lacking[gone] == 0
    assert ndb.divergence(bins.counts, lacking) > 5 * ndb.divergence(bins.counts, whole)


def test_a_constant_sampler_differs_in_every_bin(bins: ndb.Bins) -> None:
    counts = ndb.histogram(bins, np.tile(groups(1, 8), (1000, 1)))
    assert ndb.share(bins.counts, counts) == 1
    p = (bins.counts / 3000)[counts.argmax()]  # all of its mass is in this bin: eq. 2 by hand
    by_hand = 0.5 * (p * np.log(2 * p / (1 + p)) + (1 - p) * np.log(2)) + 0.5 * np.log(2 / (1 + p))
    assert ndb.divergence(bins.counts, counts) == pytest.approx(by_hand)


def test_degenerate_input_has_an_answer() -> None:
    with pytest.raises(BadInput, match='100 bins of 7 training examples: expected at least as many'):
        ndb.make(np.zeros((7, 2)), 100)
    same = ndb.make(np.ones((30, 2)), 4)  # one value: one bin holds all, the others nothing
    counts = ndb.histogram(same, np.ones((5, 2)))
    assert sorted(same.counts) == [0, 0, 0, 30] and np.isfinite(same.centres).all()
    assert ndb.share(same.counts, counts) == 0 and ndb.divergence(same.counts, counts) == 0
    for wrong in (np.zeros((0, 2)), np.zeros((3, 4))):
        with pytest.raises(BadInput, match=r'expected \[m, 2\] with m at least 1'):
            ndb.histogram(same, wrong)


def test_k_means_is_as_good_as_scikit_learns() -> None:
    """From one start the same clusters; from starts of its own the same sum of distances on average, to 1 %."""
    from sklearn.cluster import KMeans

    raw = Images(name='digits', values='scale').load().train.x.reshape(1400, 64) / 16
    x = jnp.asarray(raw, jnp.float32)
    start = kmeans.plus_plus(KEY, x, 10)
    centres, members = jax.jit(lambda x: kmeans.lloyd(x, x[start], 100))(x)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        theirs = KMeans(10, init=raw[np.asarray(start)], n_init=1, max_iter=100, tol=0, algorithm='lloyd').fit(raw)
        others = [KMeans(10, n_init=1, random_state=i).fit(raw).inertia_ for i in range(12)]
    assert float(kmeans.distances(x, centres).min(axis=1).sum()) == pytest.approx(theirs.inertia_, rel=1e-3)
    assert (np.asarray(members) == theirs.labels_).mean() > 0.99
    own = jax.jit(jax.vmap(lambda key: kmeans.cluster(key, x, 10)[0]))(jax.random.split(KEY, 12))
    sums = [float(kmeans.distances(x, c).min(axis=1).sum()) for c in own]
    assert np.mean(sums) == pytest.approx(np.mean(others), rel=0.01)


@pytest.fixture(scope='module')
def digits() -> Data:
    return Images(name='digits', values='integer').load()


def test_samples_of_digits_are_measured_in_bins_of_their_own(digits: Data) -> None:
    """10 bins of 1400 images, made once; the test images are near the floor, one image over and over is far from it."""
    evaluate._bins.cache_clear()
    x = np.asarray(digits.test.x).reshape(397, 64) / 16
    near, far = (evaluate.bin_results(digits, fake, 1 / 16, 'test') for fake in (x, np.tile(x[:1], (397, 1))))
    assert evaluate._bins.cache_info().misses == 1
    for share, js in (near, far):
        assert (share.metric, share.unit, share.kind, share.n) == ('ndb', 'share of bins', 'estimate', 397)
        assert (js.metric, js.unit) == ('ndb_js', 'divergence in nats')
        assert share.settings == js.settings
        assert share.settings == {
            'threshold': 1.96, 'bins': 10, 'samples': 397, 'binned': 1400, 'preprocessing': 'integer',
        }  # fmt: skip
    assert near[0].value <= 0.2 and near[1].value < 3 * ndb.floor(10, 1400, 397)
    assert far[0].value == 1 and far[1].value > 0.3


def test_too_few_training_images_have_no_bins(digits: Data) -> None:
    few = dataclasses.replace(digits, train=dataclasses.replace(digits.train, x=digits.train.x[:600]))
    assert evaluate.bin_results(few, np.zeros((100, 64)), 1.0, 'test') == []


@pytest.mark.long
def test_the_published_divergences_of_mnist(tfds_dir: str) -> None:
    """0.0014 for validation and 0.0041 for test images, README of eitanrich/gans-n-gmms: other bins, other images, so a band."""
    data = Images(name='mnist', values='scale').load(tfds_dir)
    x = np.asarray(data.train.x).reshape(60_000, -1)[np.random.default_rng(0).permutation(60_000)] / np.float32(255)
    made = ndb.make(x[:45_000], 100)
    assert made.counts.sum() == 45_000 and made.counts.min() > 50
    validation, test = (ndb.histogram(made, y) for y in (x[45_000:55_000], data.test.x.reshape(10_000, -1)))
    assert 0.0012 < ndb.divergence(made.counts, validation) < 0.0020
    assert 0.0033 < ndb.divergence(made.counts, test) < 0.0045
    assert ndb.share(made.counts, validation, threshold=4) == 0
    assert ndb.share(made.counts, validation) < 0.12 < ndb.share(made.counts, test)
