"""Airflow's names, wherever a version keeps them, and replacements for what a version lacks.

The provider ``common.compat`` serves this purpose, but the constraints of Airflow 2.11.0 and 3.0 pin it to 1.7,
which has neither the names nor a way to read a connection asynchronously; those of 3.1 to 3.3 pin it to versions
whose asynchronous read deadlocks.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from packaging.version import Version

if TYPE_CHECKING:
    from airflow.models.crypto import get_fernet as get_fernet
    from airflow.sdk import Asset as Asset
    from airflow.sdk import AssetAlias as AssetAlias
    from airflow.sdk import BaseHook as BaseHook
    from airflow.sdk import BaseOperator as BaseOperator
    from airflow.sdk import BaseOperatorLink as BaseOperatorLink
    from airflow.sdk import BaseSensorOperator as BaseSensorOperator
    from airflow.sdk import Context as Context
    from airflow.sdk import ObjectStoragePath as ObjectStoragePath
    from airflow.sdk import Variable as Variable
    from airflow.sdk.configuration import conf as conf
    from airflow.sdk.definitions.asset import BaseAsset as BaseAsset
    from airflow.sdk.exceptions import AirflowException as AirflowException
    from airflow.sdk.exceptions import AirflowFailException as AirflowFailException
    from airflow.sdk.exceptions import AirflowNotFoundException as AirflowNotFoundException
    from airflow.sdk.exceptions import AirflowSensorTimeout as AirflowSensorTimeout
    from airflow.sdk.exceptions import AirflowSkipException as AirflowSkipException
    from airflow.sdk.exceptions import AirflowTaskTimeout as AirflowTaskTimeout
    from airflow.sdk.execution_time.xcom import XCom as XCom
    from airflow.sdk.lineage import get_hook_lineage_collector as get_hook_lineage_collector
    from airflow.sdk.log import mask_secret as mask_secret
    from airflow.sdk.log import redact as redact  # type: ignore[attr-defined]

_MASKER = ("airflow.sdk.log", "airflow.sdk.execution_time.secrets_masker", "airflow.utils.log.secrets_masker")
_EXCEPTIONS = ("airflow.sdk.exceptions", "airflow.exceptions")  # 3.1
_ASSETS = ("airflow.sdk.definitions.asset", "airflow.datasets")
#: Where each name is, newest place first. The last can be dropped with Airflow 2.11 or, where a comment gives
#: a later version, with that version.
_PLACES = {
    "AirflowException": _EXCEPTIONS,
    "AirflowFailException": _EXCEPTIONS,
    "AirflowNotFoundException": _EXCEPTIONS,
    "AirflowSensorTimeout": _EXCEPTIONS,
    "AirflowSkipException": _EXCEPTIONS,
    "AirflowTaskTimeout": _EXCEPTIONS,
    "Asset": _ASSETS,
    "AssetAlias": _ASSETS,
    "BaseAsset": _ASSETS,
    "BaseHook": ("airflow.sdk", "airflow.hooks.base"),  # 3.0
    "BaseOperator": ("airflow.sdk", "airflow.models.baseoperator"),
    "BaseOperatorLink": ("airflow.sdk", "airflow.models.baseoperatorlink"),
    "BaseSensorOperator": ("airflow.sdk", "airflow.sensors.base"),
    "Context": ("airflow.sdk", "airflow.utils.context"),
    "ObjectStoragePath": ("airflow.sdk", "airflow.io.path"),
    "Variable": ("airflow.sdk", "airflow.models.variable"),
    "XCom": ("airflow.sdk.execution_time.xcom", "airflow.models.xcom"),
    "conf": ("airflow.sdk.configuration", "airflow.configuration"),  # 3.1
    # That of the SDK, which works where nothing else is installed, cannot do without a key.
    "get_fernet": ("airflow.models.crypto", "airflow.sdk.crypto"),
    "get_hook_lineage_collector": ("airflow.sdk.lineage", "airflow.lineage.hook"),  # 3.1
    "mask_secret": _MASKER,
    "redact": _MASKER,  # 3.0 has it in the second place
}
#: What Airflow 2 calls something that has another name since.
_NAMES_IN_AIRFLOW_2 = {"Asset": "Dataset", "AssetAlias": "DatasetAlias", "BaseAsset": "BaseDataset"}


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that parsing a DAG file imports only what it uses."""
    for place in _PLACES.get(name, ()):
        named = _NAMES_IN_AIRFLOW_2.get(name, name) if place == "airflow.datasets" else name
        try:
            found = getattr(import_module(place), named)
        except (ImportError, AttributeError):
            continue
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def is_airflow_3_0() -> bool:
    """Return whether this is Airflow 3.0. Code that only it needs can be dropped with it."""
    return version("apache-airflow").startswith("3.0.")


def universal_pathlib_is_too_new() -> bool:
    """Return whether storage paths cannot work: Airflow before 3.2 needs universal-pathlib before 0.3.

    Airflow 2.11.0 and 3.0 do not declare this, and an installation without constraints gets a newer one.
    """
    airflow, library = (Version(version(name)).release for name in ("apache-airflow", "universal-pathlib"))
    return airflow < (3, 2) and library >= (0, 3)


async def get_connection_asynchronously(hook: BaseHook, conn_id: str) -> Any:
    """Return an Airflow connection, without blocking the event loop.

    :raises AirflowNotFoundException: there is none.
    """
    if _airflow_has_an_asynchronous_way():
        return await hook.aget_connection(conn_id)
    return await sync_to_async(hook.get_connection)(conn_id)


def _airflow_has_an_asynchronous_way() -> bool:
    """Return whether Airflow can read a connection asynchronously.

    Before 3.1 it cannot. From 3.1 to 3.3.1 it masks the secrets of the connection with a synchronous call, which
    raises ``DeadlockImminentError`` if another trigger makes a request meanwhile. The method checked for here came
    with the fix, in 3.3.2. Once that is the lowest supported version, this function can be removed.
    """
    try:
        from airflow.sdk import Connection
    except ImportError:
        return False
    return hasattr(Connection, "aextra_dejson")
