"""From a bare machine to a toolchain: environment, Java, jars; then it becomes `python -m local`.

Standard library only, because nothing else is there yet. Every step is left out when its inputs are as they were
(a stamp holds their hashes), so that a warm start reads a few files and opens no connection; a step that was
interrupted is simply done again. The surprising thing: jars are fetched by the Ivy that lies inside pyspark.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

PROJECT = Path(__file__).resolve().parent.parent
JAR_SETS = ("spark", "kafka")
DEVELOPER_COMMANDS = {"test", "bench", "generate"}
"""These need the tools of requirements/dev.txt as well."""
JAVA_MINIMUM = 17
JAVA_PACKAGES = ("openjdk-17-jre-headless", "openjdk-21-jre-headless", "default-jre-headless")
SYNC = ("pip", "sync", "--require-hashes", "--compile-bytecode")
"""Compiled at once: where PYTHONDONTWRITEBYTECODE is set, as in many containers, each start would compile anew."""
INSTALLED_PYSPARK = "import sys; sys.path[:] = [entry for entry in sys.path if not entry.endswith('/pyspark.zip')]\n"
"""For a `.pth` file. spark-submit puts pyspark as a zip, which cannot keep compiled code, before the installed one.
Both together: `build_hours --help` by spark-submit took 17.7 s, and takes 7.2 s."""


class BootstrapError(RuntimeError):
    """What could not be made, and what to do about it."""


def toolchain_root() -> Path:
    """Where the toolchain is: shared by every instance of this checkout."""
    return Path(os.environ.get("WIKIWEIR_TOOLCHAIN", PROJECT / ".weir" / "toolchain")).absolute()


def say(text: str) -> None:
    """One plain line of progress, on standard error so that `--json` and `psql` stay clean."""
    print(f"weir: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> NoReturn:
    """Make what is missing, then replace this process by the command line proper."""
    root = toolchain_root()
    try:
        ensure(root, with_developer_tools=bool(arguments) and arguments[0] in DEVELOPER_COMMANDS)
    except BootstrapError as problem:
        sys.exit(f"weir: {problem}")
    python = root / "env" / "jobs" / "bin" / "python"
    search = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "WIKIWEIR_TOOLCHAIN": str(root), "PYTHONPATH": search}
    os.execve(python, [str(python), "-m", "local", *arguments], environment)  # noqa: S606 - a fixed program, no shell


def ensure(root: Path, *, with_developer_tools: bool) -> None:
    """Bring environment and jars up to date with their inputs; nothing when the stamp says they are."""
    wanted = inputs(root)
    if satisfied(root, wanted, with_developer_tools=with_developer_tools):
        return
    root.mkdir(parents=True, exist_ok=True)
    began, received = time.monotonic(), bytes_received()
    with locked(root):
        stamp = read_stamp(root)
        environment = wanted["dev"] if with_developer_tools else wanted["jobs"]
        if stamp.get("env") not in {environment, wanted["dev"]}:
            write_stamp(root, {**stamp, "env": None})
            make_environment(root, "jobs", ["jobs.txt", "dev.txt"] if with_developer_tools else ["jobs.txt"])
            write_stamp(root, {**stamp, "env": environment})
        if read_stamp(root).get("jars") != wanted["jars"]:
            make_jars(root, ensure_java())
            write_stamp(root, {**read_stamp(root), "jars": wanted["jars"]})
        if read_stamp(root).get("classes") != wanted["classes"]:
            share_classes(root)
            write_stamp(root, {**read_stamp(root), "classes": wanted["classes"]})
    megabytes = (bytes_received() - received) / 1e6
    amount = f", about {megabytes:.0f} MB received" if received else ""
    say(f"toolchain ready in {time.monotonic() - began:.0f} s{amount} ({root})")


def ensure_application(root: Path, name: str) -> None:
    """The environment of `airflow` or `superset`, up to date; apart from the rest: not everybody runs them here."""
    wanted = digest(made_here(root), PROJECT / "requirements" / f"{name}.txt")
    if read_stamp(root).get(name) == wanted:
        return
    with locked(root):
        if read_stamp(root).get(name) != wanted:
            write_stamp(root, {**read_stamp(root), name: None})
            make_environment(root, name, [f"{name}.txt"])
            write_stamp(root, {**read_stamp(root), name: wanted})


# ---- what is there already


def made_here(root: Path) -> str:
    """What an environment depends on besides its requirements: interpreter, place, and how it is made."""
    return f"{sys.version_info[:2]} {root} {' '.join(SYNC)} {INSTALLED_PYSPARK}"


def inputs(root: Path) -> dict[str, str]:
    """The hash of everything that decides how the environment and the jars look."""
    requirements = PROJECT / "requirements"
    here = made_here(root)
    jobs = digest(here, requirements / "bootstrap.txt", requirements / "jobs.txt")
    jars = [PROJECT / "local" / "jars" / f"{kind}.{suffix}" for kind in JAR_SETS for suffix in ("xml", "sha256")]
    return {
        "jobs": jobs,
        "dev": digest(jobs, requirements / "dev.txt"),
        "jars": digest(here, *jars),
        "classes": digest(jobs, *jars),
    }


def digest(*parts: str | Path) -> str:
    """Hash of texts and of files' contents."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode()
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()


def satisfied(root: Path, wanted: dict[str, str], *, with_developer_tools: bool) -> bool:
    """Whether the stamp says that nothing is to be done."""
    stamp = read_stamp(root)
    environments = {wanted["dev"]} if with_developer_tools else {wanted["jobs"], wanted["dev"]}
    return stamp.get("env") in environments and all(stamp.get(name) == wanted[name] for name in ("jars", "classes"))


def read_stamp(root: Path) -> dict[str, str | None]:
    """What was made last; nothing when there is none, or half a one."""
    try:
        found = json.loads((root / "stamp.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_stamp(root: Path, stamp: dict[str, str | None]) -> None:
    """Replace the stamp whole, never half."""
    draft = root / "stamp.json.new"
    draft.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    draft.replace(root / "stamp.json")


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """One at a time: two instances may start side by side over one toolchain."""
    with (root / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another ./weir is making the toolchain; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def bytes_received() -> int:
    """Bytes this machine received so far over any network but loopback; 0 where that is not told."""
    try:
        lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()[2:]
    except OSError:
        return 0
    fields = [line.split(":", 1) for line in lines]
    return sum(int(numbers.split()[0]) for name, numbers in fields if name.strip() != "lo")


# ---- the Python environment


def make_environment(root: Path, name: str, files: Sequence[str]) -> None:
    """`env/<name>`, exactly as the hash-pinned requirements say."""
    uv = ensure_uv(root)
    folder = root / "env" / name
    python = folder / "bin" / "python"
    say(f"environment {folder} from requirements/{' and '.join(files)}")
    if not python.exists():
        run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], "make the environment")
    pinned = [PROJECT / "requirements" / file for file in files]
    run([uv, *SYNC, "--python", python, *pinned], "install the Python packages")
    for packages in folder.glob("lib/python3.*/site-packages"):
        (packages / "installed_pyspark.pth").write_text(INSTALLED_PYSPARK, encoding="ascii")


def ensure_uv(root: Path) -> Path:
    """The installer, itself pinned by hash, in a small environment of its own."""
    folder = root / "env" / "bootstrap"
    uv = folder / "bin" / "uv"
    pinned = PROJECT / "requirements" / "bootstrap.txt"
    mark = folder / "installed.sha256"
    if uv.exists() and mark.exists() and mark.read_text(encoding="ascii") == digest(pinned):
        return uv
    say("installer uv from requirements/bootstrap.txt")
    try:
        import ensurepip  # noqa: F401 - Debian splits it off; without it there is no venv
    except ImportError:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        apt_install([package], f"Python's venv module is missing ({package})")
    run([sys.executable, "-m", "venv", "--clear", folder], "make the bootstrap environment")
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "-r", pinned], "install uv")
    mark.write_text(digest(pinned), encoding="ascii")
    return uv


# ---- Java and the jars


def find_java() -> Path | None:
    """The first `java` that is new enough: JAVA_HOME's, the PATH's, then whatever lies in /usr/lib/jvm."""
    homes = [os.environ.get("WIKIWEIR_JAVA_HOME"), os.environ.get("JAVA_HOME")]
    on_path = shutil.which("java")
    candidates = [Path(home) / "bin" / "java" for home in homes if home]
    candidates += [Path(on_path)] if on_path else []
    candidates += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    return next((java for java in candidates if java.exists() and java_version(java) >= JAVA_MINIMUM), None)


def java_version(java: Path) -> int:
    """Major version of a `java`; 0 when it does not run."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    quoted = done.stderr.partition('"')[2].partition('"')[0]
    major = quoted.removeprefix("1.").split(".")[0].split("-")[0]
    return int(major) if major.isdigit() else 0


def ensure_java() -> Path:
    """Java 17 or newer, by apt where we are root."""
    java = find_java()
    if java is None:
        apt_install(JAVA_PACKAGES, f"Java {JAVA_MINIMUM} or newer is missing", any_of_them=True)
        java = find_java()
    if java is None:
        raise BootstrapError(f"expected Java {JAVA_MINIMUM} or newer after installing it, found none; set JAVA_HOME")
    return java


def make_jars(root: Path, java: Path) -> None:
    """Fetch both sets at once, check every file against its sha256, and put them in place."""
    packages = sorted((root / "env" / "jobs" / "lib").glob("python3.*/site-packages/pyspark/jars"))
    ivy = sorted(packages[0].glob("ivy-*.jar")) if packages else []
    if not ivy:
        raise BootstrapError(f"expected Ivy inside pyspark under {root / 'env' / 'jobs'}; delete {root / 'stamp.json'}")
    todo = [kind for kind in JAR_SETS if not verified(root / "jars" / kind, pinned_jars(kind))]
    running = {kind: _start_ivy(root, kind, java, ivy[0]) for kind in todo}
    for kind, (process, log) in running.items():
        code = process.wait()
        fetched, pinned = root / "fetch" / kind / "jars", pinned_jars(kind)
        wrong = [name for name in pinned if _sha256(fetched / name) != pinned[name]]
        if wrong:
            end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
            raise BootstrapError(
                f"expected {len(pinned)} jars as in local/jars/{kind}.sha256, {len(wrong)} are missing or differ "
                f"({', '.join(wrong[:5])}); Ivy ended with {code}. Run it again once the network is back. "
                f"{log} ends:\n{end}"
            )
        target = root / "jars" / kind
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in pinned:
            (fetched / name).rename(target / name)
        shutil.rmtree(root / "fetch" / kind)
        say(f"{len(pinned)} {kind} jars, checksums right")


def _start_ivy(root: Path, kind: str, java: Path, ivy: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Ivy in the background with a cache of its own, kept until its jars are in place."""
    folder = root / "fetch" / kind
    folder.mkdir(parents=True, exist_ok=True)
    say(f"fetching {len(pinned_jars(kind))} {kind} jars")
    log = folder / "ivy.log"
    command: list[str | Path] = [java, "-jar", ivy, "-cache", folder / "cache"]
    command += ["-ivy", PROJECT / "local" / "jars" / f"{kind}.xml", "-confs", "default", "-types", "jar", "bundle"]
    command += ["-retrieve", f"{folder}/jars/[artifact]-[revision].[ext]"]
    with log.open("wb") as sink:
        return subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL), log


def pinned_jars(kind: str) -> dict[str, str]:
    """File name -> sha256, as committed."""
    lines = (PROJECT / "local" / "jars" / f"{kind}.sha256").read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def verified(folder: Path, pinned: dict[str, str]) -> bool:
    """Whether the folder holds exactly the pinned files."""
    return {path.name: _sha256(path) for path in folder.glob("*.jar")} == pinned


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


def share_classes(root: Path) -> None:
    """Put Spark's classes into one file that each start maps; without it everything works, only starts are slower."""
    say("preparing Spark's classes for faster starts (once, half a minute or more)")
    python = root / "env" / "jobs" / "bin" / "python"
    environment = {**os.environ, "WIKIWEIR_TOOLCHAIN": str(root), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([python, "-m", "local.share_classes"], env=environment, check=False, stdout=sys.stderr)
    if done.returncode != 0:
        say("that did not work; starts of Spark will take some seconds longer")


# ---- running things


def apt_install(packages: Sequence[str], reason: str, *, any_of_them: bool = False) -> None:
    """Install where we are root and there is apt; else say the command."""
    apt = shutil.which("apt-get")
    by_hand = f"sudo apt-get install {' '.join(packages[:1] if any_of_them else packages)}"
    if os.geteuid() != 0 or apt is None:
        raise BootstrapError(f"{reason}; install it ({by_hand}) and run ./weir again")
    say(f"{reason}; {by_hand}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([apt, "-qq", "update"], env=quiet, check=False, stdout=sys.stderr)
    for choice in [[package] for package in packages] if any_of_them else [list(packages)]:
        install = [apt, "-qq", "-y", "--no-install-recommends", "install", *choice]
        if subprocess.run(install, env=quiet, check=False, stdout=sys.stderr).returncode == 0:
            return
    raise BootstrapError(f"{reason}, and apt-get could not install it; try it by hand: {by_hand}")


def run(command: Sequence[object], purpose: str) -> None:
    """Run to the end with its output shown; what failed, and that another run goes on from there."""
    if subprocess.run([str(part) for part in command], check=False, stdout=sys.stderr).returncode != 0:
        shown = " ".join(str(part) for part in command)
        raise BootstrapError(
            f"could not {purpose}; the command was\n  {shown}\nRun ./weir again: it goes on from here."
        )
