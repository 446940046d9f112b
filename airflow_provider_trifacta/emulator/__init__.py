"""A server that speaks the v4 API of Designer Cloud, for tests and for trying things without live data.

It knows the contract (``openapi.json``) and nothing of the rest of this package.
"""

from airflow_provider_trifacta.emulator.server import Emulator

__all__ = ["Emulator"]
