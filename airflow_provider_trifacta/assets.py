"""Assets ``trifacta://<host>/recipes/<id>``, ``/flows/<id>`` and ``/plans/<id>``: what Airflow asks about them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from airflow_provider_trifacta.api.urls import is_host

if TYPE_CHECKING:
    from openlineage.client.event_v2 import Dataset

    from airflow_provider_trifacta.airflow_support.compat import Asset

#: What an asset may be, and its id: on some releases it is not a number (api/README.md, section 1).
_PATH = re.compile(r"/(recipes|flows|plans)/[A-Za-z0-9._~-]+")
_FORM = "must be trifacta://<host>/recipes/<id>, trifacta://<host>/flows/<id> or trifacta://<host>/plans/<id>"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the one form of a URI that Airflow compares: host in lower case, nothing after the id.

    :raises ValueError: it names no recipe, flow or plan; gives the form that does.
    """
    try:
        usable = is_host(uri) and uri.port != 0
    except ValueError:  # such as a port of seven digits
        usable = False
    if not usable:
        raise ValueError(f"URI format trifacta:// {_FORM}: it has no usable host")
    if "@" in uri.netloc:
        raise ValueError(f"URI format trifacta:// {_FORM}: without a user name or a password")
    if uri.query or uri.fragment:
        raise ValueError(f"URI format trifacta:// {_FORM}: with nothing after the id")
    path = uri.path.rstrip("/")
    if not _PATH.fullmatch(path):
        raise ValueError(f"URI format trifacta:// {_FORM}, not {uri.path!r} after the host")
    return uri._replace(netloc=uri.netloc.lower().rstrip(":"), path=path)


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> Dataset:
    """Return the OpenLineage dataset of an asset: namespace ``trifacta://<host>``, name ``recipes/<id>``.

    Called only by Airflow's OpenLineage provider, so OpenLineage is installed.
    """
    from openlineage.client.event_v2 import Dataset

    uri = sanitize_uri(urlsplit(asset.uri))
    return Dataset(namespace=f"trifacta://{uri.netloc}", name=uri.path.lstrip("/"))
