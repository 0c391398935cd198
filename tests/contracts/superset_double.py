"""A Superset in memory, as far as `dashboards.client` is asked: what is imported stands there until it is deleted.

Superset is not ours, so a double may speak for it; what the real one answers is asked in tests/integration.
"""

import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from dashboards.client import Answer, Standing, Superset

KINDS = {"charts": "chart", "dashboards": "dashboard", "datasets": "dataset", "databases": "database"}


class Double(Superset):
    """Answers what it was told to."""

    def __init__(self, broken: dict[int, str] | None = None) -> None:
        self.things: dict[str, Standing] = {}
        self.imports = 0
        self.broken = broken or {}
        self.roles: dict[str, set[int]] = {"Public": set()}
        self.seen_by: dict[int, set[int]] = {}
        self.asked: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)

    def touch(self, kind: str, uuid: str) -> None:
        """Made or changed, by whomever."""
        number = self.things[uuid].number if uuid in self.things else next(self._numbers)
        self.things[uuid] = Standing(kind, number, uuid, str(next(self._numbers)))

    def import_assets(self, bundle: bytes, passwords: dict[str, str]) -> None:
        self.imports += 1
        with zipfile.ZipFile(io.BytesIO(bundle)) as packed:
            for name in packed.namelist():
                kind = KINDS.get(name.split("/")[1])
                if kind:
                    self.touch(kind, json.loads(packed.read(name))["uuid"])

    def standing(self, kind: str) -> Iterator[Standing]:
        yield from [thing for thing in self.things.values() if thing.kind == kind]

    def delete(self, thing: Standing) -> None:
        del self.things[thing.uuid]

    def ask(self, context: dict[str, Any]) -> Answer:
        self.asked.append(context)
        return Answer(1, 0.1, self.broken.get(context["form_data"]["slice_id"]))

    def ask_legacy(self, form: dict[str, Any]) -> Answer:
        return Answer(1, 0.1, None)

    def ensure_role(self, name: str) -> int:
        self.roles.setdefault(name, set())
        return list(self.roles).index(name)

    def access_to_database(self, name: str) -> int:
        return 7

    def permissions(self, role: int) -> set[int]:
        return set(list(self.roles.values())[role])

    def set_permissions(self, role: int, permissions: set[int]) -> None:
        self.roles[list(self.roles)[role]] = permissions

    def viewers(self) -> dict[int, set[int]]:
        return {thing.number: self.seen_by.get(thing.number, set()) for thing in self.standing("dashboard")}

    def set_viewers(self, dashboard: int, roles: set[int]) -> None:
        self.seen_by[dashboard] = roles
