"""Reads bodies that are forms."""

from __future__ import annotations

from urllib.parse import parse_qsl

MEDIA_TYPE = "application/x-www-form-urlencoded"
#: Bytes: no form that this server takes is nearly as long.
_LONGEST = 65536
_MOST_FIELDS = 100


def fields(raw: bytes, content_type: str) -> dict[str, str]:
    """Return the fields of a form. An empty field is the same as none.

    :raises ValueError: not a form, too long, not UTF-8, or a field is there more than once.
    """
    if content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise ValueError(f"Content-Type is not {MEDIA_TYPE}")
    if len(raw) > _LONGEST:
        raise ValueError("the body is too long")
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS, separator="&"
        )
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a field is there more than once")
    return {name: value for name, value in pairs if value}
