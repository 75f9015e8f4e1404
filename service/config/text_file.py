"""Reads configuration files and secrets in the encodings in which editors save them."""

import codecs
import os
from pathlib import Path

# A configuration has a few kilobytes. The limit protects against a wrong path, such as
# a device.
MAX_BYTES = 1 << 20

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class UnreadableText(Exception):
    """A file cannot be read as text.

    The message continues a sentence that begins with the file.
    """


def read_text(path: Path) -> str:
    """Return the content of a file in UTF-8, or in UTF-16 with a byte order mark.

    Raises FileNotFoundError when the file does not exist, and UnreadableText for all
    other errors.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        raise UnreadableText("is a directory. Name the file in it") from None
    except OSError as error:
        message = f"cannot be read by user {os.getuid()} ({error.strerror}). Check the permissions of file and folder"
        raise UnreadableText(message) from None
    except ValueError:  # a null byte in its name
        raise UnreadableText("cannot be read, because its name is invalid") from None
    if len(content) > MAX_BYTES:
        raise UnreadableText("is larger than 1 MiB. Check that it is the right file")
    mark, encoding = next((known for known in _BYTE_ORDER_MARKS if content.startswith(known[0])), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 or UTF-32 without a mark, or binary data
        raise UnreadableText("is not text in UTF-8. Save it again in that encoding")
    return text


def read_secret(path: Path) -> str:
    """Return the content of a file without outer white space.

    Raises UnreadableText, also for an empty file.
    """
    try:
        text = read_text(path).strip()
    except FileNotFoundError as error:
        raise UnreadableText(f"cannot be read ({error.strerror}). Check the path") from None
    if not text:
        raise UnreadableText("is empty")
    return text
