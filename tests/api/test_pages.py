import pytest

from service.api.handlers.pages import static_files
from service.config.settings import CorsSettings
from tests.api.conftest import ORIGIN, Service, Start, problem


async def test_static_files_come_with_a_policy(service: Service) -> None:
    """Static files have a policy that permits only this service and are revalidated."""
    response = await service.request("GET", "/static/vendor/uplot/uPlot.iife.min.js", headers={"X-API-Key": None})
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-cache"
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert not any("unsafe" in part or "http" in part or "*" in part for part in policy)
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_an_unchanged_file_is_a_304(service: Service) -> None:
    """A request with the current tag is a 304, with another tag the file."""
    path = "/static/vendor/uplot/uPlot.min.css"
    first = await service.request("GET", path)
    again = await service.request("GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = await service.request("GET", path, headers={"If-None-Match": '"other"'})
    assert (other.status, await other.read()) == (200, await first.read())


async def test_a_cache_keeps_a_file_for_one_origin(start: Start) -> None:
    """A file has `Vary: Origin`, because its CORS headers depend on the origin."""
    service = await start(cors=CorsSettings(origins=(ORIGIN,)))
    first = await service.request("GET", "/static/jay-tracking.js")
    tag = {"If-None-Match": first.headers["ETag"]}
    allowed = await service.request("GET", "/static/jay-tracking.js", headers={"Origin": ORIGIN})
    unchanged = await service.request("GET", "/static/jay-tracking.js", headers={"Origin": ORIGIN, **tag})
    assert [answer.status for answer in (first, allowed, unchanged)] == [200, 200, 304]
    assert "Access-Control-Allow-Origin" not in first.headers
    assert {answer.headers.get("Vary") for answer in (first, allowed, unchanged)} == {"Origin"}
    assert {answer.headers["Access-Control-Allow-Origin"] for answer in (allowed, unchanged)} == {ORIGIN}


async def test_every_file_is_answered(service: Service) -> None:
    """Each file that a page may load is served, also for HEAD."""
    assert static_files()
    for name in static_files():
        assert (await service.request("HEAD", f"/static/{name}")).status == 200


async def test_the_dashboard_is_open(service: Service) -> None:
    """The page needs no key, because it holds no data."""
    response = await service.request("GET", "/dashboard", headers={"X-API-Key": None})
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in response.headers["Content-Security-Policy"]


async def test_an_unknown_path_names_the_reference(service: Service) -> None:
    """A browser at the URL that the service prints shows where to go."""
    document = await problem(await service.request("GET", "/"), 404, "not-found")
    assert str(document["detail"]).endswith("and the API reference is at /docs.")


@pytest.mark.parametrize(
    "path", ["/static/", "/static/vendor", "/static/../pages.py", "/static/%2e%2e/pages.py", "/static/x.js"]
)
async def test_nothing_else_is_served(service: Service, path: str) -> None:
    """Other files of the machine are not served."""
    await problem(await service.request("GET", path), 404, "not-found")
