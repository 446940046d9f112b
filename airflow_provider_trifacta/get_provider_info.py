"""The metadata that Airflow reads from a provider package."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta import __version__
from airflow_provider_trifacta.airflow_support.deferrals import DEFAULT_MIN_DEFERRAL, OPTION, SECTION
from airflow_provider_trifacta.connection import (
    CONN_TYPE,
    EXTRA_FIELDS,
    HIDDEN_FIELDS,
    HOOK_NAME,
    PLACEHOLDERS,
    RELABELING,
)

_INTEGRATION = "Trifacta"
_ASSET_URIS = [
    {
        "schemes": ["trifacta"],
        "handler": "airflow_provider_trifacta.assets.sanitize_uri",
        "to_openlineage_converter": "airflow_provider_trifacta.assets.convert_asset_to_openlineage",
    }
]


def get_provider_info() -> dict[str, Any]:
    """Return the metadata of the provider."""
    return {
        "package-name": "airflow-provider-trifacta",
        "name": "Trifacta",
        "description": "Run and await jobs on Trifacta (Designer Cloud, Dataprep by Trifacta, Alteryx One).",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://help.alteryx.com/aac/en/trifacta-application.html",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": ["airflow_provider_trifacta.hooks.trifacta"],
            }
        ],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_provider_trifacta.operators.access_token",
                    "airflow_provider_trifacta.operators.flow",
                    "airflow_provider_trifacta.operators.job_group",
                    "airflow_provider_trifacta.operators.plan",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_provider_trifacta.sensors.flow",
                    "airflow_provider_trifacta.sensors.job_group",
                    "airflow_provider_trifacta.sensors.plan",
                ],
            }
        ],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_provider_trifacta.triggers.events",  # Airflow 3.0 and later
                    "airflow_provider_trifacta.triggers.flow",
                    "airflow_provider_trifacta.triggers.job_group",
                    "airflow_provider_trifacta.triggers.plan",
                ],
            }
        ],
        "config": {
            SECTION: {
                "description": "The provider for Trifacta.",
                "options": {
                    OPTION: {
                        "description": (
                            "Seconds for which a deferred task stays deferred at least, even if its run ends "
                            "sooner. Airflow may fail a task that is resumed while the scheduler has not yet "
                            "noticed its deferral; the busier the scheduler, the longer that takes. 0 resumes "
                            "at once."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": None,
                        "default": str(DEFAULT_MIN_DEFERRAL),
                    }
                },
            }
        },
        "asset-uris": _ASSET_URIS,
        "dataset-uris": _ASSET_URIS,  # the key that Airflow 2.11 reads
        "extra-links": [
            "airflow_provider_trifacta.links.TrifactaJobGroupLink",
            "airflow_provider_trifacta.links.TrifactaFlowLink",
            "airflow_provider_trifacta.links.TrifactaRecipeLink",
            "airflow_provider_trifacta.links.TrifactaPlanLink",
        ],
        "connection-types": [
            {
                "connection-type": CONN_TYPE,
                "hook-class-name": "airflow_provider_trifacta.hooks.trifacta.TrifactaHook",
                "hook-name": HOOK_NAME,
                "conn-fields": {
                    name: {
                        "label": field.label,
                        "description": field.description,
                        "schema": dict(field.schema),
                    }
                    for name, field in EXTRA_FIELDS.items()
                },
                "ui-field-behaviour": {
                    "hidden-fields": HIDDEN_FIELDS,
                    "relabeling": RELABELING,
                    "placeholders": PLACEHOLDERS,
                },
            }
        ],
    }
