"""Whatever can be reported has a page that says what to do, and there is no page of anything else."""

import re

from wikiweir.settings import PROJECT

RUNBOOKS = {path.stem for path in (PROJECT / "docs" / "runbooks").glob("*.md")}


def reported() -> set[str]:
    """What `ops.complaints()` names by itself, and the kinds of incidents that the jobs open."""
    functions = (PROJECT / "sql" / "functions.sql").read_text(encoding="utf-8")
    body = functions[functions.index("FUNCTION ops.complaints") :]
    found = set(re.findall(r"SELECT\s+'([a-z_]+)'", body[: body.index("$$;")]))
    for path in (PROJECT / "jobs").rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'INCIDENT = "([a-z_]+)"', code))
        found |= set(re.findall(r'(?:open_incident\(\s*cursor, |Incident\("[a-z]+", )"([a-z_]+)"', code))
    return found


def test_every_complaint_has_a_runbook_and_every_runbook_a_complaint() -> None:
    assert reported() == RUNBOOKS
    assert len(RUNBOOKS) > 5


def test_a_runbook_says_when_it_is_over_or_who_closes_it() -> None:
    for name in RUNBOOKS:
        text = (PROJECT / "docs" / "runbooks" / f"{name}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {name}: ")
        assert "Over when" in text or "UPDATE ops.incidents" in text, name
