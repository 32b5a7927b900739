"""``schuss plan``: what a training would take, and how it is best divided, before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from schuss.cli._common import check_can_write, echo_columns, echo_json, echo_table
from schuss.cli._options import how_options, learning_options, network_options
from schuss.cli._plan_work import ROWS, machine_profile, planned, threads_of

if TYPE_CHECKING:
    from schuss.cli._plan_tables import Outlook
    from schuss.cli._train_settings import Settings
    from schuss.planner.cluster import Cluster

__all__ = ["MACHINES", "NETWORKS", "plan"]

OUT_HELP = "Not used, as nothing is trained: `plan` can stand in a command in the place of `train`."
TOP = 10
#: Files of the planner's folders, named here so that help needs no planner.
MACHINES = (
    "a100", "ec2-c6i-16", "epyc-7742-2x64", "epyc-7763-2x64", "h100", "h200", "rtx-4090", "ryzen-5800x-8",
    "xeon-8358-2x32", "xeon-8480c-2x56",
)  # fmt: skip
NETWORKS = ("100gbe", "10gbe", "25gbe", "hdr", "ndr")


@click.command(short_help="Predict a training's time and memory, here or on other machines.")
@click.argument("data", default="digits28", metavar="[DATA|N-N-...]")
@network_options()
@learning_options()
@click.option("--cv", type=click.IntRange(min=2), metavar="K", help="An epoch is that of one of K folds.")
@how_options(OUT_HELP)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"With layer sizes: training examples of an epoch.  [default: {ROWS:,}, as in the 2016 study]",
)
@click.option(
    "--machine",
    metavar="NAME|FILE",
    help=f"Plan for this machine: {', '.join(MACHINES)}, or a file that `schuss info --save-profile` wrote there.  "
    "[default: this machine, measured]",
)
@click.option(
    "--cores",
    type=click.IntRange(min=1),
    metavar="N",
    help="Plan for the machine with N cores; what is not known of so many is extrapolated.  "
    "[default: those that it has, or that may be used here]",
)
@click.option(
    "--ranks",
    type=click.IntRange(min=1, max=1024),
    metavar="N",
    help="Scale over 1 to N such machines, a rank each, that share each minibatch. Needs --network.",
)
@click.option(
    "--network",
    metavar="NAME|FILE",
    help=f"What connects the ranks: {', '.join(NETWORKS)}, or a JSON file with name, latency_us and gb_per_s.",
)
@click.option(
    "--all-kernels",
    is_flag=True,
    help="Also naive, gemv and gemm, which are never chosen unasked; of a GPU cuda-naive, tf32 and bfloat16.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=TOP, show_default=True, help="Candidates to print."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the step against threads, or with --ranks against ranks: .png, .svg or .pdf (needs matplotlib).",
)
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    as_json: bool,
    quiet: bool,
    out: Path | None,
    threads: int | None,
    rows: int | None,
    machine: str | None,
    cores: int | None,
    ranks: int | None,
    network: str | None,
    all_kernels: bool,
    top: int,
    plot: Path | None,
    **options: Any,
) -> None:
    """Predict how long training on DATA would take with each plan, on the CPU and on the GPU, and choose one.

    DATA is as for `schuss train`, or layer sizes alone, such as 784-1024-10: then nothing is read.

    With --machine or --cores the answer is for a machine that is not here; with --ranks for a cluster of them.
    """
    if (ranks is None) != (network is None):
        raise click.UsageError(
            "--ranks and --network go together: how many machines, and what connects them."
        )
    if plot is not None:
        check_can_write(plot, "--plot")
    from schuss.cli._plan_gpu import gpu_of
    from schuss.cli._plan_tables import Outlook

    profile = machine_profile(machine, cores)
    wanted = threads_of(threads, cores, profile)

    def is_given(name: str) -> bool:
        return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE

    what = planned(rows, is_given, threads=wanted, out=None, **options)
    if profile is None:
        from schuss.planner.probe import current

        profile = current(what.settings.threads)
        profile = profile if cores is None else profile.scaled_to(cores)
    if what.settings.isa not in (None, profile.isa):
        rule = f"the profile is of {profile.isa}, got {what.settings.isa}; SCHUSS_ISA sets what is measured here."
        raise click.BadParameter(rule, param_hint="'--isa'")
    if ranks is not None:
        _check_ranks(what.settings)
    gpu = "" if ranks is not None else gpu_of(profile, machine, what.settings.device)
    outlook = Outlook(what, profile, gpu, all_kernels=all_kernels)
    cluster = _cluster(outlook, ranks, network)
    if plot is not None:
        _draw(outlook, cluster, ranks, plot)
    if as_json:
        echo_json(_document(outlook, cluster, ranks, top))
        return
    _echo(outlook, cluster, ranks, top)
    if plot is not None:
        echo_table([("plot", str(plot))])


def _check_ranks(settings: Settings) -> None:
    """Refuse what cannot be had with --ranks."""
    from schuss.plan import Plan

    named = Plan.parse(settings.plan, settings.threads, settings.device, settings.precision)
    if named is not None and named.on_gpu:
        raise click.UsageError("--ranks are planned for CPUs, no GPU can be had with them.")
    if named is not None:
        raise click.UsageError(
            "--plan cannot be had with --ranks: each number of ranks has a best plan of its own."
        )


def _cluster(outlook: Outlook, ranks: int | None, network: str | None) -> Cluster | None:
    """The machines of --ranks."""
    if ranks is None or network is None:
        return None
    from schuss.errors import PlanError
    from schuss.planner.cluster import Cluster
    from schuss.planner.files import load_network

    try:
        between = load_network(network)
    except PlanError as error:
        raise click.BadParameter(f"{error}.", param_hint="'--network'") from error
    return Cluster(outlook.work, outlook.profile, outlook.settings.threads, between)


def _echo(outlook: Outlook, cluster: Cluster | None, ranks: int | None, top: int) -> None:
    head = outlook.head()
    if cluster is None or ranks is None:
        echo_table(head)
        click.echo()
        echo_columns(*outlook.table(top))
        said = [outlook.sentence(), outlook.device_sentence(), outlook.training()]
        click.echo("\n" + "\n".join(line for line in said if line))
        return
    from schuss.cli._plan_ranks import rank_head, rank_sentences, rank_table

    echo_table([*head, *rank_head(cluster)])
    click.echo()
    echo_columns(*rank_table(cluster, ranks))
    click.echo("\n" + "\n".join(rank_sentences(cluster, ranks)))


def _document(outlook: Outlook, cluster: Cluster | None, ranks: int | None, top: int) -> dict[str, Any]:
    document = outlook.document(top)
    if cluster is not None and ranks is not None:
        from schuss.cli._plan_ranks import rank_document

        document["ranks"] = rank_document(cluster, ranks)
    return document


def _draw(outlook: Outlook, cluster: Cluster | None, ranks: int | None, path: Path) -> None:
    from schuss.planner.plots import plot_ranks, plot_threads

    if cluster is not None and ranks is not None:
        plot_ranks(cluster, ranks, path)
    else:
        plot_threads(outlook.by_threads(), outlook.profile, path)
