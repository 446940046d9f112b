"""Pages of the web application: where users see what the API names."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.redaction import redact_userinfo
from airflow_provider_trifacta.api.text import MAX_LINE, is_line
from airflow_provider_trifacta.api.urls import SCHEMES, is_host

# Dataprep serves its API from a host of its own. The others have both on one host.
_APPLICATION_OF = {"https://api.clouddataprep.com": "https://clouddataprep.com"}


@dataclass(frozen=True)
class Application:
    """The web application beside an API.

    :param url: its base URL. What follows a "?" is part of every link: Dataprep wants
        ``?projectId=my-project``.
    """

    url: str

    @classmethod
    def beside(cls, base_url: str) -> Application:
        """Return the application that goes with the base URL of an API, as far as that can be known."""
        return cls(_APPLICATION_OF.get(base_url.removesuffix(":443"), base_url))

    def job_group_url(self, job_group_id: Id) -> str:
        """Return the page of a job group."""
        return self._page(f"jobs/{_segment(job_group_id)}")

    def flow_url(self, flow_id: Id) -> str:
        """Return the page of a flow."""
        return self._page(f"flows/{_segment(flow_id)}")

    def jobs_url(self) -> str:
        """Return the page that lists job groups."""
        return self._page("jobs")

    def plans_url(self) -> str:
        """Return the page that lists plans."""
        return self._page("plans")

    def plan_url(self, plan_id: Id) -> str:
        """Return the page of a plan."""
        return self._page(f"plans/{_segment(plan_id)}")

    def recipe_url(self, flow_id: Id, recipe_id: Id) -> str:
        """Return the page of a flow with one of its recipes selected."""
        return self._page(f"flows/{_segment(flow_id)}", f"recipe={_segment(recipe_id)}")

    def _page(self, path: str, query: str = "") -> str:
        base, _, said_always = self.url.partition("?")
        query = "&".join(part for part in (query, said_always) if part)
        return f"{base.rstrip('/')}/{path}" + (f"?{query}" if query else "")


def check_application_url(name: str, value: object) -> str:
    """Return the base URL of an application.

    :param name: how the person who gave it calls it; named in the error.
    :raises TrifactaConfigurationError: not an http(s) URL, or one with a password or a fragment in it.
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
