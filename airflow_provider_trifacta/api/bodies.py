"""Reads the body of an answer: decompressed, complete, and no larger than allowed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

#: The only encoding that we request and support.
ACCEPT_ENCODING = "gzip"
#: Bytes that are read, and passed on, at a time.
CHUNK = 64 * 1024
_EITHER_HEADER = 32 + zlib.MAX_WBITS


class BodyError(Exception):
    """The body cannot be used; the message gives the reason."""


class BodyReader:
    """Turns the data that arrives into the pieces of a body.

    No more than a chunk is decompressed at once: a megabyte on the wire may be a gigabyte in memory.

    :param headers: the answer's headers, names in lower case.
    :param limit: maximum size of the decompressed body, in bytes.
    :raises BodyError: it has an encoding that was not requested.
    """

    def __init__(self, headers: Mapping[str, str], limit: int) -> None:
        self._left = limit
        self._limit = limit
        self._received = 0
        self._declared = _length(headers.get("content-length"))
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip"):
            raise BodyError("the body has a content encoding that was not requested")
        self._gzip = zlib.decompressobj(_EITHER_HEADER) if "gzip" in encoding else None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the pieces of the body in the data that has arrived.

        :raises BodyError: it cannot be decompressed, or is larger than allowed.
        """
        self._received += len(data)
        for piece in (data,) if self._gzip is None else self._decompressed(data, self._gzip):
            self._left -= len(piece)
            if self._left < 0:
                raise BodyError(f"the answer is larger than {self._limit} bytes")
            if piece:
                yield piece

    def finish(self) -> None:
        """Check that the whole body has arrived.

        :raises BodyError: it is incomplete.
        """
        # Neither older urllib3 nor a decompressor notices this.
        cut = self._declared is not None and self._received < self._declared
        if cut or (self._gzip is not None and self._received and not self._gzip.eof):
            raise BodyError("the answer is truncated")

    def _decompressed(self, data: bytes, gzip: zlib._Decompress) -> Iterator[bytes]:
        try:
            while True:
                piece = gzip.decompress(data, CHUNK)
                yield piece
                data = gzip.unconsumed_tail
                if gzip.eof:
                    data = gzip.unused_data
                    if not data:
                        return
                    gzip = self._gzip = zlib.decompressobj(_EITHER_HEADER)  # gzip may consist of several members
                elif not data and len(piece) < CHUNK:
                    return
        except zlib.error:
            raise BodyError("the body is not gzip, although its header says so") from None


def _length(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None
