"""Replays a case for a client of a visit with the program of its language."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from jay_tracking_client.testing.fake_server import serving

from tests.clients.conformance import BROKEN, CONTENT, Script, check_request
from tests.clients.conftest import GPC_KEY, LIVE_KEY
from tests.clients.live_script import LiveScript
from tests.clients.visit_programs import Language, Program

SECRETS = {session["id"] for session in CONTENT["sessions"].values()} | {"user-123456", LIVE_KEY, GPC_KEY}


class ScriptOfVisit(Script):
    """A script with the sessions that a client returns."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[str, str] = {}

    def stored_id(self, case_id: str | None) -> str | None:
        return case_id

    def session(self, name: str) -> dict[str, Any]:
        session = CONTENT["sessions"][name]
        start_time = session["started_at"].removesuffix("Z")
        fields = {name: session[name] for name in ("source", "user_id")}
        return {"session_id": session["id"], "start_time": start_time, **fields}


Server = ScriptOfVisit | LiveScript


@contextmanager
def server_of(case: Mapping[str, Any], live_url: str | None) -> Iterator[Server]:
    """Serve a case, with the live service behind it if there is a URL."""
    server: Server = ScriptOfVisit()
    if live_url:
        drops = case.get("service_drops_user_ids", False)
        key, headers = (GPC_KEY, {"sec-gpc": "1"}) if drops else (LIVE_KEY, {})
        server = LiveScript(live_url, key, headers)
    with serving(server):
        yield server


def check_keys(sent: list[str], expected: str | None, before: list[str]) -> None:
    """Compare the idempotency keys of a call with each other and with those before."""
    assert len(set(sent)) <= (2 if expected == "two" else 1)
    if expected == "two":
        assert len(set(sent)) == 2
    if expected == "same":
        assert sent[0] == before[-1]
    if expected == "new":
        assert sent[0] not in before


class Replay:
    """Makes the calls of one case, and compares what happens with the case."""

    def __init__(self, language: Language, program: Program, server: Server) -> None:
        self._language = language
        self._program = program
        self._server = server
        self._keys: list[str] = []

    def start(self, case: Mapping[str, Any]) -> None:
        time = datetime.fromisoformat(case.get("client_time", "2023-01-15T14:30:24Z"))
        self._program.call(
            "start",
            url=self._server.url,
            key=self._server.api_key,
            own_origin=self._server.url,
            stored_id=self._server.stored_id(case.get("stored_id")),
            time_seconds=time.timestamp(),
            global_privacy_control=case.get("global_privacy_control", False),
            fails=case.get("fails"),
        )

    def step(self, step: Mapping[str, Any]) -> None:
        if "restart" in step:
            self._program.call("restart")
        elif "tab" in step:
            self._program.call("tab", number=step["tab"])
        elif "advance_seconds" in step:
            self._program.call("advance", seconds=step["advance_seconds"])
        else:
            self._call(step)

    def _call(self, step: Mapping[str, Any]) -> None:
        exchanges = self._exchanges(step)
        self._server.expect(exchanges)
        values = dict(step.get("arguments", {}))
        if step["call"] == "fetch":
            host = {"own": "127.0.0.1", "foreign": "localhost"}[values.pop("origin")]
            values["url"] = self._server.url.replace("127.0.0.1", host) + "/movies"
        times = step.get("times", 1)
        reply = self._program.call(step["call"], times=times, **values)
        self._check_requests(step, exchanges)
        self._check_pauses(step, reply["pauses"])
        self._check_reports(step, reply["reports"])
        assert [self._shown(result) for result in reply["results"]] == [self._expected(step["returns"])] * times
        if "stored_id" in step:
            assert reply["stored_id"] == self._server.stored_id(step["stored_id"])

    def _exchanges(self, step: Mapping[str, Any]) -> list[list[str]]:
        times_broken = self._language.requests_when_broken
        return [one for one in step["exchanges"] for _ in range(times_broken if one[1] == BROKEN else 1)]

    def _check_requests(self, step: Mapping[str, Any], exchanges: list[list[str]]) -> None:
        assert len(self._server.requests) == len(exchanges)
        keys: list[str] = []
        for actual, (name, _) in zip(self._server.requests, exchanges, strict=True):
            check_request(actual, CONTENT["requests"][name], keys)
        check_keys(keys, step.get("keys"), self._keys)
        self._keys += keys

    def _check_pauses(self, step: Mapping[str, Any], pauses: list[float]) -> None:
        bounds = step.get("pauses", [])
        assert len(pauses) == len(bounds), pauses
        assert all(least <= pause <= most for pause, (least, most) in zip(pauses, bounds, strict=True)), pauses

    def _check_reports(self, step: Mapping[str, Any], reports: list[Mapping[str, str]]) -> None:
        assert [report["kind"] for report in reports] == step.get("reports", [])
        secrets = {*SECRETS, *self._server.ids, *self._server.ids.values()}
        for report in reports:
            assert not any(secret in report["message"] for secret in secrets)

    def _expected(self, returns: Any) -> Any:
        return self._server.session(returns["session"]) if isinstance(returns, dict) else returns

    def _shown(self, result: Any) -> Any:
        return {"user_id": None, **result} if isinstance(result, dict) else result
