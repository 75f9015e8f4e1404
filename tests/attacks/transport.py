"""Attacks on the transport: the framing, the limits and the methods of requests."""

import gzip

from tests.attacks.attack import CANARY, HIDDEN, LAST, Attack, ask, head, post
from tests.support.processes import KEY, PATH, TOKEN

FRAMING = "ambiguous or malformed framing"
TARGET = "odd Host, absolute-form target"
LIMITS = "line, field or number of headers over the limit"
LENGTH = "Content-Length of 10^10"
PIPELINE = "50 pipelined requests"
CODING = "compressed body, gzip bomb"
METHODS = "Expect, TRACE, CONNECT, unknown methods"

CHUNKED = "Transfer-Encoding: chunked"
END = b"0\r\n\r\n"
BOMB = gzip.compress(b" " * 1_000_000)


def _hiding(*lines: str, body: bytes = b"") -> bytes:
    """Return a creation with a hidden request behind its body."""
    return head("POST", *lines) + b"\r\n" + body + HIDDEN


def _creation(*lines: str) -> bytes:
    """Return a creation, and a read that closes the connection."""
    return head("POST", *lines) + b"\r\n" + LAST


def _chunks(body: bytes) -> bytes:
    return head("POST", CHUNKED) + b"\r\n" + body + HIDDEN


TRANSPORT = {
    # No front executes the hidden request. All of them close the connection.
    "length and chunks": Attack(FRAMING, _hiding("Content-Length: 5", CHUNKED, body=END), "400", "400", "201"),
    "chunks and length": Attack(FRAMING, _hiding(CHUNKED, "Content-Length: 5", body=END), "400", "400", "201"),
    "two lengths": Attack(
        FRAMING, _hiding("Content-Length: 0", f"Content-Length: {len(HIDDEN)}"), "400", "400", "400"
    ),
    "signed length": Attack(FRAMING, _hiding("Content-Length: +0"), "400", "400", "400"),
    "length in hexadecimal": Attack(FRAMING, _hiding("Content-Length: 0x0"), "400", "400", "400"),
    "negative length": Attack(FRAMING, _hiding("Content-Length: -1"), "400", "400", "400"),
    # HAProxy 2.6 reads this length as 0 and forwards it as it is.
    "length of 2^64": Attack(FRAMING, _creation("Content-Length: 18446744073709551616"), "400", "400", "400 404"),
    "list of lengths": Attack(FRAMING, _creation("Content-Length: 0, 0"), "400", "400", "201 404"),
    "empty length": Attack(FRAMING, _hiding("Content-Length:"), "400", "400", "400"),
    "space before the colon": Attack(FRAMING, _hiding("Content-Length : 0"), "400", "400", "400"),
    "folded line": Attack(FRAMING, _creation(f"X-Y: a\r\n {CANARY}"), "400", "400", "201 404"),
    "folded key": Attack(FRAMING, _creation(f" X-Y: {CANARY}"), "400", "400", "401 404"),
    "bare LF": Attack(FRAMING, _creation(f"X-Y: a\nX-Z: {CANARY}"), "400", "201 404", "201 404"),
    "bare CR": Attack(FRAMING, _hiding(f"X-Y: a\rX-Z: {CANARY}"), "400", "400", "400"),
    "NUL": Attack(FRAMING, _creation(f"X-Y: a\0{CANARY}"), "400", "400", "400 404"),
    "NUL in a name": Attack(FRAMING, _hiding(f"X\0-Y: {CANARY}"), "400", "400", "400"),
    "coding before chunked": Attack(
        FRAMING, _hiding("Transfer-Encoding: gzip, chunked", body=END), "400", "501", "422"
    ),
    "chunked twice": Attack(FRAMING, _hiding("Transfer-Encoding: chunked, chunked", body=END), "400", "501", "400"),
    "two codings": Attack(FRAMING, _hiding(CHUNKED, "Transfer-Encoding: x", body=END), "400", "400", "400"),
    "unknown coding": Attack(FRAMING, _hiding("Transfer-Encoding: x"), "400", "501", "400"),
    "coding like chunked": Attack(FRAMING, _hiding("Transfer-Encoding: xchunked", body=END), "400", "501", "400"),
    "coding after a tab": Attack(FRAMING, _hiding("Transfer-Encoding:\x0bchunked", body=END), "400", "501", "400"),
    "coding with a space in its name": Attack(
        FRAMING, _hiding("Transfer-Encoding : chunked", body=END), "400", "400", "400"
    ),
    "chunks in HTTP/1.0": Attack(
        FRAMING, _hiding(CHUNKED, body=END).replace(b"HTTP/1.1", b"HTTP/1.0", 1), "400", "400", "400"
    ),
    "chunk size that is none": Attack(FRAMING, _chunks(b"x\r\n\r\n"), "400", "400", "400"),
    "negative chunk size": Attack(FRAMING, _chunks(b"-1\r\n\r\n"), "400", "400", "400"),
    "chunk size of 2^64": Attack(FRAMING, _chunks(b"10000000000000000\r\n\r\n"), "400", "400", "400"),
    "chunk size with 0x": Attack(FRAMING, _chunks(b"0x0\r\n\r\n"), "400", "400", "400"),
    "LF in a chunk extension": Attack(FRAMING, _chunks(b"2;a\nb\r\n{}\r\n" + END), "400", "400", "400"),
    "no CRLF after a chunk": Attack(FRAMING, _chunks(b"2\r\n{}x" + END), "400", "400", "400"),
    "chunks, then a request": Attack(
        FRAMING, _chunks(b"0\r\n\r\n")[: -len(HIDDEN)] + LAST, "201", "201 404", "201 404"
    ),
    "key in a trailer": Attack(
        FRAMING,
        _chunks(f"0\r\nX-API-Key: {KEY}\r\n\r\n".encode())[: -len(HIDDEN)] + LAST,
        "201",
        "201 404",
        "201 404",
    ),
    "body of a GET": Attack(
        FRAMING,
        head("GET", f"Content-Length: {len(HIDDEN)}") + b"\r\n" + HIDDEN + LAST,
        "404 404",
        "404 404",
        "404 404",
    ),
    "no HTTP": Attack(FRAMING, f"{CANARY} {CANARY}\r\n\r\n".encode() + HIDDEN, "400", "400", "400"),
    # nginx answers without a status line, as HTTP/0.9 has it.
    "HTTP/0.9": Attack(FRAMING, f"GET {PATH}?{CANARY}\r\n\r\n".encode() + HIDDEN, "400", "", "400"),
    # HAProxy speaks HTTP/2 after this line, and then rejects the bytes.
    "HTTP/2 preface": Attack(FRAMING, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN, "400", "400", ""),
    "TLS on a plain port": Attack(
        FRAMING, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + HIDDEN, "400", "400", "400"
    ),
    "upgrade to h2c": Attack(
        FRAMING,
        head("GET", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        + b"\r\n"
        + LAST,
        "404",
        "404 404",
        "404 404",
    ),
    # The host is never used.
    "odd host": Attack(
        TARGET, ask("GET").replace(b"Host: x", b"Host: a b:/x@[::1") + LAST, "404 404", "400", "404 404"
    ),
    "foreign host": Attack(
        TARGET, ask("GET").replace(b"Host: x", b"Host: " + CANARY.encode()) + LAST, "404 404", "404 404", "404 404"
    ),
    "two hosts": Attack(TARGET, ask("GET", f"Host: {CANARY}") + LAST, "400", "400", "400"),
    "no host": Attack(TARGET, ask("GET").replace(b"Host: x\r\n", b"") + LAST, "400", "400", "400 404"),
    "absolute target": Attack(TARGET, ask("GET", path=f"http://{CANARY}{PATH}") + LAST, "404 404", "404 404", "400"),
    "absolute target with an invalid host": Attack(
        TARGET, ask("GET", path=f"http://[{CANARY}{PATH}") + LAST, "400", "400", "400"
    ),
    "line over 4 KiB": Attack(LIMITS, ask("GET", path=f"{PATH}?{CANARY * 500}") + LAST, "414", "414 404", "414 404"),
    "field over 8 KiB": Attack(LIMITS, ask("GET", f"Cookie: {CANARY * 900}") + LAST, "431", "400", "431 404"),
    "name over 8 KiB": Attack(LIMITS, ask("GET", f"{CANARY * 900}: x") + LAST, "431", "400", "400"),
    "70 headers": Attack(
        LIMITS, ask("GET", *(f"X-{n}: {CANARY}" for n in range(70))) + LAST, "431", "431 404", "431 404"
    ),
    "head of 1 MB": Attack(LIMITS, ask("GET", f"{TOKEN}: {'*' * 1_000_000}") + HIDDEN, "431", "400", "400"),
    # HAProxy waits for the body until its `timeout client`, and nginx for 5 s.
    "length of 10^10": Attack(LENGTH, _hiding("Content-Length: 10000000000"), "413", "413", "413 ...", seconds=10),
    "50 requests at once": Attack(
        PIPELINE, ask("GET") * 50 + LAST, "404 " * 50 + "404", "404 " * 50 + "404", "404 " * 50 + "404"
    ),
    "gzip": Attack(
        CODING, post(gzip.compress(b"{}"), "Content-Encoding: gzip") + LAST, "415 404", "415 404", "415 404"
    ),
    "gzip bomb": Attack(CODING, post(BOMB, "Content-Encoding: gzip") + LAST, "415 404", "415 404", "415 404"),
    "gzip without a header": Attack(CODING, post(BOMB) + LAST, "400", "400 404", "400 404"),
    "unknown expectation": Attack(METHODS, ask("POST", f"Expect: {CANARY}") + LAST, "417", "201 404", "417 404"),
    "TRACE": Attack(METHODS, ask("TRACE", f"X-Y: {CANARY}") + LAST, "405 404", "405", "405 404"),
    "CONNECT": Attack(METHODS, ask("CONNECT", path=f"{CANARY}:443") + HIDDEN, "405", "400", "400"),
    "unknown method": Attack(METHODS, ask("FROB") + LAST, "405", "405 404", "405 404"),
    "method in lower case": Attack(METHODS, ask("delete") + LAST, "400", "400", "400 404"),
}
