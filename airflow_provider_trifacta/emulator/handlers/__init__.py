"""Operations that do more than read or write one object, one module per resource."""

from airflow_provider_trifacta.emulator.handlers import (  # noqa: F401  registers their handlers
    access_tokens,
    flows,
    job_groups,
    packages,
    people,
    plans,
    recipes,
    specification,
)
from airflow_provider_trifacta.emulator.handlers.access_tokens import person_of
from airflow_provider_trifacta.emulator.handlers.base import DUPLICATE, Call, Content, Handlers

__all__ = ["DUPLICATE", "Call", "Content", "Handlers", "person_of"]
