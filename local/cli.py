"""The command line: one function a command, each a few lines over the module that does the work.

Imports of heavy modules stand inside the commands, so that `./weir --help` answers at once.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    name="weir",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Wikiweir: Wikimedia's edit stream, live within seconds and exact an hour later, on this machine.\n\n"
    "State lives in .weir, or where WIKIWEIR_HOME says; a second folder is a second instance beside the first.",
)
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def problems_told() -> Iterator[None]:
    """A problem that its message explains ends the command with that message and code 1, without a traceback."""
    import psycopg2

    from local.instance import InstanceError
    from local.processes import NotReadyError
    from local.toolchain import ToolMissingError

    try:
        yield
    except (InstanceError, NotReadyError, ToolMissingError, psycopg2.OperationalError) as problem:
        errors.print(f"weir: {problem}", markup=False, style="red")
        raise typer.Exit(1) from None


def become(command: Sequence[str | Path], **environment: str) -> NoReturn:
    """Replace this process by another program."""
    sys.stdout.flush()
    arguments = [str(part) for part in command]
    os.execvpe(arguments[0], arguments, {**os.environ, **environment})  # noqa: S606 - fixed programs, no shell


@app.command()
def up(
    live: Annotated[bool, typer.Option("--live", help="Wikimedia itself; needs WIKIWEIR_CONTACT.")] = False,
    since: Annotated[
        str | None, typer.Option(help="With --live or --source: begin in the past, e.g. 24h or 2026-11-23T00:00:00Z.")
    ] = None,
    recording: Annotated[
        list[Path] | None,
        typer.Option(
            help="An NDJSON or SSE capture (may be .gz); shifted so that its newest event is now. Repeatable."
        ),
    ] = None,
    more_recordings: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="More files after --recording.", show_default=False)
    ] = None,
    as_recorded: Annotated[bool, typer.Option(help="With --recording: keep the times of the recording.")] = False,
    source: Annotated[str | None, typer.Option(metavar="URL", help="Another EventStreams server.")] = None,
    seed: Annotated[int | None, typer.Option(help="Which invented events to play (default 1).")] = None,
    history: Annotated[str | None, typer.Option(help="Invented past to play first, e.g. 26h.")] = None,
    rate: Annotated[float | None, typer.Option(help="Replay: events a second (invented: mean of a day).")] = None,
    speed: Annotated[float | None, typer.Option(help="Replay: factor of the true rate.")] = None,
    without: Annotated[
        str, typer.Option(help="Parts to leave out: airflow, superset, replay, producer, stream; by comma.")
    ] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for a part to get healthy.")] = 300.0,
) -> None:
    """Start everything, wait until it is healthy, and say where things are.

    Without options: what this state folder played before; in a new one, invented events of the true shape at the
    true rate, for ever. A state folder keeps to its first source: invented data never mix with real ones.
    """
    with problems_told():
        from local import stack, welcome
        from local.instance import InstanceError
        from local.source import Wish

        if more_recordings and not recording:
            raise InstanceError(f"unexpected {more_recordings[0]}; files follow --recording")
        wish = Wish(
            live=live,
            since=since,
            url=source,
            recordings=(*(recording or ()), *(more_recordings or ())),
            as_recorded=as_recorded,
            seed=seed,
            history=history,
            rate=rate,
            speed=speed,
        )
        report = stack.Report(say=lambda line: console.print(line, markup=False))
        began = report.clock.monotonic()
        left_out = frozenset(filter(None, without.split(",")))
        instance, settings = stack.up(wish, report, without=left_out, seconds=timeout)
        console.print(f"  up after {report.clock.monotonic() - began:.1f} s\n", markup=False)
        welcome.show(console, instance, settings, left_out)


@app.command()
def down() -> None:
    """Stop everything cleanly: Airflow, Superset, stream, producer, replay, Kafka, PostgreSQL."""
    with problems_told():
        from local import stack

        stack.down(stack.Report(say=lambda line: console.print(line, markup=False)))


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False) -> None:
    """State, process, memory and key figure of every part. Exit code 1 unless all of it runs."""
    with problems_told():
        from local import instance
        from local import status as figures
        from wikiweir.settings import load

        found = figures.collect(instance.required(), load())
    if as_json:
        print(json.dumps(found.as_dict(), indent=2, default=str))
    else:
        console.print(f"source: {found.source}\nstate:  {found.home}\n", markup=False)
        table = Table("part", "state", "pid", "MiB (PSS)", "", box=None, pad_edge=False)
        for part in found.components:
            memory = f"{part.memory_mib:,.0f}" if part.memory_mib is not None else ""
            table.add_row(part.name, part.state, str(part.pid or ""), memory, part.figure)
        total = sum(part.memory_mib or 0 for part in found.components)
        table.add_row("", "", "", f"{total:,.0f}", "together")
        console.print(table)
        for complaint in found.database.get("complaints", ()):
            line = "{subject}: {message} (docs/runbooks/{runbook}.md)".format(**complaint)
            console.print(line, style="yellow", markup=False)
    raise typer.Exit(0 if found.is_running else 1)


@app.command()
def doctor() -> None:
    """Check the machine and the instance; every finding says what to do."""
    with problems_told():
        from local import doctor as checks

        findings = checks.examine()
    for finding in findings:
        mark, style = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "bad": ("BAD ", "red")}[finding.grade]
        console.print(mark, style=style, end="  ")
        console.print(f"{finding.subject}: {finding.text}", markup=False)
    raise typer.Exit(1 if any(finding.grade == "bad" for finding in findings) else 0)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A part, as ./weir status names it, or supervisord.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows.")] = False,
    lines: Annotated[int, typer.Option("-n", help="How many lines from the end.")] = 100,
) -> None:
    """Show the log of one part."""
    with problems_told():
        from local import instance

        folder = instance.required().logs
        path = folder / f"{name}.log"
        if not path.exists():
            known = ", ".join(sorted(log.stem for log in folder.glob("*.log"))) or "none yet"
            raise instance.InstanceError(f"expected a log of {name!r} in {folder}, found: {known}")
    become(["tail", "-n", str(lines), *(["-F"] if follow else []), path])


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(
    context: typer.Context,
    role: Annotated[
        str, typer.Option(help="reader, stream, batch, owner, or admin (the server's superuser).")
    ] = "reader",
) -> None:
    """PostgreSQL's own client, logged in; further arguments go to it, e.g. -c 'SELECT …'."""
    with problems_told():
        from local import instance, psql_client
        from wikiweir.settings import load

        instance.required()
        command, environment = psql_client.command(load(), role)
    become([*command, *context.args], **environment)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def submit(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="A job of jobs/, e.g. build_hours; its own --help says what it takes.")],
) -> None:
    """Run a Spark job by hand, e.g. ./weir submit build_hours --hour 2026-11-23T09."""
    with problems_told():
        from local import instance, spark
        from wikiweir.settings import PROJECT, load

        settings, target = load(), instance.required()
        script = PROJECT / "jobs" / f"{job}.py"
        if not script.is_file():
            known = ", ".join(sorted(path.stem for path in script.parent.glob("[a-z]*.py")))
            raise instance.InstanceError(f"expected a job out of {known}; found {job!r}")
        command = [*spark.submit(spark.write_configuration(target, settings), script), *context.args]
    become(command, **spark.environment(settings))


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Yes, delete the data of this instance.")] = False) -> None:
    """Stop everything and delete the instance's data: state folder, and its database and topics elsewhere."""
    with problems_told():
        from local import backup, instance

        target = instance.current()
        if not yes:
            raise instance.InstanceError(f"this deletes everything in {target.home}; say ./weir reset --yes")
        backup.reset(target, lambda line: console.print(line, markup=False))


@app.command()
def backup(folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")]) -> None:
    """Copy a stopped instance: database dumps, Kafka, lake, checkpoints, secrets, with a checksum of each file."""
    with problems_told():
        from local import backup as backups
        from local import instance

        backups.backup(instance.required(), folder, lambda line: console.print(line, markup=False))


@app.command()
def restore(folder: Annotated[Path, typer.Argument(help="A folder made by ./weir backup.")]) -> None:
    """Make an instance from a backup, in an empty state folder, after checking every file of it."""
    with problems_told():
        from local import backup as backups
        from local import instance

        backups.restore(instance.current(), folder, lambda line: console.print(line, markup=False))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(
    context: typer.Context,
    tempo: Annotated[
        str | None,
        typer.Argument(help="checks, unit, spark, contracts, integration; all if none. Or soak, acceptance."),
    ] = None,  # noqa: PT028 - a command, no test function
) -> None:
    """Run the tests of one tempo, or of all; further arguments go to pytest."""
    from local import checks

    raise typer.Exit(checks.run(tempo, context.args, lambda line: console.print(line, markup=False)))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context, name: Annotated[str | None, typer.Argument(help="Which benchmark; none lists them.")] = None
) -> None:
    """Measure: ours, the usual way, a competent baseline and the limit, in one run."""
    become([sys.executable, "-m", "bench", *([name] if name else []), *context.args])


@app.command()
def generate(
    check: Annotated[bool, typer.Option("--check", help="Only say what would change; exit code 1.")] = False,
) -> None:
    """Write the generated files (views, comments, dictionary, datasets) anew from what the code declares."""
    asked = ["--check"] if check else []
    codes = [
        subprocess.run([sys.executable, "-m", module, *asked], check=False).returncode
        for module in ("sql.generate", "dashboards.datasets")
    ]
    raise typer.Exit(next((code for code in codes if code), 0))
