"""Links into the application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

# Dataprep serves its API from a host of its own.
_APPLICATION_OF = {"https://api.clouddataprep.com": "https://clouddataprep.com"}


def job_group_url(base_url: str, job_group_id: int | str) -> str:
    """Return the page of a job group in the application.

    :param base_url: the base URL of the API.
    """
    return f"{_APPLICATION_OF.get(base_url, base_url)}/jobs/{job_group_id}"


class TrifactaJobGroupLink(BaseOperatorLink):
    """The button "Trifacta job group" of a task."""

    name = "Trifacta job group"

    @property
    def xcom_key(self) -> str:
        """The XCom that Airflow 3 reads the link from."""
        return "_link_TrifactaJobGroupLink"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the link that the task pushed, nothing before it did."""
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""

    def push(self, context: Context, url: str) -> None:
        """Make the link visible, from now on: Airflow itself does so only when the task pauses or ends."""
        context["ti"].xcom_push(key=self.xcom_key, value=url)
