"""The private parts of aiohttp that `service/api/aiohttp_internals/` uses.

A test that fails after an upgrade of aiohttp names the module to adapt.
"""

import ast
import asyncio
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from unittest.mock import create_autospec

import aiohttp
import pytest
from aiohttp import EMPTY_PAYLOAD, StreamReader, hdrs, http_exceptions, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import parse_mimetype
from aiohttp.http import HttpRequestParser, RawRequestMessage, StreamWriter
from aiohttp.web_protocol import RequestHandler, _ErrInfo
from aiohttp.worker import GunicornWebWorker

from service.api.aiohttp_internals.connection import Connection
from service.api.aiohttp_internals.parser_errors import METHOD_TOKEN, TOO_MANY_HEADERS
from service.api.aiohttp_internals.timers import TimedConnection

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "service" / "api" / "aiohttp_internals"
MODULES = sorted(path for path in PACKAGE.glob("*.py") if path.name != "__init__.py")
OTHERS = sorted(path for path in (ROOT / "service").rglob("*.py") if path.parent != PACKAGE)

# The modules of aiohttp with a reference documentation.
DOCUMENTED = {"aiohttp", "aiohttp.hdrs", "aiohttp.web"}

SECTION_LINES = ("Without it: ", "Upstream: ", "Versions: ", "Test: ", "Can go when: ")

Parser = Callable[[bytes], object]


def advice(part: str, module: str) -> str:
    """Return what to do when a part of aiohttp is not as expected."""
    return (
        f"aiohttp {aiohttp.__version__} has changed {part}. Read its source and adapt "
        f"service/api/aiohttp_internals/{module}.py, or delete the repair if its `Can go when` line is true."
    )


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
async def protocol() -> RequestHandler:
    """Return aiohttp's protocol without a connection."""
    return RequestHandler(web.Server(create_autospec(web.Application)), loop=asyncio.get_running_loop())


@pytest.fixture
async def parse() -> Parser:
    """Return a function that parses bytes by aiohttp's parser, with small limits."""
    loop = asyncio.get_running_loop()

    def run(data: bytes) -> object:
        parser = HttpRequestParser(
            BaseProtocol(loop), loop, 2**16, max_line_size=100, max_field_size=200, max_headers=3
        )
        return parser.feed_data(data)

    return run


STATE = [
    ("_close", False, "connection"),
    ("_force_close", False, "connection"),
    ("_request_count", 0, "connection"),
    ("_waiter", None, "connection"),
    ("_keepalive_handle", None, "timers"),
    ("_next_keepalive_close_time", 0.0, "timers"),
    ("_keepalive_timeout", 3630, "timers"),
    ("transport", None, "timers"),
    ("ssl_context", None, "connection"),
]


@pytest.mark.parametrize(("name", "initial", "module"), STATE)
async def test_the_protocol_has_its_private_state(
    protocol: RequestHandler, name: str, initial: object, module: str
) -> None:
    """The attributes exist, with the value of a protocol without a connection."""
    assert getattr(protocol, name, "missing") == initial, advice(f"RequestHandler.{name}", module)


async def test_the_protocol_has_its_event_loop_and_queue(protocol: RequestHandler) -> None:
    """The queue of parsed requests is empty, and the loop is the running one."""
    assert protocol._loop is asyncio.get_running_loop(), advice("BaseProtocol._loop", "timers")
    assert len(protocol._messages) == 0, advice("RequestHandler._messages", "connection")


async def test_the_protocol_queues_what_it_parses(protocol: RequestHandler) -> None:
    """A request is counted and queued as head and body, a parser error as _ErrInfo."""
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    protocol.data_received(b"\x00\r\n\r\n")
    (head, body), (error, _) = protocol._messages
    assert protocol._request_count == 2, advice("RequestHandler._request_count", "connection")
    assert isinstance(head, RawRequestMessage), advice("the queue of RequestHandler", "connection")
    assert body is EMPTY_PAYLOAD, advice("the body of a request without one", "framing")
    assert isinstance(error, _ErrInfo), advice("the queue of RequestHandler", "connection")


@pytest.mark.parametrize("flag", ["_close", "_force_close"])
async def test_a_closing_protocol_drops_bytes(protocol: RequestHandler, flag: str) -> None:
    """The repair for bodies at shutdown is needed as long as this is so."""
    setattr(protocol, flag, True)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert protocol._request_count == 0, advice(f"RequestHandler.{flag}", "connection")


async def test_a_new_connection_starts_the_keepalive_timer(protocol: RequestHandler) -> None:
    """`connection_made` starts the timer, and its task waits for the first request."""
    protocol.connection_made(create_autospec(asyncio.Transport, instance=True))
    await asyncio.sleep(0)
    try:
        assert protocol._next_keepalive_close_time > 0, advice("the keep-alive timer", "timers")
        assert isinstance(protocol._keepalive_handle, asyncio.TimerHandle), advice("the keep-alive timer", "timers")
        assert protocol._waiter is not None, advice("RequestHandler._waiter", "timers")
        assert not protocol._waiter.done(), advice("RequestHandler._waiter", "timers")
    finally:
        protocol.connection_lost(None)
        await asyncio.sleep(0)


SIGNATURES = [
    (RequestHandler.handle_error, "self, request, status=500, exc=None, message=None", "connection"),
    (RequestHandler.data_received, "self, data", "connection"),
    (RequestHandler.eof_received, "self", "connection"),
    (RequestHandler.connection_made, "self, transport", "timers"),
    (RequestHandler.connection_lost, "self, exc", "timers"),
    (RequestHandler.force_close, "self", "timers"),
    (RequestHandler._process_keepalive, "self", "timers"),
    (StreamReader.is_eof, "self", "connection"),
    (StreamReader.set_exception, "self, exc, exc_cause=BaseException()", "connection"),
    (StreamWriter.drain, "self", "expectation"),
    (web.Server.__call__, "self", "server"),
    (
        web.Server.__init__,
        "self, handler, request_factory=None, handler_cancellation=False, loop=None, kwargs",
        "server",
    ),
    (web.AppRunner._make_server, "self", "server"),
    (web.AppRunner._reg_site, "self, site", "server"),
    (web.BaseSite.start, "self", "site"),
    (
        web.Application._make_request,
        "self, message, payload, protocol, writer, task, _cls=<class 'aiohttp.web_request.Request'>",
        "server",
    ),
    (parse_mimetype, "mimetype", "media_type"),
    (GunicornWebWorker._notify_waiter_done, "self, waiter=None", "gunicorn_worker"),
    (GunicornWebWorker.init_process, "self", "gunicorn_worker"),
]


@pytest.mark.parametrize(("function", "expected", "module"), SIGNATURES)
def test_signatures(function: Callable[..., object], expected: str, module: str) -> None:
    """Functions that the package calls or overrides have the expected parameters."""
    parameters = inspect.signature(function).parameters.values()
    shown = ", ".join(one.name if one.default is one.empty else f"{one.name}={one.default!r}" for one in parameters)
    assert shown == expected, advice(function.__qualname__, module)


def test_a_protocol_takes_the_options_of_the_runner() -> None:
    """The options that `Runner` passes on are parameters of the protocol."""
    options = {"access_log", "auto_decompress", "keepalive_timeout", "lingering_time", "logger"}
    options |= {"max_field_size", "max_headers", "max_line_size"}
    assert options <= inspect.signature(RequestHandler).parameters.keys(), advice("RequestHandler.__init__", "server")


async def test_a_server_keeps_what_its_copy_needs() -> None:
    """`Runner` makes its server of the parts of aiohttp's."""
    runner = web.AppRunner(web.Application(), keepalive_timeout=7)
    await runner.setup()
    try:
        server = runner.server
        assert server is not None
        assert server._kwargs["keepalive_timeout"] == 7, advice("Server._kwargs", "server")
        assert server._loop is asyncio.get_running_loop(), advice("Server._loop", "server")
        assert server.request_factory == runner.app._make_request, advice("Server.request_factory", "server")
        assert callable(server.request_handler), advice("Server.request_handler", "server")
    finally:
        await runner.cleanup()


def test_a_site_has_its_private_state() -> None:
    """The attributes exist, the backlog is 128, and no parameter limits handshakes."""
    slots = set(web.BaseSite.__slots__) | set(web.SockSite.__slots__)
    assert {"_runner", "_ssl_context", "_backlog", "_server", "_sock"} <= slots, advice("SockSite", "site")
    assert inspect.signature(web.SockSite).parameters["backlog"].default == 128, advice("SockSite", "server")
    assert "ssl_handshake_timeout" not in inspect.signature(web.SockSite).parameters, advice("SockSite", "site")


@pytest.mark.parametrize("name", ["version", "headers", "chunked", "upgrade", "url", "_replace"])
def test_a_parsed_head_has_its_fields(name: str) -> None:
    """The framing reads them, and `_replace` makes a changed copy of the head."""
    assert hasattr(RawRequestMessage, name), advice(f"RawRequestMessage.{name}", "server")


async def test_a_writer_counts_its_output(protocol: RequestHandler) -> None:
    """The bytes of `100 Continue` are subtracted from this count."""
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    assert writer.output_size == 0, advice("StreamWriter.output_size", "expectation")
    assert isinstance(web.Request.writer, property), advice("Request.writer", "expectation")


def test_no_slot_of_ours_is_one_of_theirs() -> None:
    """A name of the subclasses does not hide state of aiohttp."""
    theirs = {slot for kind in RequestHandler.__mro__ for slot in getattr(kind, "__slots__", ())}
    for kind, module in ((TimedConnection, "timers"), (Connection, "connection")):
        assert not theirs & set(kind.__slots__), advice("the attributes of RequestHandler", module)


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"


async def test_the_parser_names_the_limit_of_a_line(parse: Parser) -> None:
    """The second argument of the error is the limit: of the target, or of a field."""
    with pytest.raises(http_exceptions.LineTooLong) as of_target:
        parse(b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(http_exceptions.LineTooLong) as of_field:
        parse(HEAD + b"A: " + b"a" * 300 + b"\r\n\r\n")
    limits = of_target.value.args[1], of_field.value.args[1]
    assert limits == (100, 200), advice("the arguments of LineTooLong", "parser_errors")


async def test_the_parser_has_a_message_for_too_many_headers(parse: Parser) -> None:
    """The message is compared as it is."""
    with pytest.raises(http_exceptions.HttpProcessingError) as caught:
        parse(HEAD + b"A: b\r\n" * 9 + b"\r\n")
    assert caught.value.message == TOO_MANY_HEADERS, advice("the message for too many headers", "parser_errors")


@pytest.mark.parametrize(
    ("data", "is_method"), [(b"BREW / HTTP/1.1\r\n\r\n", True), (b"get / HTTP/1.1\r\n\r\n", False)]
)
async def test_the_parser_quotes_an_unknown_method(parse: Parser, data: bytes, *, is_method: bool) -> None:
    """The message ends with the line, which shows whether it begins with a method."""
    with pytest.raises(http_exceptions.BadHttpMethod) as caught:
        parse(data)
    found = METHOD_TOKEN.search(caught.value.message) is not None
    assert found is is_method, advice("the message of BadHttpMethod", "parser_errors")


def test_a_media_type_has_its_parts() -> None:
    """Type, subtype, suffix and parameters are separate."""
    parsed = parse_mimetype("application/problem+json; charset=utf-8")
    parts = parsed.type, parsed.subtype, parsed.suffix, parsed.parameters["charset"]
    assert parts == ("application", "problem", "json", "utf-8"), advice("parse_mimetype", "media_type")


async def test_aiohttp_sends_100_by_the_header_alone() -> None:
    """A head without `Expect` gets no 100, so the package removes the header."""
    source = inspect.getsource(web.Application._handle)
    assert "request.headers.get(hdrs.EXPECT)" in source, advice("the handling of Expect", "expectation")
    assert hdrs.EXPECT == "Expect", advice("hdrs.EXPECT", "expectation")


@pytest.mark.parametrize("path", OTHERS, ids=name_of)
def test_nothing_else_uses_private_parts(path: Path) -> None:
    """Other modules import only documented modules and public names of aiohttp."""
    for module, name in imports(path):
        if module.partition(".")[0] == "aiohttp":
            assert module in DOCUMENTED, f"{name_of(path)}: move what uses {module} to {name_of(PACKAGE)}/."
            assert not name.startswith("_"), f"{name_of(path)}: move what uses {name} to {name_of(PACKAGE)}/."


def imports(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_repair_is_documented(path: Path) -> None:
    """Each module has sections with five lines each, and the tests in them exist."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    sections = re.split(r"\n\n[^\n]+\n-{5,}\n", docstring)[1:]
    assert sections, f"{name_of(path)}: add a section for each repair, as __init__.py says."
    for section in sections:
        starts = [line for line in SECTION_LINES if f"\n{line}" in f"\n{section}"]
        assert starts == list(SECTION_LINES), f"{name_of(path)}: {section}"
        for file, names in named_tests(section):
            text = (ROOT / file).read_text("utf-8")
            missing = [name for name in names if f"def {name}(" not in text]
            assert not missing, f"{name_of(path)}: {file} has no {missing}. Name the test that proves the repair."


def named_tests(section: str) -> Iterable[tuple[str, list[str]]]:
    found = re.findall(r"^Test: (\S+)\n((?:    test_\w+\n)+)", section + "\n", re.MULTILINE)
    assert found, f"name the test by its file and, below it, its name: {section}"
    return [(file, names.split()) for file, names in found]
