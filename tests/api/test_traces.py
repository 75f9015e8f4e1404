import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from service.config.settings import DEVELOPMENT_USER_SECRET, RedisSettings
from service.config.telemetry_settings import TracingSettings
from service.digests import SessionRefs
from service.storage import risk_log
from service.telemetry import tracing
from tests.api.conftest import KEY, ORIGIN, PATH, TOKEN, Service, Start
from tests.support.servers import free_port

TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
SPAN_ID = 0x00F067AA0BA902B7
TRACEPARENT = f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-01"
USER_PATH = "/v1/playouts/tracking/users"


@dataclasses.dataclass
class Traced:
    """A service with traces, and the spans that it made."""

    service: Service
    exporter: InMemorySpanExporter

    async def spans(self, count: int, kind: SpanKind = SpanKind.SERVER) -> list[ReadableSpan]:
        """Return the spans of a kind once there are `count`.

        Fails when there are more, or not so many in time.
        """
        deadline = time.monotonic() + 10
        while True:
            found = [span for span in self.exporter.get_finished_spans() if span.kind is kind]
            if len(found) >= count:
                assert len(found) == count
                return found
            assert time.monotonic() < deadline, [span.name for span in found]
            await asyncio.sleep(0.01)


StartTraced = Callable[..., Awaitable[Traced]]


@pytest.fixture
def start_traced(start: Start, monkeypatch: pytest.MonkeyPatch) -> StartTraced:
    """Start services whose spans stay in this process.

    `sample_ratio=` is 1 by default.
    """
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "5")

    async def start_one(sample_ratio: float = 1.0, *, session_ref: bool = False, **more: object) -> Traced:
        exporter = InMemorySpanExporter()
        monkeypatch.setattr(tracing, "CollectorExporter", lambda _: exporter)
        settings = TracingSettings(
            otlp_endpoint="http://127.0.0.1:1", sample_ratio=sample_ratio, session_ref=session_ref
        )
        return Traced(await start(tracing=settings, **more), exporter)

    return start_one


@pytest.fixture
async def traced(start_traced: StartTraced) -> Traced:
    """Return a service that traces every request."""
    return await start_traced()


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


async def test_spans_may_have_the_ref_of_their_session(start_traced: StartTraced) -> None:
    """With the setting, a span has the session's ref as `session.id`, if it has one."""
    traced = await start_traced(session_ref=True)
    session_id = await traced.service.create()
    for method in ("GET", "DELETE", "DELETE"):
        await traced.service.request(method, headers={TOKEN: session_id})
    ref = SessionRefs(DEVELOPMENT_USER_SECRET)(session_id)
    spans = await traced.spans(4)
    assert [(span.attributes or {}).get("session.id") for span in spans] == [ref, ref, ref, None]


async def test_a_request_is_a_span_of_its_route(traced: Traced) -> None:
    """A span has the method, route, scheme and status by HTTP conventions."""
    session_id = await traced.service.create()
    await traced.service.request("GET", headers={TOKEN: session_id})
    post, get = await traced.spans(2)
    assert (post.name, get.name) == (f"POST {PATH}", f"GET {PATH}")
    assert dict(get.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": PATH,
        "http.response.status_code": 200,
        "url.scheme": "http",
    }
    assert get.status.status_code is StatusCode.UNSET
    assert get.parent is None
    assert context_of(get).trace_id != context_of(post).trace_id
    assert not get.events
    assert not get.links


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", f"{USER_PATH}/a%2Fb/sessions?x=1", f"GET {USER_PATH}/{{user_id}}/sessions"),
        ("GET", f"{PATH}?x=1", f"GET {PATH}"),
        ("GET", "/nowhere/at/all", "GET"),
        ("PUT", PATH, "PUT"),
        ("PROPFIND", PATH, "HTTP"),
        ("PROPFIND", "/nowhere", "HTTP"),
    ],
)
async def test_a_span_name_has_nothing_of_the_path(traced: Traced, method: str, path: str, name: str) -> None:
    """Spans have the name of the route, and unknown methods share one name."""
    await traced.service.request(method, path)
    (span,) = await traced.spans(1)
    assert span.name == name
    attributes = dict(span.attributes or {})
    assert attributes["http.request.method"] == ("_OTHER" if name == "HTTP" else method)
    assert attributes.get("http.route", "") == name.partition(" ")[2]
    assert span.status.status_code is StatusCode.UNSET


async def test_a_preflight_has_a_span(traced: Traced) -> None:
    """A preflight has a span like other requests."""
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET", "X-API-Key": None}
    await traced.service.request("OPTIONS", headers=preflight)
    (span,) = await traced.spans(1)
    assert span.name == f"OPTIONS {PATH}"
    assert dict(span.attributes or {})["http.response.status_code"] == 204


async def test_a_request_that_cannot_be_parsed_has_no_span(traced: Traced) -> None:
    """Invalid and ambiguous requests have no span."""
    await traced.service.raw(b"\x00\x01 rubbish\r\n\r\n", until_closed=True)
    await traced.service.raw(
        b"POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", until_closed=True
    )
    await traced.service.request("GET", "/livez")
    (span,) = await traced.spans(1)
    assert span.name == "GET /livez"


async def test_a_sampled_trace_is_continued(start_traced: StartTraced) -> None:
    """A sampled trace is continued at every sample ratio."""
    traced = await start_traced(sample_ratio=0.0)
    headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1", "baggage": "user=42"}
    await traced.service.request("GET", headers=headers)
    (span,) = await traced.spans(1)
    assert span.parent is not None
    assert (context_of(span).trace_id, span.parent.span_id, span.parent.is_remote) == (TRACE_ID, SPAN_ID, True)
    assert dict(context_of(span).trace_state) == {"vendor": "1"}


@pytest.mark.parametrize(
    "traceparent", [TRACEPARENT[:-2] + "00", TRACEPARENT[:-2] + "02", f"cc{TRACEPARENT[2:-2]}00-more"]
)
async def test_a_request_of_an_unsampled_trace_is_not_traced(traced: Traced, traceparent: str) -> None:
    """A request of an unsampled trace has no span."""
    session_id = await traced.service.create(headers={"traceparent": traceparent})
    await traced.service.request("GET", headers={TOKEN: session_id, "traceparent": traceparent})
    await traced.service.request("GET", "/livez")
    (span,) = await traced.spans(1)
    assert span.name == "GET /livez"
    assert not await traced.spans(0, SpanKind.CLIENT)


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        TRACEPARENT[:-1],
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        "ff" + TRACEPARENT[2:],
        f"00-{0:032x}-{SPAN_ID:016x}-01",
        f"00-{TRACE_ID:032x}-{0:016x}-01",
        "\u00e9" * 32,
        "0" * 5000,
    ],
)
async def test_a_malformed_trace_context_is_ignored(
    traced: Traced, traceparent: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a malformed trace context the request starts a trace, without a log line."""
    answer = await traced.service.raw(
        f"GET /livez HTTP/1.1\r\nHost: a\r\ntraceparent: {traceparent}\r\ntracestate: a=1\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    (span,) = await traced.spans(1)
    assert span.parent is None
    assert not context_of(span).trace_state
    assert not [record for record in caplog.records if record.name != risk_log.__name__]


async def test_two_trace_contexts_are_ignored(traced: Traced) -> None:
    """With two trace contexts the request starts a trace."""
    # A later version of the standard may add fields at the end.
    later = f"cc{TRACEPARENT[2:]}-more"
    for one in (TRACEPARENT, later):
        for lines in (f"traceparent: {one}\r\ntraceparent: {one}\r\n", f"traceparent: {one}, {one}\r\n"):
            await traced.service.raw(f"GET /livez HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
    assert [span.parent for span in await traced.spans(4)] == [None] * 4


@pytest.mark.parametrize("tracestate", ["canary-without-value", "a=1,a=2", "a=" + "x" * 600, "\u00e9=1", ","])
async def test_a_malformed_trace_state_is_ignored(
    traced: Traced, tracestate: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A malformed `tracestate` is ignored and not logged, and the parent is kept."""
    await traced.service.raw(
        f"GET /livez HTTP/1.1\r\nHost: a\r\ntraceparent: {TRACEPARENT}\r\ntracestate: {tracestate}\r\n\r\n".encode()
    )
    (span,) = await traced.spans(1)
    assert context_of(span).trace_id == TRACE_ID
    assert not context_of(span).trace_state
    assert not [record for record in caplog.records if record.name != risk_log.__name__]


async def test_the_ratio_applies_to_the_other_requests(start_traced: StartTraced) -> None:
    """The ratio applies to requests without a trace context."""
    none, half = await start_traced(sample_ratio=0.0), await start_traced(sample_ratio=0.5)
    for number in range(100):
        malformed = {"traceparent": TRACEPARENT.upper()} if number % 2 else {}
        await none.service.request("GET", "/livez", headers=malformed)
        await half.service.request("GET", "/livez")
    await asyncio.sleep(0.1)  # there is no event for a missing span
    assert not none.exporter.get_finished_spans()
    assert 20 < len(half.exporter.get_finished_spans()) < 80


async def test_a_batch_for_one_request_is_part_of_its_trace(traced: Traced) -> None:
    """The span of a Redis call is a child of its request, with a link to it."""
    session_id = await traced.service.create()
    await traced.service.request("GET", headers={TOKEN: session_id})
    await traced.service.request("DELETE", headers={TOKEN: session_id})
    await traced.service.create(headers={"Idempotency-Key": "7f6d2a4e-9f2b-4c37-8f6c-3f1f0a8f2c11"})
    requests, batches = await traced.spans(4), await traced.spans(4, SpanKind.CLIENT)
    assert [batch.name for batch in batches] == ["redis create", "redis find", "redis end", "redis create_once"]
    assert [dict(batch.attributes or {}) for batch in batches] == [
        {"db.system.name": "redis", "db.operation.name": "EVALSHA", "db.stored_procedure.name": "create"},
        {"db.system.name": "redis", "db.operation.name": "MGET"},
        {"db.system.name": "redis", "db.operation.name": "EVALSHA", "db.stored_procedure.name": "end"},
        {"db.system.name": "redis", "db.operation.name": "EVALSHA", "db.stored_procedure.name": "create_once"},
    ]
    for request, batch in zip(requests, batches, strict=True):
        assert batch.parent is not None
        assert batch.parent.span_id == context_of(request).span_id
        assert [link.context.span_id for link in batch.links] == [context_of(request).span_id]
        assert batch.status.status_code is StatusCode.UNSET
        assert request.start_time is not None
        assert batch.start_time is not None
        assert request.end_time is not None
        assert batch.end_time is not None
        assert request.start_time <= batch.start_time < batch.end_time <= request.end_time


async def test_a_connection_carries_no_span_from_one_request_to_the_next(start_traced: StartTraced) -> None:
    """An untraced request after a traced one on a connection has no link."""
    traced = await start_traced(sample_ratio=0.0)
    session_id = await traced.service.create()
    plain = f"GET {PATH} HTTP/1.1\r\nHost: a\r\nX-API-Key: {KEY}\r\nX-Jay-Tracking: {session_id}\r\n"
    in_trace = f"{plain}traceparent: {TRACEPARENT}\r\n\r\n"
    last = f"{plain}Connection: close\r\n\r\n"
    answers = await traced.service.raw(f"{in_trace}{plain}\r\n{last}".encode(), until_closed=True)
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    await traced.service.request("GET", "/livez", headers={"traceparent": TRACEPARENT})
    first, _ = await traced.spans(2)
    (batch,) = await traced.spans(1, SpanKind.CLIENT)
    assert [link.context.span_id for link in batch.links] == [context_of(first).span_id]


async def test_an_outage_is_an_error_of_both_spans(start_traced: StartTraced) -> None:
    """In an outage both spans are errors with a type and no message."""
    traced = await start_traced(url=f"redis://127.0.0.1:{free_port()}/0", redis=RedisSettings(timeout_seconds=0.1))
    response = await traced.service.request("POST")
    assert response.status == 503
    (request,) = await traced.spans(1)
    (batch,) = await traced.spans(1, SpanKind.CLIENT)
    assert dict(request.attributes or {})["error.type"] == "503"
    assert dict(batch.attributes or {})["error.type"] == "StoreUnavailable"
    for span in (request, batch):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert not span.events


async def test_a_bug_is_an_error_without_its_message(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The span of a 500 has no message of the error."""

    async def fail(_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr("service.api.handlers.sessions.read_user_id", fail)
    assert (await traced.service.request("POST")).status == 500
    (span,) = await traced.spans(1)
    assert dict(span.attributes or {})["error.type"] == "500"
    assert "canary" not in span.to_json()
    caplog.clear()


async def test_a_cancelled_request_has_a_span_with_an_error(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """The span of a cancelled request ends with an error."""
    begun = asyncio.Event()

    async def stall(_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("service.api.handlers.sessions.read_user_id", stall)
    asking = asyncio.ensure_future(traced.service.request("POST"))
    await begun.wait()
    server = traced.service.runner.server
    assert server is not None
    await server.shutdown(0.01)
    (span,) = await traced.spans(1)
    assert dict(span.attributes or {})["error.type"] == "CancelledError"
    assert span.status.status_code is StatusCode.ERROR
    assert span.name == "POST"
    await asyncio.gather(asking, return_exceptions=True)


async def test_no_span_has_client_data(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """Spans have no key, id, address, agent, path, query or body."""
    caplog.set_level(logging.DEBUG)
    agent, user, query = "canary-agent", "canary%2Fuser", "canary-query"
    headers = {"User-Agent": agent, "X-Forwarded-For": "203.0.113.77", "Referer": "http://canary.example/"}
    body = {"json": {"user_id": "canary/user"}}
    session_id = await traced.service.create(headers=headers, **body)
    other = await traced.service.create(headers=headers, **body)
    cookie = {**headers, "Cookie": f"{TOKEN}={session_id}", TOKEN: other}
    response = await traced.service.request("GET", f"{PATH}?{query}={session_id}", headers=cookie)
    await traced.service.request("GET", f"/canary-path/{session_id}", headers=cookie)
    operator = {**headers, "X-API-Key": "operator-key"}
    await traced.service.request("GET", f"{USER_PATH}/{user}/sessions?{query}", headers=operator)
    await traced.service.request("POST", "/v1/playouts/tracking/sessions/lookup", headers=operator, json={query: 1})
    await traced.service.request("DELETE", headers={**headers, TOKEN: session_id})
    await traced.service.request("DELETE", f"{USER_PATH}/{user}", headers=operator)
    await traced.service.request("GET", headers={"X-API-Key": "canary-key"})
    await traced.spans(9)
    text = "".join(span.to_json() for span in traced.exporter.get_finished_spans()).lower()
    sent = (KEY, "operator-key", session_id, other, session_id.replace("-", ""), response.headers["X-Request-Id"])
    for secret in (*sent, "canary", "203.0.113.77", "127.0.0.1", "?", "%2f"):
        assert secret.lower() not in text, secret
        assert not any(secret.lower() in record.getMessage().lower() for record in caplog.records), secret
