"""Reads from the connect string of a table which server and database it is in.

Connect strings have no common syntax, and may contain user names, passwords and keys. So nothing is removed from
them. Rather, what has the form of a host, a port or a name is picked out where the syntax of the vendor has one,
and all else is ignored. A string that can be read in more than one way is not read at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: Connect strings that are longer, or have more brackets and quotation marks, are not read.
_LONGEST = 4000
_MOST_ENCLOSED = 20
_PREFIX = re.compile(r"(?:jdbc:)?([a-z][a-z0-9+-]{0,30})((?::[a-z][a-z0-9]{0,30})*):", re.IGNORECASE)
_HOST = r"\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?"
_ADDRESS = re.compile(rf"({_HOST})(?:\\([a-z0-9_$#-]{{1,64}}))?(?::([0-9]{{1,5}}))?", re.IGNORECASE)
#: What the name of a database looks like, if it can be told from other text.
_NAME = re.compile(r"[A-Za-z0-9_$#](?:[A-Za-z0-9_$#. -]{0,126}[A-Za-z0-9_$#])?")
#: Values that contain separators are in braces, or quoted.
_ENCLOSED = re.compile(r"\{(?:[^}]|\}\})*\}|\"[^\"]*\"|'[^']*'")
_MARKS = "{}\"'"
_SEPARATORS = re.compile(r"[/?;&,#]")

_HOST_KEYS = ("servername", "server", "host", "hostname")
_PORT_KEYS = ("port", "portnumber", "dbsport")
_DATABASE_KEYS = ("databasename", "database", "dbname", "db", "conncatalog", "catalog", "projectid", "project")
_SCHEMA_KEYS = ("currentschema", "schema", "connschema", "defaultdataset")
#: Parameters whose values may contain an at sign, which elsewhere separates credentials from the host.
_CREDENTIAL_KEYS = re.compile(r"user|username|userid|uid|login|email|oauthserviceacctemail|principal|password|pwd")
#: In these, the database in the path is a schema: the first part of a table's name is a catalog.
_SCHEMA_IN_PATH = frozenset({"databricks", "spark"})
#: ``jdbc:redshift:iam://cluster:region/database``
_CLUSTER = re.compile(r"([a-z0-9-]{1,63}):([a-z]{2}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2})")


@dataclass(frozen=True)
class Server:
    """What a connect string tells about the place of a table. What it does not specify is None.

    :param protocol: the vendor's name in it, in lower case: ``postgresql``.
    :param host: in lower case.
    :param instance: a named instance on the host (SQL Server).
    :param database: the database, project, catalog, service or SID that it connects to.
    :param schema: the schema or dataset of tables whose names have none.
    """

    protocol: str | None = None
    host: str | None = None
    port: int | None = None
    instance: str | None = None
    database: str | None = None
    schema: str | None = None


def read_connect_string(text: str) -> Server:
    """Return the server that a connect string names; an empty one if it cannot be read safely."""
    prefix = _PREFIX.match(text) if len(text) <= _LONGEST else None
    if prefix is None or sum(map(text.count, _MARKS)) > _MOST_ENCLOSED:
        return Server()
    names = [prefix[1].lower(), *filter(None, prefix[2].lower().split(":"))]
    rest = _ENCLOSED.sub("", text[prefix.end() :])
    if not (text[:5].lower() == "jdbc:" or rest.startswith("//")):
        return Server()
    # jTDS is a driver for the databases of two vendors, and names the vendor second.
    protocol = names[1] if names[0] == "jtds" and len(names) > 1 else names[0]
    if any(mark in rest for mark in _MARKS):
        return Server(protocol)
    if protocol == "oracle":
        return _oracle(rest)
    return _url(protocol, rest)


def _url(protocol: str, rest: str) -> Server:
    """Read ``//host:port/database?key=value``, with any of the separators that vendors use."""
    parameters = _parameters(rest)
    host = port = instance = in_path = None
    if rest.startswith("//"):
        # That of BigQuery has the URL of its API in the place of the host.
        body = re.sub(r"^https?://", "", rest[2:])
        address, tail = _divided(body)
        at_sign = "@" in address
        if "@" in (tail if at_sign else _without_credentials(tail)):
            return Server(protocol)
        # Of several hosts, the first one.
        address = address.rpartition("@")[2].partition(",")[0]
        host, instance, port = _address(address)
        if host is None and (cluster := _CLUSTER.fullmatch(address)):
            host = f"{cluster[1]}.{cluster[2]}"
        if host is not None and body == rest[2:]:
            in_path = _name(re.split(r"[/?;&:]", tail[1:], maxsplit=1)[0]) if tail.startswith("/") else None
    elif "@" in _without_credentials(rest):
        return Server(protocol)
    schema_in_path = protocol in _SCHEMA_IN_PATH
    if host is None:
        host, instance, port = _address(_first(parameters, _HOST_KEYS) or "")
    return Server(
        protocol,
        host,
        port or _port(_first(parameters, _PORT_KEYS)),
        instance or _name(parameters.get("instancename")),
        _name(_first(parameters, _DATABASE_KEYS)) or (None if schema_in_path else in_path),
        _name(_first(parameters, _SCHEMA_KEYS)) or (in_path if schema_in_path else None),
    )


def _oracle(rest: str) -> Server:
    """Read ``@host:port:SID``, ``@//host:port/service``, ``@protocol://...`` and ``@(DESCRIPTION=...)``."""
    credentials, _, address = rest.partition("@")
    if credentials and "@" in address:
        return Server("oracle")  # in which of them does the password end?
    address = re.sub(r"^(?:[a-z]{3,5}:)?//", "", re.sub(r"\s", "", address), flags=re.IGNORECASE)
    if address.startswith("("):
        found = {
            key: re.findall(rf"\({key}=([^()=]*)\)", address, re.IGNORECASE)
            for key in ("host", "port", "service_name", "sid")
        }
        host, _, _ = _address(next(iter(found["host"]), ""))
        service = next(iter(found["service_name"] or found["sid"]), None)
        return Server("oracle", host, _port(next(iter(found["port"]), None)), database=_name(service))
    address = re.split(r"[?,]", address, maxsplit=1)[0]
    found_address = re.fullmatch(rf"({_HOST}):([0-9]{{1,5}})[:/](.*)", address, re.IGNORECASE) or re.fullmatch(
        rf"({_HOST})()/(.*)", address, re.IGNORECASE
    )
    if found_address is None:
        return Server("oracle")  # the name of an entry in a file that only the server has
    host, port, service = found_address.groups()
    # A service may be followed by the kind of server and an instance: "sales:dedicated/inst1".
    return Server("oracle", host.lower(), _port(port), database=_name(re.split("[:/]", service, maxsplit=1)[0]))


def _divided(body: str) -> tuple[str, str]:
    """Return the address in a URL without its ``//``, and what follows."""
    end = re.search(r"[/?;&#]", body)
    return (body, "") if end is None else (body[: end.start()], body[end.start() :])


def _without_credentials(text: str) -> str:
    """Return text without parameters that may contain an at sign."""
    return "".join(
        part for part in re.split(r"[;?&,:]", text) if not _CREDENTIAL_KEYS.fullmatch(_key(part.partition("=")[0]))
    )


def _parameters(text: str) -> dict[str, str]:
    parts = (part.partition("=") for part in reversed(_SEPARATORS.split(text)))
    # DB2 has a colon between the database and the first parameter.
    return {_key(key.rpartition(":")[2]): value.strip() for key, equals, value in parts if equals}


def _key(text: str) -> str:
    return re.sub(r"[\s_]", "", text).lower()


def _first(parameters: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    return next((parameters[key] for key in keys if parameters.get(key)), None)


def _address(text: str) -> tuple[str | None, str | None, int | None]:
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None, None, None
    return found[1].lower(), found[2], _port(found[3])


def _port(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,5}", text) and 0 < int(text) < 2**16 else None


def _name(text: str | None) -> str | None:
    return text if text and _NAME.fullmatch(text) else None
