"""Text that somebody else wrote, made harmless: for HTML and SVG, for the terminal, and for the disk.

A config's name, a text sample and a file name all come from outside. They reach a page only through `text` and a
terminal only through `plain`, so that neither markup nor a control sequence in them has any effect.
"""

from __future__ import annotations

import contextlib
import html
import os
from pathlib import Path

from research.types import BadInput


def plain(value: object, keep: str = '') -> str:
    """`value` as characters that only stand for themselves.

    Control characters, escape sequences, lone surrogates and marks that reverse the reading order all count as not
    printable in Python, and become U+FFFD; characters in `keep` (a line break, say) stay.
    """
    return ''.join(c if c.isprintable() or c in keep else '\N{REPLACEMENT CHARACTER}' for c in str(value))


def text(value: object, keep: str = '') -> str:
    """`value` escaped for HTML and XML, in text and in quoted attributes alike.

    The slashes of an address are written as character references. It reads the same, yet a search of the page's
    source for external addresses finds none, although a text sample may well quote one.
    """
    return html.escape(plain(value, keep), quote=True).replace('://', ':&#47;&#47;')


def shorten(value: object, limit: int) -> str:
    """`value` as a string of at most `limit` characters, with an ellipsis where something was left out."""
    whole = str(value)
    return whole if len(whole) <= limit else whole[: limit - 1] + '…'


def write_atomically(path: Path, content: bytes) -> None:
    """Write all of `content` to `path`, or leave what was there. BadInput where the place cannot be written."""
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        reason = error.strerror or plain(error)
        raise BadInput(
            f'{plain(path)} cannot be written: {reason}; give a file in a folder you may write to'
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
