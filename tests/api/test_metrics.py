import asyncio
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from service.config.telemetry_settings import MetricsSettings
from service.telemetry.metrics import Metrics
from tests.api.conftest import PATH, Service, Start, problem

BASE = "/v1/playouts/tracking"
OPERATOR = {"X-API-Key": "operator-key"}
USUAL = "jay.api.playout.1.0.0"


async def text_of(service: Service) -> str:
    response = await service.request("GET", "/metrics", headers=OPERATOR)
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return await response.text()


async def samples(service: Service) -> Mapping[str, float]:
    """Return all samples, such as `name{label="value"}`, with labels in order."""
    found = {}
    for family in text_string_to_metric_families(await text_of(service)):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_sessions_by_source(service: Service) -> None:
    """Sessions created, found, missed and ended are counted by source.

    A missed session counts under the source of the key.
    """
    user = {"json": {"user_id": "u"}}
    ids = [await service.create(), await service.create(), await service.create(**user)]
    ids.append(await service.create(headers={"X-API-Key": "tv-key"}))
    for session_id in ids:
        await service.request("GET", headers={"X-Jay-Tracking": session_id})
    await service.request("GET")
    await service.request("GET", headers={"X-API-Key": "tv-key"})
    await service.request("DELETE", headers={"X-Jay-Tracking": ids[0]})
    await service.request("DELETE", headers={"X-Jay-Tracking": ids[0]})
    asked = {"session_ids": [*ids, "nothing"]}
    await service.request("POST", f"{BASE}/sessions/lookup", headers=OPERATOR, json=asked)
    await service.request("DELETE", f"{BASE}/users/u", headers=OPERATOR)
    found = await samples(service)
    assert found[f'jay_sessions_created_total{{source="{USUAL}"}}'] == 3
    assert found['jay_sessions_created_total{source="tv.app.2"}'] == 1
    assert found[f'jay_sessions_found_total{{source="{USUAL}"}}'] == 3 + 2
    assert found['jay_sessions_found_total{source="tv.app.2"}'] == 1 + 1
    assert found[f'jay_sessions_missed_total{{source="{USUAL}"}}'] == 1 + 2
    assert found['jay_sessions_missed_total{source="tv.app.2"}'] == 1
    assert found[f'jay_sessions_ended_total{{source="{USUAL}"}}'] == 1
    assert found["jay_sessions_erased_total"] == 1


async def test_requests_by_route_method_and_status(service: Service) -> None:
    """Requests are counted by route, method and status, without client data."""
    await service.create()
    await service.request("GET")
    await service.request("GET", "/canary")
    await service.request("GET", f"{BASE}/users/canary/sessions", headers=OPERATOR)
    await service.request("CANARY")
    await service.raw(b"canary\r\n\r\n")
    found = await samples(service)
    counted = "jay_http_request_duration_seconds_count"
    assert found[f'{counted}{{method="POST",route="{PATH}",status="201"}}'] == 1
    assert found[f'{counted}{{method="GET",route="{PATH}",status="404"}}'] == 1
    assert found[f'{counted}{{method="GET",route="-",status="404"}}'] == 1
    assert found[f'{counted}{{method="GET",route="{BASE}/users/{{user_id}}/sessions",status="200"}}'] == 1
    assert found[f'{counted}{{method="-",route="-",status="400"}}'] == 1
    assert "canary" not in (await text_of(service)).lower()
    within = f'jay_http_request_duration_seconds_bucket{{le="5.0",method="POST",route="{PATH}",status="201"}}'
    assert found[within] == 1
    assert 0 < found[f'jay_http_request_duration_seconds_sum{{method="POST",route="{PATH}",status="201"}}'] < 5


async def test_batches_and_redis(service: Service) -> None:
    """Requests that arrive together count as one batch and one Redis call.

    The sessions that readiness creates are in none of these figures.
    """
    await asyncio.gather(*(service.create() for _ in range(20)))
    assert (await service.request("GET", "/readyz")).status == 200
    found = await samples(service)
    batches = found['jay_batch_size_count{operation="create"}']
    assert found['jay_batch_size_sum{operation="create"}'] == 20
    assert batches == found['jay_batch_wait_seconds_count{operation="create"}'] <= 20
    assert batches == found['jay_redis_call_duration_seconds_count{operation="create"}']
    assert found['jay_redis_call_duration_seconds_count{operation="check"}'] >= 3
    assert found['jay_batch_waiting{operation="create"}'] == 0
    assert found['jay_redis_breaker_open{lane="sessions"}'] == 0
    assert found['jay_redis_connections{lane="sessions",state="idle"}'] >= 1


async def test_metrics_of_an_outage(start: Start) -> None:
    """Redis errors are counted by kind, and the open breaker is visible."""
    service = await start("redis://127.0.0.1:1/0")
    for _ in range(3):
        assert (await service.request("POST")).status == 503
    found = await samples(service)
    assert found['jay_redis_errors_total{kind="ConnectionError"}'] >= 1
    assert found['jay_redis_errors_total{kind="breaker"}'] >= 1
    assert found['jay_redis_breaker_open{lane="sessions"}'] == 1


async def test_metrics_need_the_scope_analytics(service: Service) -> None:
    """A key with the scope `analytics` is accepted as bearer token and `X-API-Key`."""
    for headers in (
        {"X-API-Key": None, "Authorization": "Bearer operator-key"},
        {"X-API-Key": None, "Authorization": "bearer  operator-key"},
        {"X-API-Key": "operator-key", "x-jay-api-version": "1999-01-01"},
    ):
        assert (await service.request("GET", "/metrics", headers=headers)).status == 200
    for refused, status, slug in (
        ({"X-API-Key": None}, 401, "unauthorized"),
        ({"X-API-Key": None, "Authorization": "Bearer wrong"}, 401, "unauthorized"),
        ({"X-API-Key": None, "Authorization": "Basic operator-key"}, 401, "unauthorized"),
        ({}, 403, "forbidden"),
        ({"X-API-Key": "operator-key", "Authorization": "Bearer operator-key"}, 400, "malformed-request"),
    ):
        await problem(await service.request("GET", "/metrics", headers=refused), status, slug)


async def test_no_metric_is_missing(service: Service) -> None:
    """Every metric is published with its help."""
    text = await text_of(service)
    for one in Metrics().all():
        assert f"{one.help}\n" in text, one.name


async def test_metrics_can_be_switched_off(start: Start) -> None:
    """When metrics are off, their path is a 404 and the rest works."""
    service = await start(metrics=MetricsSettings(enabled=False))
    await service.create()
    await problem(await service.request("GET", "/metrics", headers=OPERATOR), 404, "not-found")
    assert service.log_lines()
