"""Steps of several ranks: the allreduce against a simulation of it, scaling, and where another machine stops paying."""

import json
from dataclasses import replace
from math import ceil
from pathlib import Path
from types import SimpleNamespace

import pytest

from schuss.errors import PlanError
from schuss.planner import cluster as cluster_module
from schuss.planner.account import Workload
from schuss.planner.cluster import PAYS, Cluster, counts
from schuss.planner.files import given, load_network
from schuss.planner.interconnect import Interconnect, allreduce
from schuss.planner.profile import Profile

MEMORY = {
    "name": "memory",
    "bytes": 0,
    "shared_by": 4,
    "read": {1: 12e9, 4: 24e9},
    "update": {1: 9e9, 4: 18e9},
}
CACHE = MEMORY | {"name": "L2", "bytes": 1024, "shared_by": 1}
MACHINE = {
    "name": "box",
    "isa": "avx2",
    "cores": 4,
    "shape": {"float32": (8, 2, 6), "float64": (4, 2, 6)},
    "peak": {"float32": {1: 1e11, 4: 4e11}, "float64": {1: 5e10, 4: 2e11}},
    "levels": [CACHE, MEMORY],
}
NETWORK = Interconnect("wire", latency_us=2.0, gb_per_s=10.0)


# --- allreduce: each way played through with vectors ------------------------------------------------


def by_doubling(ranks):
    """Turns, vectors sent one after the other, vectors added, when whole vectors are exchanged."""
    sums = [{rank} for rank in range(ranks)]
    power = 1 << (ranks.bit_length() - 1)
    turns = sent = added = 0
    for rank in range(power, ranks):
        sums[rank - power] |= sums[rank]
    if ranks > power:
        turns, sent, added = turns + 1, sent + 1, added + 1
    distance = 1
    while distance < power:
        sums[:power] = [sums[rank] | sums[rank ^ distance] for rank in range(power)]
        turns, sent, added, distance = turns + 1, sent + 1, added + 1, 2 * distance
    if ranks > power:
        sums[power:] = sums[: ranks - power]
        turns, sent = turns + 1, sent + 1
    assert all(found == set(range(ranks)) for found in sums)
    return turns, sent, added


def by_ring(ranks):
    """The same, when each rank passes a piece of the vector on to its neighbour."""
    pieces = [[{rank} for _ in range(ranks)] for rank in range(ranks)]
    turns = sent = added = 0
    for turn in range(ranks - 1):
        moving = [(rank, (rank - turn) % ranks) for rank in range(ranks)]
        passed = {rank: (piece, set(pieces[rank][piece])) for rank, piece in moving}
        for rank, (piece, content) in passed.items():
            pieces[(rank + 1) % ranks][piece] |= content
        turns, sent, added = turns + 1, sent + 1 / ranks, added + 1 / ranks
    for turn in range(ranks - 1):
        passed = {
            rank: ((rank + 1 - turn) % ranks, set(pieces[rank][(rank + 1 - turn) % ranks]))
            for rank in range(ranks)
        }
        for rank, (piece, content) in passed.items():
            pieces[(rank + 1) % ranks][piece] = content
        turns, sent = turns + 1, sent + 1 / ranks
    assert all(found == set(range(ranks)) for rank in pieces for found in rank)
    return turns, sent, added


def by_halving(ranks):
    """The same, when the sum is scattered in halves and gathered again, for a power of two."""
    distance, share = ranks // 2, 1.0
    turns = sent = added = 0
    while distance:
        share /= 2
        turns, sent, added, distance = turns + 1, sent + share, added + share, distance // 2
    while share < 1:
        turns, sent, share = turns + 1, sent + share, share * 2
    return turns, sent, added


def seconds(way, n_bytes, add=0.0):
    turns, sent, added = way
    return turns * 2e-6 + sent * n_bytes / 10e9 + added * n_bytes * add


@pytest.mark.parametrize("ranks", range(2, 18))
def test_a_short_vector_is_exchanged_whole(ranks):
    found = allreduce(8, ranks, NETWORK)
    assert found.algorithm == "recursive doubling"
    assert found.seconds == pytest.approx(seconds(by_doubling(ranks), 8))


@pytest.mark.parametrize("ranks", [3, 5, 6, 7, 12, 17])
def test_a_long_vector_goes_round_in_a_ring(ranks):
    found = allreduce(1e9, ranks, NETWORK, 1e-10)
    assert found.algorithm == "ring"
    assert found.seconds == pytest.approx(seconds(by_ring(ranks), 1e9, 1e-10))


@pytest.mark.parametrize("ranks", [4, 8, 64, 1024])
def test_a_long_vector_of_a_power_of_two_is_halved_and_doubled(ranks):
    found = allreduce(1e9, ranks, NETWORK, 1e-10)
    assert found.algorithm == "halving and doubling"
    assert found.seconds == pytest.approx(seconds(by_halving(ranks), 1e9, 1e-10))


def test_one_rank_exchanges_nothing():
    assert allreduce(1e9, 1, NETWORK).seconds == 0


# --- network files ----------------------------------------------------------------------------------


def test_given_networks_are_read_and_name_their_sources():
    assert given("network") == ["100gbe", "10gbe", "25gbe", "hdr", "ndr"]
    for name in given("network"):
        network = load_network(name)
        facts = json.loads((Path(cluster_module.__file__).parent / "networks" / f"{name}.json").read_text())
        assert set(facts["source"]) == {"latency_us", "gb_per_s"}
        assert network.origin == "from data sheets, not measured"
    assert load_network("ndr").gb_per_s > load_network("hdr").gb_per_s > load_network("10gbe").gb_per_s


def test_a_network_of_ones_own(tmp_path):
    file = tmp_path / "lab.json"
    file.write_text('{"name": "lab", "latency_us": 1.5, "gb_per_s": 7, "measured": "2026-01-02"}')
    assert load_network(str(file)) == Interconnect("lab", 1.5, 7.0, "2026-01-02")
    assert load_network(str(file)).origin == "measured 2026-01-02"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "network '.*' is no JSON: "),
        ("[]", r"must be an object with a text called name, got \[\]"),
        ('{"name": 3}', "must be an object with a text called name"),
        ('{"name": "x", "gb_per_s": 1}', "latency_us must be a positive number, got None"),
        ('{"name": "x", "latency_us": 1, "gb_per_s": 0}', "gb_per_s must be a positive number, got 0"),
        (
            '{"name": "x", "latency_us": true, "gb_per_s": 1}',
            "latency_us must be a positive number, got True",
        ),
        ('{"name": "x", "latency_us": NaN, "gb_per_s": 1}', "latency_us must be a positive number, got nan"),
        (
            '{"name": "x", "latency_us": 1, "gb_per_s": 1, "measured": 3}',
            "measured must be a date or null, got 3",
        ),
    ],
)
def test_what_is_no_network(tmp_path, text, message):
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(PlanError, match=message):
        load_network(str(file))


def test_no_such_network(tmp_path):
    with pytest.raises(
        PlanError, match=r"^network must be a file or one of 100gbe, .*, ndr, got 'token ring'$"
    ):
        load_network("token ring")
    with pytest.raises(PlanError, match=r"cannot be read: Is a directory$"):
        load_network(str(tmp_path))


# --- scaling ----------------------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch):
    """Machines on which an example takes 10 us and a step 100 us more."""

    def candidates(work, _profile, _threads):
        parts = {"arithmetic": work.batch_size * 1e-5, "overhead": 1e-4}
        return [SimpleNamespace(seconds=sum(parts.values()), parts=parts, bound="arithmetic")]

    monkeypatch.setattr(cluster_module, "candidates", candidates)
    profile = Profile.from_dict(MACHINE)
    return Cluster(Workload((99, 10), batch_size=256), profile, 4, NETWORK)


def test_a_step_of_several_ranks(cluster):
    assert cluster.gradient_bytes == 4000
    alone, three = cluster.step(1), cluster.step(3)
    assert (alone.rows, alone.gradient, alone.exchange.seconds) == (256, 0, 0)
    assert alone.seconds == pytest.approx(256e-5 + 1e-4)
    assert three.rows == ceil(256 / 3)
    assert three.gradient == pytest.approx(2 * 4000 / 18e9)
    assert three.exchange == allreduce(4000, 3, NETWORK, 3 / 12e9)
    assert three.seconds == pytest.approx(86e-5 + 1e-4 + three.gradient + three.exchange.seconds)
    assert cluster.speedup(three) == pytest.approx(alone.seconds / three.seconds)
    assert cluster.efficiency(three) == pytest.approx(alone.seconds / three.seconds / 3)
    assert (alone.bound, three.bound) == ("arithmetic", "arithmetic")


def test_the_network_bounds_where_it_takes_longest(cluster):
    slow = Cluster(cluster.work, cluster.profile, 4, replace(NETWORK, latency_us=5000.0))
    assert slow.step(2).bound == "network"


def test_each_rank_needs_an_example(cluster):
    assert [step.ranks for step in cluster.scaling(counts(1024))] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    with pytest.raises(ValueError, match="ranks must be from 1 to the 256 examples of a minibatch, got 257"):
        cluster.step(257)


def test_the_fastest_number_of_ranks_is_the_best_of_all(cluster):
    cluster.network = replace(NETWORK, latency_us=50.0)
    every = [cluster.step(ranks) for ranks in range(1, 257)]
    assert cluster.fastest(1024).seconds == min(step.seconds for step in every)
    assert 4 < cluster.fastest(1024).ranks < 256
    assert cluster.fastest(4).ranks == 4


@pytest.mark.parametrize("ranks", [2, 16, 128, 1000])
def test_twice_as_many_pay_from_the_batch_size_named(cluster, ranks):
    found = cluster.pays_from(ranks)
    half = ranks // 2

    def gain(batch_size):
        return cluster.step(half, batch_size).seconds / cluster.step(ranks, batch_size).seconds - 1

    assert gain(found) >= PAYS
    assert found // 2 < ranks or gain(found // 2) < PAYS
    assert cluster.pays(ranks, found)
    assert not cluster.pays(ranks, found // 2)


def test_up_to_how_many_pay(cluster):
    most = cluster.most_that_pay(1024)
    assert all(cluster.pays(count) for count in counts(most))
    assert not cluster.pays(2 * most)
    assert cluster.most_that_pay(2) == 2
    slow = Cluster(cluster.work, cluster.profile, 4, replace(NETWORK, latency_us=1e12))
    assert slow.most_that_pay(1024) == 1
    assert slow.pays_from(2) is None


def test_counts():
    assert counts(1) == [1]
    assert counts(8) == [1, 2, 4, 8]
    assert counts(10) == [1, 2, 4, 8, 10]
