"""Superset's REST interface as far as the dashboards need it: log in, import, list, delete, ask a chart, roles.

The surprising thing: it logs in as a browser does, with a session, because the one legacy viz type that we use is
asked for its data at an address that takes no token.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

import requests

SECONDS = 120.0
IMPORT_SECONDS = 900.0
"""It is one transaction of everything, and takes a second for every five files on a quiet machine."""
KINDS = ("dashboard", "chart", "dataset", "database")
"""What we import, in the order in which it can be deleted."""
CHANGED = {"database": "changed_on"}


class SupersetError(Exception):
    """What Superset answered instead of what was asked."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Something that stands in Superset."""

    kind: str
    number: int
    uuid: str
    changed: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a chart answered."""

    rows: int
    seconds: float
    error: str | None
    data: tuple[list[dict[str, Any]], ...] = ()
    """Rows of each of its questions, as a browser gets them."""


def _message(response: requests.Response) -> str:
    """The reason in an error's body, whichever of Superset's shapes it has."""
    try:
        body = response.json()
    except ValueError:
        return f"{response.status_code} {response.reason}"
    if not isinstance(body, dict):
        return str(body)
    told = [str(each.get("message")) for each in body.get("errors") or []]
    return "; ".join(told) or str(body.get("message") or body.get("error") or body)


class Superset:
    """A session with one Superset, logged in as a user who may import."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url.rstrip("/") + "/"
        self._session = requests.Session()
        self._session.headers["Referer"] = self._url
        self._log_in(user, password)

    def __enter__(self) -> "Superset":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._session.close()

    def _log_in(self, user: str, password: str) -> None:
        told = self.request(
            "POST", "api/v1/security/login", json={"username": user, "password": password, "provider": "db"}
        )
        bearer = {"Authorization": f"Bearer {told['access_token']}"}
        token = self.request("GET", "api/v1/security/csrf_token/", headers=bearer)["result"]
        form = {"username": user, "password": password, "csrf_token": token}
        answer = self._session.post(urljoin(self._url, "login/"), data=form, timeout=SECONDS, allow_redirects=False)
        if answer.status_code != requests.codes.found:
            raise SupersetError(f"log-in of {user}: {_message(answer)}")
        self._session.headers["X-CSRFToken"] = self.request("GET", "api/v1/security/csrf_token/")["result"]

    def request(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """What an address of the interface answers; raises `SupersetError` where it refuses."""
        answer = self._session.request(method, urljoin(self._url, path), **{"timeout": SECONDS, **more})
        if not answer.ok:
            raise SupersetError(f"{method} {path}: {_message(answer)}")
        return dict(answer.json())

    def import_assets(self, bundle: bytes, passwords: dict[str, str]) -> None:
        """Put everything of the bundle there; what is there already is overwritten."""
        self.request(
            "POST",
            "api/v1/assets/import/",
            files={"bundle": ("bundle.zip", bundle, "application/zip")},
            data={"passwords": json.dumps(passwords)},
            timeout=IMPORT_SECONDS,
        )

    def standing(self, kind: str) -> Iterator[Standing]:
        """Everything of a kind that is there, whoever made it."""
        changed, page = CHANGED.get(kind, "changed_on_utc"), 0
        while True:
            asked = f"(columns:!(id,uuid,{changed}),page:{page},page_size:100)"
            told = self.request("GET", f"api/v1/{kind}/", params={"q": asked})
            for each in told["result"]:
                yield Standing(kind, each["id"], each["uuid"], str(each[changed]))
            page += 1
            if page * 100 >= told["count"]:
                return

    def delete(self, thing: Standing) -> None:
        """Take it away."""
        self.request("DELETE", f"api/v1/{thing.kind}/{thing.number}")

    def ask(self, context: dict[str, Any]) -> Answer:
        """A chart's data by its query context, asked of the database anew; an error is an answer, too."""
        answer = self._asked("api/v1/chart/data", json=context | {"force": True})
        if isinstance(answer, Answer):
            return answer
        results = answer.json()["result"]
        error = next((each["error"] for each in results if each.get("error")), None)
        data = tuple(each.get("data") or [] for each in results)
        return Answer(results[0].get("rowcount") or 0, answer.elapsed.total_seconds(), error, data)

    def ask_legacy(self, form: dict[str, Any]) -> Answer:
        """The data of a chart whose viz type has no query context."""
        answer = self._asked("superset/explore_json/?force=true", data={"form_data": json.dumps(form)})
        if isinstance(answer, Answer):
            return answer
        told = answer.json()
        data = told.get("data") or []
        return Answer(told.get("rowcount") or len(data), answer.elapsed.total_seconds(), told.get("error"), (data,))

    def _asked(self, path: str, **more: Any) -> requests.Response | Answer:
        """What came back, or an answer that says why nothing did."""
        try:
            answer = self._session.post(urljoin(self._url, path), timeout=SECONDS, **more)
        except requests.Timeout:
            return Answer(0, SECONDS, f"no answer within {SECONDS:.0f} seconds")
        return answer if answer.ok else Answer(0, answer.elapsed.total_seconds(), _message(answer))

    def ensure_role(self, name: str) -> int:
        """Number of a role, made if it is not there."""
        for role in self.request("GET", "api/v1/security/roles/", params={"q": "(page_size:100)"})["result"]:
            if role["name"] == name:
                return int(role["id"])
        return int(self.request("POST", "api/v1/security/roles/", json={"name": name})["id"])

    def access_to_database(self, name: str) -> int:
        """Number of the permission to ask every dataset of a database."""
        asked = "(filters:!((col:permission,opr:rel_o_m,value:{})),page_size:1000)"
        permissions = self.request("GET", "api/v1/security/permissions/", params={"q": "(page_size:1000)"})["result"]
        number = next(each["id"] for each in permissions if each["name"] == "database_access")
        found = self.request("GET", "api/v1/security/permissions-resources/", params={"q": asked.format(number)})[
            "result"
        ]
        for each in found:
            if each["view_menu"]["name"].startswith(f"[{name}].(id:"):
                return int(each["id"])
        raise SupersetError(f"expected a permission to read the database {name}, found none: run superset init")

    def viewers(self) -> dict[int, set[int]]:
        """Dashboard -> the roles it names; one that names none is for whoever may read its numbers."""
        told = self.request("GET", "api/v1/dashboard/", params={"q": "(columns:!(id,roles.id),page_size:100)"})
        return {each["id"]: {role["id"] for role in each.get("roles", [])} for each in told["result"]}

    def set_viewers(self, dashboard: int, roles: set[int]) -> None:
        """Exactly these roles."""
        self.request("PUT", f"api/v1/dashboard/{dashboard}", json={"roles": sorted(roles)})

    def permissions(self, role: int) -> set[int]:
        """Numbers of what a role may do."""
        found = self.request("GET", f"api/v1/security/roles/{role}/permissions/")["result"]
        return {int(each["id"]) for each in found}

    def set_permissions(self, role: int, permissions: set[int]) -> None:
        """Exactly these."""
        body = {"permission_view_menu_ids": sorted(permissions)}
        self.request("POST", f"api/v1/security/roles/{role}/permissions", json=body)
