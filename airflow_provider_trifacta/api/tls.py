"""TLS: both clients trust the same certificate authorities."""

from __future__ import annotations

import functools
import ssl

from airflow_provider_trifacta.api.errors import TransportFailure, TrifactaConfigurationError

#: OpenSSL's reasons, by version, for an answer to a handshake that is not TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")


@functools.cache  # reading a bundle would block the triggerer's event loop for tens of milliseconds
def tls_context(verify: bool | str) -> ssl.SSLContext | bool:
    """Return the context that verifies certificates: False verifies none, True trusts the same CAs as requests.

    :raises OSError: the bundle cannot be read, or contains no certificate.
    """
    if verify is False:
        return False
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # slow to import, and DAG files import this module

    return ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH if verify is True else verify)


def handshake_failure(error: BaseException) -> TransportFailure:
    """Return the cause of an error in a TLS handshake."""
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return TransportFailure.NOT_CONNECTED
    reason = str(getattr(error, "reason", None) or "").upper().replace(" ", "_")
    return TransportFailure.PLAIN_HTTP if reason in _NO_TLS else TransportFailure.TLS


def check_ca_bundle(name: str, path: object) -> str:
    """Return the path of a CA bundle after checking it.

    :param name: the user's name for the setting, for the error.
    :raises TrifactaConfigurationError: there is no such file on this machine, or it contains no certificate.
    """
    if not isinstance(path, str):
        raise TrifactaConfigurationError(f"{name}: {path!r} is not the path of a file")
    try:
        tls_context(path)
    except (OSError, ValueError) as error:
        raise TrifactaConfigurationError(
            f"{name}: {path!r} contains no certificate authorities ({error}). Check the path: it must be a file "
            "in PEM format, on every worker and triggerer"
        ) from None
    return path
