"""Links to pages of the web application."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.redaction import redact_userinfo
from airflow_provider_trifacta.api.text import MAX_LINE, is_line
from airflow_provider_trifacta.api.urls import SCHEMES, is_host

# Dataprep serves its API from a separate host. Other editions use one host for both.
_APPLICATION_OF = {"https://api.clouddataprep.com": "https://clouddataprep.com"}


@dataclass(frozen=True)
class Application:
    """The web application of an installation.

    :param url: its base URL. A query string is added to every link: Dataprep needs
        ``?projectId=my-project``.
    """

    url: str

    @classmethod
    def beside(cls, base_url: str) -> Application:
        """Return the likely application for the base URL of an API."""
        return cls(_APPLICATION_OF.get(base_url.removesuffix(":443"), base_url))

    def job_group_url(self, job_group_id: Id) -> str:
        """Return the URL of a job group's page."""
        return self._page(f"jobs/{_segment(job_group_id)}")

    def flow_url(self, flow_id: Id) -> str:
        """Return the URL of a flow's page."""
        return self._page(f"flows/{_segment(flow_id)}")

    def jobs_url(self) -> str:
        """Return the URL of the page that lists job groups."""
        return self._page("jobs")

    def plans_url(self) -> str:
        """Return the URL of the page that lists plans."""
        return self._page("plans")

    def plan_url(self, plan_id: Id) -> str:
        """Return the URL of a plan's page."""
        return self._page(f"plans/{_segment(plan_id)}")

    def recipe_url(self, flow_id: Id, recipe_id: Id) -> str:
        """Return the URL of a flow's page with one of its recipes selected."""
        return self._page(f"flows/{_segment(flow_id)}", f"recipe={_segment(recipe_id)}")

    def _page(self, path: str, query: str = "") -> str:
        base, _, said_always = self.url.partition("?")
        query = "&".join(part for part in (query, said_always) if part)
        return f"{base.rstrip('/')}/{path}" + (f"?{query}" if query else "")


def check_application_url(name: str, value: object) -> str:
    """Return the base URL of an application after checking it.

    :param name: the user's name for the setting, for the error.
    :raises TrifactaConfigurationError: not an http(s) URL, or one with a user name, a password or a fragment.
    """
    url = value.strip() if isinstance(value, str) else ""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in SCHEMES and is_host(parts) and parts.port != 0 and is_line(url, MAX_LINE)
    except ValueError:
        usable = False
    if not usable or parts.fragment or parts.username is not None:
        raise TrifactaConfigurationError(
            f"{name}: {redact_userinfo(str(value))!r} is not the address of the web application, for example "
            "https://clouddataprep.com"
        )
    return url


def _segment(value: Id) -> str:
    return quote(str(value), safe="")
