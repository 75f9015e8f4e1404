"""A server that replays a case with a live service behind it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from jay_tracking_client.messages import SESSION_PATH, Answer, Request

from tests.clients.conformance import BROKEN, CONTENT, Script, presented_ids

PASSED_ON = ("session-not-found", "session-already-ended", "invalid-request", "ended", "found", "found-one-of-two")
DROPPED = {"host", "connection", "content-length", "x-api-key"}
TIMEOUT_SECONDS = 10


class LiveScript(Script):
    """Passes requests on to a live service, and answers with the failures of the case.

    The service makes its own ids, so `ids` has the id of the service for each id of the
    case.
    """

    def __init__(self, url: str, api_key: str, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.ids: dict[str, str] = {}
        self._address = urlsplit(url).netloc
        self._headers = {"x-api-key": api_key, **headers}
        self._bodies: dict[str, dict[str, Any]] = {}

    def stored_id(self, case_id: str | None) -> str | None:
        """Return the id of a live session for an id of the case."""
        if case_id is None:
            return None
        if case_id == CONTENT["requests"]["get"]["presents"] and case_id not in self.ids:
            self._learn(case_id, self._send("POST", SESSION_PATH))
        return self.ids.get(case_id, case_id)

    def session(self, name: str) -> dict[str, Any]:
        """Return a session of the case, with the fields that the service chose."""
        expected = CONTENT["sessions"][name]
        body = self._bodies[self.ids[expected["id"]]]
        assert body.get("user_id") == expected["user_id"]
        return {"user_id": None, **body}

    def answer(self, request: Request) -> Answer | None:
        headers = {name: self.in_case(value) for name, value in request.headers.items()}
        body = request.body and self.in_case(request.body.decode()).encode()
        self.requests.append(replace(request, headers=headers, body=body))
        return self._answer(request, self.responses.pop(0))

    def in_case(self, text: str) -> str:
        """Return a string with the ids of the case in place of those of the service."""
        for case_id, live_id in self.ids.items():
            text = text.replace(live_id, case_id)
        return text

    def _scripted(self, request: Request, name: str) -> Answer | None:
        answer = super()._answer(request, name)
        for case_id, live_id in self.ids.items() if answer else ():
            answer = answer and Answer(
                answer.status, answer.headers, answer.body.replace(case_id.encode(), live_id.encode())
            )
        return answer

    def _answer(self, request: Request, name: str) -> Answer | None:
        if name == BROKEN:
            # The service gets the request, and its answer is lost.
            self._pass_on(request)
            return None
        body = CONTENT["responses"][name].get("body")
        if name not in PASSED_ON and "session_id" not in (body or ()):
            return self._scripted(request, name)
        if name == "session-not-found":
            self._end_sessions(*presented_ids(request))
        if name == "session-already-ended":
            self._end_sessions(json.loads(self._pass_on(request).body).get("session_id", ""))
        answer = self._pass_on(request)
        assert answer.status == CONTENT["responses"][name]["status"], name
        if body:
            assert json.loads(answer.body).keys() == body.keys(), name
        if "session_id" in (body or ()):
            self._learn(body["session_id"], answer)
        return answer

    def _learn(self, case_id: str, answer: Answer) -> None:
        body = json.loads(answer.body)
        assert self.ids.setdefault(case_id, body["session_id"]) == body["session_id"]
        self._bodies[body["session_id"]] = body

    def _end_sessions(self, *session_ids: str) -> None:
        for session_id in session_ids:
            self._send("DELETE", SESSION_PATH, {"x-jay-tracking": session_id})

    def _pass_on(self, request: Request) -> Answer:
        headers = {name: value for name, value in request.headers.items() if name not in DROPPED}
        return self._send(request.method, request.path, headers, request.body)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        connection = HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        connection.request(method, path, body or None, {**(headers or {}), **self._headers})
        response = connection.getresponse()
        kept = ("content-type", "date", "retry-after", "x-jay-session-expires")
        answered = {name.lower(): value for name, value in response.getheaders() if name.lower() in kept}
        answer = Answer(response.status, answered, response.read())
        connection.close()
        return answer
