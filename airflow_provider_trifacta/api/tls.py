"""Which certificate authorities are trusted: the same in both clients."""

from __future__ import annotations

import functools
import ssl

from airflow_provider_trifacta.api.errors import TransportFailure, TrifactaConfigurationError

#: What OpenSSL calls an answer to a handshake that is no TLS, depending on its version.
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")


@functools.cache  # reading a bundle takes tens of milliseconds, in which the triggerer's loop would stand still
def tls_context(verify: bool | str) -> ssl.SSLContext | bool:
    """Return what checks certificates: False checks none, True trusts the authorities that requests trusts.

    :raises OSError: the bundle cannot be read, or holds no certificate.
    """
    if verify is False:
        return False
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # takes long, and DAG files import this module

    return ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH if verify is True else verify)


def handshake_failure(error: BaseException) -> TransportFailure:
    """Return what an error in a TLS handshake means."""
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return TransportFailure.NOT_CONNECTED
    reason = str(getattr(error, "reason", None) or "").upper().replace(" ", "_")
    return TransportFailure.PLAIN_HTTP if reason in _NO_TLS else TransportFailure.TLS


def check_ca_bundle(name: str, path: object) -> str:
    """Return the path of a file with certificate authorities.

    :param name: what the user calls it; named in the error.
    :raises TrifactaConfigurationError: there is no such file on this machine, or it holds no certificate.
    """
    if not isinstance(path, str):
        raise TrifactaConfigurationError(f"{name}: {path!r} is not the path of a file")
    try:
        tls_context(path)
    except (OSError, ValueError) as error:
        raise TrifactaConfigurationError(
            f"{name}: {path!r} holds no certificate authorities ({error}). Check the path: it has to be a file "
            "in PEM format, on every worker and triggerer"
        ) from None
    return path
