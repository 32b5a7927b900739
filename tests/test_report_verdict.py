"""Sentences computed from a study: each turns, or is silent, when the data do."""

import dataclasses

import pytest
from study_results import NETWORKS, a_run, a_study

from schuss.study import verdict
from schuss.study.conclusions import CONCLUSIONS
from schuss.study.results import NetworkFacts

GAIN, FLAT, GPU, LIBRARY, HYBRID = CONCLUSIONS


def with_rates(study, rates):
    """The study with the runs of some implementations at other GFLOP/s: a number, or a function of the batch size."""
    runs = tuple(
        a_run(r.network, r.batch, r.implementation, rate(r.batch) if callable(rate) else rate, share=r.share)
        if (rate := rates.get(r.implementation)) is not None
        else r
        for r in study.runs
    )
    return dataclasses.replace(study, runs=runs)


def without(study, *names):
    return dataclasses.replace(study, runs=tuple(r for r in study.runs if r.implementation not in names))


def kind(study, name, **changes):
    """The study with other facts of an implementation."""
    facts = dataclasses.replace(study.implementations[name], **changes)
    return dataclasses.replace(study, implementations=study.implementations | {name: facts})


def sentence(study, head):
    return {s.head: s for s in (*verdict.findings(study), *verdict.conclusions(study))}.get(head)


def outcome(study, claim):
    found = sentence(study, claim)
    return found and found.outcome


@pytest.fixture(scope="module")
def study():
    return a_study()


def test_a_study_without_runs_says_nothing():
    empty = a_study(runs=(), scaling=(), loss_curves=(), accuracy=())
    assert verdict.findings(empty) == verdict.conclusions(empty) == []
    assert verdict.unjudged(empty) == list(CONCLUSIONS)


def test_the_fastest_is_named_by_batch_size(study):
    assert "Hybrid is the fastest at all 6 batch sizes" in sentence(study, "The fastest").parts[1]
    turned = with_rates(study, {"jax": lambda batch: 500 if batch >= 2048 else 300})
    text = sentence(turned, "The fastest").parts[0]
    assert (
        "Hybrid is the fastest at 128, 256, 512 and 1,024 and JAX 0.10 is the fastest at 2,048 and 4,096"
        in text
    )


def test_who_is_level_with_the_fastest_is_said(study):
    assert "noise" not in str(sentence(study, "The fastest"))
    level = with_rates(study, {"hybrid": 450, "jax": lambda batch: 448 if batch == 512 else 300})
    assert "within noise of that: JAX 0.10 at 512" in sentence(level, "The fastest").parts[0]


def test_one_batch_size_is_not_named():
    text = sentence(with_rates(a_study(batches=(128,)), {"hybrid": 400}), "The fastest").parts[0]
    assert text == "On Net-1h, Hybrid is the fastest, at best 0.409 s an epoch."


def test_other_libraries_are_set_against_our_best(study):
    turned = with_rates(
        study, {"hybrid": 400, "jax": 300, "torch": 200, "keras-jax": 100, "sklearn": 100, "gemm": 90}
    )
    assert "(JAX 0.10) takes 1.33 times as long" in sentence(turned, "Other libraries").parts[0]
    slower = with_rates(turned, {"hybrid": 240, "gemm-serial": 90, "native-serial": 90})
    assert "takes 0.800 times as long" in sentence(slower, "Other libraries").parts[0]
    assert sentence(without(study, "torch", "jax", "keras-jax", "sklearn"), "Other libraries") is None


def test_slowest_and_fastest(study):
    turned = with_rates(study, {"serial": 10, "hybrid": 430})
    assert "Hybrid is 43.0 times as fast as Serial" in sentence(turned, "From slowest to fastest").parts[0]
    alike = a_study(names=("serial", "native-serial"))
    assert (
        sentence(with_rates(alike, {"serial": 200, "native-serial": 201}), "From slowest to fastest") is None
    )


def test_highest_share_of_peak(study):
    assert "93 %, by JAX 0.10" in str(sentence(with_rates(study, {"jax": 500}), "Share of peak"))


def test_threads(study):
    text = sentence(study, "Threads").parts[0]
    assert "2 threads are 1.70 (" in text
    assert "to 1.98 (Hybrid) times as fast as one" in text
    assert sentence(dataclasses.replace(study, scaling=()), "Threads") is None


def test_loss_at_the_time_when_all_were_training(study):
    text = sentence(study, "Loss").parts[1]
    assert text.startswith("On Net-2h, after 4.00 s of training the loss is 0.0")
    assert " with Hybrid and 0." in text
    assert text.endswith(" with Serial.")
    short = tuple(
        dataclasses.replace(c, seconds=(0.0, 0.5), loss=(0.4, 0.001)) if c.implementation == "serial" else c
        for c in study.loss_curves
    )
    assert "after 0.500 s of training the loss is 0.00100 with Serial" in str(
        sentence(dataclasses.replace(study, loss_curves=short), "Loss")
    )
    assert sentence(dataclasses.replace(study, loss_curves=short[:1]), "Loss") is None


def test_accuracies(study):
    assert "2 trainings reach 97.71 %" in sentence(study, "Accuracy").parts[0]
    first, *others = study.accuracy
    lower = dataclasses.replace(study, accuracy=(dataclasses.replace(first, test_accuracy=0.96), *others))
    assert "lie between 96.00 % and 97.71 %" in sentence(lower, "Accuracy").parts[0]
    unknown = tuple(dataclasses.replace(a, test_accuracy=None) for a in study.accuracy)
    assert sentence(dataclasses.replace(study, accuracy=unknown), "Accuracy") is None


def test_threads_over_examples_gain_with_the_minibatch(study):
    rising = with_rates(study, {"serial": 10, "multicore": lambda batch: 11 if batch < 4096 else 19})
    assert outcome(rising, GAIN) == "confirmed"
    assert "Multicore is 1.10 times as fast as Serial at 128 and 1.90 times at 4,096" in str(
        sentence(rising, GAIN)
    )
    assert outcome(with_rates(study, {"serial": 10, "multicore": 12}), GAIN) == "refuted"
    full = with_rates(study, {"serial": 10, "multicore": 19})
    assert outcome(full, GAIN) == "undecided"
    assert "where 2 threads leave no room for more" in str(sentence(full, GAIN))
    falling = with_rates(study, {"serial": 10, "multicore": lambda batch: 19 if batch < 4096 else 11})
    assert outcome(falling, GAIN) == "refuted"
    assert outcome(without(study, "serial"), GAIN) is None
    assert outcome(a_study(batches=(128,)), GAIN) is None


def test_a_rise_within_the_spread_of_the_rounds_is_undecided(study):
    def rate(r):
        return 10 if r.implementation == "serial" else 10 + r.batch / 1000

    runs = tuple(
        a_run(r.network, r.batch, r.implementation, rate(r), spread=0.3)
        if r.implementation in ("serial", "multicore")
        else r
        for r in study.runs
    )  # fmt: skip
    assert outcome(dataclasses.replace(study, runs=runs), GAIN) == "undecided"


def test_networks_that_differ_give_a_part(study):
    runs = tuple(
        a_run(
            r.network,
            r.batch,
            "multicore",
            19 if r.network == "Net-1h" or r.batch > 128 else 11,
            share=r.share,
        )
        if r.implementation == "multicore"
        else r
        for r in with_rates(study, {"serial": 10}).runs
    )
    assert outcome(dataclasses.replace(study, runs=runs), GAIN) == "partly"


def test_matrix_vector_products_are_flat(study):
    assert outcome(study, FLAT) == "confirmed"
    rising = with_rates(study, {"fast-serial": 40, "fast-parallel": lambda batch: 45 if batch < 4096 else 79})
    assert outcome(rising, FLAT) == "refuted"
    assert outcome(without(study, "fast-parallel"), FLAT) is None


def test_the_gpu_is_judged_only_where_there_is_one_and_two_kinds_of_sizes(study):
    assert outcome(study, GPU) is None
    gpu = kind(study, "jax", family="cuda")
    assert outcome(gpu, GPU) is None
    odd = NetworkFacts((784, 1000, 10), 795_010, 3_196_000)
    runs = tuple(dataclasses.replace(r, network="odd", gflops=0.6 * r.gflops, seconds=r.seconds / 0.6,
                 low=r.low / 0.6, high=r.high / 0.6) for r in gpu.runs if r.network == "Net-1h")  # fmt: skip
    both = dataclasses.replace(gpu, networks=NETWORKS | {"odd": odd}, runs=gpu.runs + runs)
    assert outcome(both, GPU) == "confirmed"
    assert "JAX 0.10 does" in str(sentence(both, GPU))
    no_less = tuple(dataclasses.replace(r, network="odd") for r in gpu.runs if r.network == "Net-1h")
    assert outcome(dataclasses.replace(both, runs=gpu.runs + no_less), GPU) == "undecided"
    assert outcome(kind(both, "jax", family="peer"), GPU) is None


def test_the_library_that_is_parallel_both_ways(study):
    assert (
        outcome(with_rates(study, {"gemm": 420, "jax": 300, "keras-jax": 300, "torch": 300}), LIBRARY)
        == "refuted"
    )
    assert outcome(with_rates(study, {"gemm": 300, "jax": 420, "hybrid": 350}), LIBRARY) == "confirmed"
    ours = with_rates(study, {"gemm": 300, "jax": 420, "hybrid": 480})
    assert outcome(ours, LIBRARY) == "partly"
    assert "the best that is so both ways, Hybrid, 0.996 s" in str(sentence(ours, LIBRARY))
    small_only = with_rates(study, {"gemm": 300, "jax": lambda batch: 420 if batch < 4096 else 200, "keras-jax": 200,
                                    "torch": 200})  # fmt: skip
    assert outcome(small_only, LIBRARY) == "refuted"
    assert outcome(without(study, "torch", "jax", "keras-jax"), LIBRARY) is None


def test_the_hybrid_against_either_alone(study):
    assert outcome(with_rates(study, {"hybrid": 450, "gemm": 300}), HYBRID) == "confirmed"
    assert outcome(with_rates(study, {"hybrid": 200, "gemm": 300, "multicore": 250}), HYBRID) == "refuted"
    assert outcome(with_rates(study, {"hybrid": 200, "gemm": 300}), HYBRID) == "partly"
    assert outcome(with_rates(study, {"hybrid": 300, "gemm": 301, "multicore": 299}), HYBRID) == "undecided"
    assert outcome(without(study, "multicore"), HYBRID) is None


def test_the_gain_over_the_own_counterpart_stands_beside_the_hybrids(study):
    turned = with_rates(study, {"hybrid": 400, "native-serial": 200})
    assert "counterpart: Multicore 1.7" in str(sentence(turned, HYBRID))
    assert "Hybrid 2.00." in str(sentence(turned, HYBRID))
    assert "counterpart" not in str(sentence(without(turned, "serial", "fast-serial", "gemm-serial", "native-serial"),
                                             HYBRID))  # fmt: skip


def test_whether_both_axes_were_cut_at_once_is_said(study):
    assert "ran as native:2x1: no plan of several groups of several threads" in str(sentence(study, HYBRID))
    runs = tuple(
        dataclasses.replace(r, plan="native:2x2") if r.implementation == "hybrid" else r for r in study.runs
    )
    text = str(sentence(dataclasses.replace(study, runs=runs), HYBRID))
    assert text.endswith("The hybrid ran as native:2x2.")
