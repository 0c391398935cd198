"""Where an instance's events come from, and that it stays so: invented data never mix with real ones.

From the options of `up` comes a *source id*; the state folder is bound to the first one. The surprising thing:
how fast a recording is played may change at every start, but the rate of invented events is part of what they are.
"""

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from local import ports
from local.instance import Instance, InstanceError

LIVE_URL = "https://stream.wikimedia.org"
REPLAY_LOG = "WIKIWEIR_LOCAL_REPLAY_LOG"
"""Arguments of the replay server that say what its log holds; they never change."""
REPLAY_PACE = "WIKIWEIR_LOCAL_REPLAY_PACE"
"""Arguments that say how fast it is played."""
HISTORY = "WIKIWEIR_LOCAL_HISTORY"
RATE = "WIKIWEIR_LOCAL_RATE"
TRUE_RATE = 37.0
"""Events a second that Wikimedia sends, on the mean of a day."""
DEFAULT_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The options of `./weir up` that say what to play. All at their defaults: go on as before."""

    live: bool = False
    since: str | None = None
    url: str | None = None
    recordings: tuple[Path, ...] = ()
    as_recorded: bool = False
    seed: int | None = None
    history: str | None = None
    rate: float | None = None
    speed: float | None = None

    @property
    def names_source(self) -> bool:
        return self.live or self.url is not None or bool(self.recordings) or self.seed is not None

    def check(self) -> None:
        """Options that contradict each other."""
        if sum((self.live, self.url is not None, bool(self.recordings), self.seed is not None)) > 1:
            raise InstanceError("--live, --source, --recording and --seed name different sources; give one of them")
        if self.since and not (self.live or self.url):
            raise InstanceError("--since goes with --live or --source; the replay server's past is --history")
        if self.as_recorded and not self.recordings:
            raise InstanceError("--as-recorded goes with --recording FILE")
        if self.history is not None:
            if self.live or self.url or self.recordings:
                raise InstanceError("--history is the past of invented events; --live and --source take --since")
            duration_seconds(self.history)
        if self.rate is not None and self.speed is not None:
            raise InstanceError("--rate (events a second) and --speed (a factor of the true rate) exclude each other")
        missing = [str(path) for path in self.recordings if not path.is_file()]
        if missing:
            raise InstanceError(f"expected recordings, found no such file: {', '.join(missing)}")


def source_id(wish: Wish) -> str:
    """The name of what is played: equal names, equal data."""
    if wish.live:
        return "live"
    if wish.url:
        return f"url:{wish.url.rstrip('/')}"
    if wish.recordings:
        total = hashlib.sha256()
        for digest in sorted(_file_hash(path) for path in wish.recordings):
            total.update(digest)
        times = "as-recorded" if wish.as_recorded else "shifted"
        return f"recording:{times}:{len(wish.recordings)}-files:{total.hexdigest()[:16]}"
    return f"synthetic:{DEFAULT_SEED if wish.seed is None else wish.seed}"


def is_live(source: str) -> bool:
    """Whether these are the events of now from Wikimedia itself; everything else must say so wherever it is shown."""
    return source == "live"


def describe(source: str) -> str:
    """The source in words a reader understands."""
    if is_live(source):
        return "Wikimedia EventStreams, live"
    kind = source.partition(":")[0]
    words = {"url": "another server, not live", "recording": "a recording, not live", "synthetic": "invented, not live"}
    return f"{source} ({words.get(kind, 'not live')})"


def needs_replay(source: str) -> bool:
    """Whether the replay server plays it."""
    return source.startswith(("recording:", "synthetic:"))


def judge(instance: Instance, wish: Wish, *, contact: str | None) -> str:
    """The source id that a start with this wish would play; refused when the state folder is bound to another."""
    wish.check()
    bound = instance.values.get("WIKIWEIR_SOURCE_ID")
    wished = source_id(wish) if wish.names_source or bound is None else bound
    if bound is not None and wished != bound:
        raise InstanceError(
            f"{instance.home} holds data of {bound!r}, and {wished!r} was asked for; they must not mix.\n"
            f"  another state folder beside it:  WIKIWEIR_HOME=DIR ./weir up …\n"
            f"  delete what is there:            ./weir reset --yes, then ./weir up …\n"
            f"  go on with what is there:        ./weir up"
        )
    if is_live(wished) and not (contact or instance.values.get("WIKIWEIR_CONTACT")):
        raise InstanceError(
            "--live needs WIKIWEIR_CONTACT (a URL or e-mail address, in the environment or in .env): "
            "Wikimedia's User-Agent policy asks for it"
        )
    if bound is not None and wish.history not in (None, instance.values.get(HISTORY)):
        raise InstanceError("--history belongs to the first start of a state folder: what was played is played")
    bound_rate = instance.values.get(RATE)
    if bound_rate is not None and wish.rate is not None and f"{wish.rate:g}" != bound_rate:
        raise InstanceError(
            f"the invented events of {instance.home} come at {bound_rate} a second; --rate cannot change it"
        )
    if (wish.rate is not None or wish.speed is not None) and not needs_replay(wished):
        raise InstanceError(f"--rate and --speed pace the replay server, which does not play {wished!r}")
    return wished


def bind(instance: Instance, wish: Wish, *, contact: str | None, now_ms: int) -> str:
    """Bind a new state folder to the wished source, or go on with the one it has; its source id."""
    wished = judge(instance, wish, contact=contact)
    changes: dict[str, str | None] = {"WIKIWEIR_SOURCE_ID": wished}
    if "WIKIWEIR_SOURCE_ID" not in instance.values:
        changes.update(_first_binding(instance, wish, now_ms))
    if is_live(wished) and contact:
        changes["WIKIWEIR_CONTACT"] = contact
    if wish.speed is not None:
        changes[REPLAY_PACE] = shlex.join(["--speed", f"{wish.speed:g}"])
    elif wish.rate is not None and wished.startswith("recording:"):
        changes[REPLAY_PACE] = shlex.join(["--rate", f"{wish.rate:g}"])
    instance.update(**changes)
    return wished


def _first_binding(instance: Instance, wish: Wish, now_ms: int) -> dict[str, str | None]:
    """What is decided once: the address, where it begins, what the replay server holds."""
    if wish.live or wish.url:
        return {
            "WIKIWEIR_SOURCE_URL": wish.url or LIVE_URL,
            "WIKIWEIR_SINCE": wish.since and since_value(wish.since, now_ms),
        }
    rate = f"{wish.rate or TRUE_RATE:g}"
    if wish.recordings:
        since = 0
        log = ["--as-recorded"] if wish.as_recorded else []
        log += ["--recording", *(str(path.resolve()) for path in wish.recordings)]
    else:
        history_seconds = duration_seconds(wish.history or "0s")
        since = now_ms - history_seconds * 1000
        log = ["--seed", str(DEFAULT_SEED if wish.seed is None else wish.seed), "--rate", rate]
        log += ["--epoch-ms", str(since), "--history", f"{history_seconds}s"]
    return {
        "WIKIWEIR_SOURCE_URL": f"http://{ports.LOOPBACK}:{instance.values['WIKIWEIR_REPLAY_PORT']}",
        "WIKIWEIR_SINCE": str(since),
        HISTORY: wish.history,
        RATE: None if wish.recordings else rate,
        REPLAY_LOG: shlex.join(log),
    }


def replay_arguments(instance: Instance) -> list[str]:
    """The replay server's whole argument list."""
    values = instance.values
    port = ["--port", values["WIKIWEIR_REPLAY_PORT"], "--state", str(instance.home / "replay" / "state.json")]
    return [*port, *shlex.split(values.get(REPLAY_LOG, "")), *shlex.split(values.get(REPLAY_PACE, ""))]


def duration_seconds(text: str) -> int:
    """`90s`, `10m`, `26h`, `2d` in seconds."""
    match = re.fullmatch(r"(\d+)([smhd])", text.strip())
    if match is None:
        raise InstanceError(f"expected a duration such as 90s, 10m, 26h or 2d, found {text!r}")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def since_value(text: str, now_ms: int) -> str:
    """`--since` as the producer takes it: a duration is counted back from now, anything else is a time."""
    if re.fullmatch(r"\d+[smhd]", text):
        return str(now_ms - duration_seconds(text) * 1000)
    return text


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").digest()
