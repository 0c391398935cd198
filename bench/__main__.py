"""`python -m bench NAME`, which is what `./weir bench NAME` runs."""

import sys
from typing import Annotated

import typer

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Benchmarks: ours, the usual way, a competent baseline and the limit, in one run.\n\n"
    "Each starts a real Kafka and PostgreSQL of its own in a temporary folder; an instance that runs beside it would "
    "spoil the figures: [bold]./weir down[/] first. Answers are checked equal before a time counts, variants take "
    "turns, medians are told. A full run writes [bold]bench/results/NAME.json[/], which is committed; "
    "[bold]--quick[/] is a small run that only shows that all of it works, and writes into the state folder.\n\n"
    "[dim]./weir bench ingest --quick      ./weir bench stream      ./weir bench freshness --minutes 2[/]",
)

Quick = Annotated[bool, typer.Option("--quick", help="Small and short: figures mean little, answers are checked.")]


@app.command()
def ingest(
    events: Annotated[int, typer.Option(min=1000, help="Events of one run.")] = 60_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each variant runs.")] = 3,
    quick: Quick = False,
) -> None:
    """Socket → acknowledged by Kafka: ours, the usual way with and without crc32c, framing only. About 3 min."""
    from bench import ingest as bench

    bench.run(count=5_000 if quick else events, rounds=1 if quick else rounds, is_quick=quick)


@app.command()
def stream(
    rounds: Annotated[int, typer.Option(min=1, help="How often each variant runs, each time in a new driver.")] = 3,
    quick: Quick = False,
) -> None:
    """Micro-batches of 5,000 and 100,000 events, Kafka → PostgreSQL: our sink, two baselines, DuckDB. About 30 min."""
    from bench import stream as bench

    bench.run(plans=bench.QUICK if quick else bench.PLANS, rounds=1 if quick else rounds, is_quick=quick)


@app.command()
def batch(
    events: Annotated[int, typer.Option(min=1000, help="Events of an hour.")] = 130_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each variant runs, each time in a new driver.")] = 3,
    quick: Quick = False,
) -> None:
    """One hour, bronze → PostgreSQL: our job, the usual way, DuckDB; what compaction costs and gives. About 15 min."""
    from bench import batch as bench
    from bench.lib_batch_hour import QUICK, Size

    bench.run(size=QUICK if quick else Size(events=events), rounds=1 if quick else rounds, is_quick=quick)


@app.command()
def hour(
    rounds: Annotated[int, typer.Option(min=1, help="How often the hour is built.")] = 3,
    rate: Annotated[float, typer.Option(min=1, help="Events a second, before and meanwhile.")] = 40,
    quick: Quick = False,
) -> None:
    """An hour by Airflow, ready → published, with freshness and memory meanwhile: a whole stack. About 15 min."""
    from bench import hour as bench

    bench.run(rounds=1 if quick else rounds, rate=rate, is_quick=quick)


@app.command()
def freshness(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long each rate is measured.")] = 10,
    rates: Annotated[str, typer.Option(help="Events a second, by comma.")] = "40,400,2000",
    quick: Quick = False,
) -> None:
    """Sent by the source → visible to a reader, lake query running. Three whole stacks, about 12 min each."""
    from bench import freshness as bench

    wanted = tuple(float(rate) for rate in rates.split(","))
    bench.run(minutes=0.5 if quick else minutes, rates=wanted, is_quick=quick)


@app.command()
def memory(
    minutes: Annotated[float, typer.Option(min=0, help="Load before the first sample.")] = 5,
    rate: Annotated[float, typer.Option(min=1, help="Events a second of that load.")] = 400,
    running: Annotated[bool, typer.Option("--running", help="The instance that runs now, not one of its own.")] = False,
    quick: Quick = False,
) -> None:
    """PSS of every process of a whole stack, warm after load. About 8 min."""
    from bench import memory as bench

    bench.run(minutes=0.5 if quick else minutes, rate=rate, running=running, is_quick=quick)


@app.command()
def dashboards(
    days: Annotated[int, typer.Option(min=1, help="Days of rollups, at true volume.")] = 31,
    rounds: Annotated[int, typer.Option(min=1, help="How often each tile's SQL runs.")] = 20,
    running: Annotated[bool, typer.Option("--running", help="The instance that runs now, as it is filled.")] = False,
    quick: Quick = False,
) -> None:
    """Every tile: its SQL, Superset cold, ten viewers; against raw events. About 40 min, 40 GB of disk."""
    from dataclasses import replace

    from bench import dashboards as bench

    size = bench.QUICK if quick else replace(bench.Size(), days=days, rounds=rounds)
    bench.run(size=size, is_running=running, is_quick=quick)


@app.command(name="all")
def everything(quick: Quick = False) -> None:
    """All of them, one after another. About 3 hours; with --quick about 25 min."""
    ingest(quick=quick)
    stream(quick=quick)
    batch(quick=quick)
    hour(quick=quick)
    freshness(quick=quick)
    memory(quick=quick)
    dashboards(quick=quick)


def main() -> None:
    """Run; a problem that its message explains ends with that message, not with a traceback."""
    from bench.lib_result import UnequalAnswersError, console
    from dashboards.client import SupersetError
    from local.instance import InstanceError
    from local.processes import NotReadyError
    from local.toolchain import ToolMissingError

    try:
        app(prog_name="./weir bench")
    except (UnequalAnswersError, SupersetError, InstanceError, NotReadyError, ToolMissingError) as problem:
        console.print(f"bench: {problem}", markup=False, style="red")
        sys.exit(1)


if __name__ == "__main__":
    main()
