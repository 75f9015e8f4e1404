import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.config.web_origins import check_origin

ORIGINS = (
    "https://www.example.com",
    "http://localhost",
    "http://localhost:3000",
    "https://example.com:8443",
    "https://example.com.",
    "http://127.0.0.1:8080",
    "http://[::1]:3000",
    "http://[2001:db8::1]",
    "https://xn--bcher-kva.example",
    "https://a_b.example",
    "https://example.com:80",
    "http://example.com:443",
    "http://example.com:65535",
    "http://example.com:1",
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "https://tauri.localhost",
    "app://-",
    "app://localhost:80",
    "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
    "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
    "vscode-webview://1b2c3",
    "com.example.app://webview",
)


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_origin_as_browsers_send_it_is_accepted(origin: str) -> None:
    """Origins of pages, apps, extensions and addresses are accepted."""
    assert check_origin(origin) is None


@pytest.mark.parametrize(
    ("origin", "spelled"),
    [
        ("https://www.example.com/", "https://www.example.com"),
        ("https://www.example.com/app?x#y", "https://www.example.com"),
        ("capacitor://localhost/", "capacitor://localhost"),
        ("https://WWW.Example.com", "https://www.example.com"),
        ("HTTPS://www.example.com", "https://www.example.com"),
        ("Capacitor://LOCALHOST", "capacitor://localhost"),
        ("https://www.example.com:443", "https://www.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("HTTPS://EXAMPLE.com:0443/", "https://example.com"),
        ("http://localhost:03000", "http://localhost:3000"),
        ("http://localhost:", "http://localhost"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://Bücher.example:8443/", "https://xn--bcher-kva.example:8443"),
        ("https://例え.テスト", "https://xn--r8jz45g.xn--zckzah"),
    ],
)
def test_another_spelling_is_an_error_that_names_the_right_one(origin: str, spelled: str) -> None:
    """The error for another spelling names an origin that is accepted."""
    assert check_origin(origin) == f"must be spelled as browsers send it: {spelled}"
    assert check_origin(spelled) is None


@pytest.mark.parametrize("port", ["0", "00", "65536", "99999", "100000", "9" * 5000])
@pytest.mark.parametrize("scheme", ["https", "capacitor"])
def test_a_port_that_does_not_exist_is_an_error(scheme: str, port: str) -> None:
    """The error names the range of ports and the origin without a port."""
    error = check_origin(f"{scheme}://localhost:{port}")
    assert error
    assert "from 1 to 65535" in error
    assert error.endswith(f": {scheme}://localhost")


@pytest.mark.parametrize(
    "origin",
    [
        *("", "*", "null", "www.example.com", "localhost:3000", "//example.com", "https:/example.com", "https://"),
        *("https://*.example.com", "https://*", "https://user:canary@example.com", "https://canary@example.com"),
        *(
            "file://",
            "file:///",
            "https://a b.example",
            " https://example.com",
            "https://example.com ",
            "https://a..b",
        ),
        *(
            "https://.example.com",
            "https://example.com\n",
            "https://[::1",
            "https://[::g]",
            "https://[]",
            "https://::1",
        ),
        *(
            "http://256.1.1.1",
            "http://127.1",
            "http://0x7f.1",
            "https://faß.example",
            "https://a%20b",
            "https://ex\\am",
        ),
        *("https://example.com:port", "https://example.com:80:80", "1http://x", "data:text/html,x", "jay_canary"),
    ],
)
def test_a_string_that_is_not_an_origin_is_an_error(origin: str) -> None:
    """The error says what to write and repeats no possible secret."""
    error = check_origin(origin)
    assert error
    assert error.startswith("must ")
    assert "canary" not in error


@given(
    st.text(max_size=60) | st.from_regex(r"[a-zA-Z]{1,8}://[\w.\[\]:-]{0,30}(:[0-9]{0,7})?(/.{0,9})?", fullmatch=True)
)
@example("https://\u00e4\0")
@example("https://\u00e4.0")
def test_a_suggested_spelling_is_valid(origin: str) -> None:
    """Any string is accepted, or its error suggests nothing or a valid origin."""
    error = check_origin(origin)
    if error and "as browsers send it: " in error:
        assert check_origin(error.partition("as browsers send it: ")[2]) is None
