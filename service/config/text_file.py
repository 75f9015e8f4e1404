"""Configuration files and secrets as text, however an editor has saved them."""

import codecs
import os
from pathlib import Path

MAX_BYTES = 1 << 20  # configurations are kilobytes; this bounds what a wrong path, such as a device, may cost

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class UnreadableText(Exception):
    """A file that is no text; the message is the end of a sentence that begins with the file."""


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark, without the mark.

    Raises FileNotFoundError where there is no file, and UnreadableText for everything else that is wrong with it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        message = f"cannot be read by user {os.getuid()} ({error.strerror}); check its permissions and its folder's"
        raise UnreadableText(message) from None
    except ValueError:  # a null byte in its name
        raise UnreadableText("cannot be read (its name is invalid); check the name") from None
    if len(content) > MAX_BYTES:
        raise UnreadableText("is larger than 1 MiB; check that it is the right file")
    mark, encoding = next((known for known in _BYTE_ORDER_MARKS if content.startswith(known[0])), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 or UTF-32 without a mark, or no text at all
        raise UnreadableText("is not text in UTF-8; save it again in that encoding")
    return text


def read_secret(path: Path) -> str:
    """Return the text of a file without white space around it. Raises UnreadableText, also where there is none."""
    try:
        text = read_text(path).strip()
    except FileNotFoundError as error:
        raise UnreadableText(f"cannot be read ({error.strerror}); check the path") from None
    if not text:
        raise UnreadableText("is empty")
    return text
