"""A server that implements the v4 API of Designer Cloud, for tests and for experiments without live data.

It depends only on the contract (``openapi.json``), not on the rest of this package.
"""

from airflow_provider_trifacta.emulator.server import Emulator

__all__ = ["Emulator"]
