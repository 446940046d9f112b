"""The buttons of a task that link to the web application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.airflow_support.compat import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context


class PushedLink(BaseOperatorLink):
    """A button whose target the task specifies.

    Airflow 3 reads the link from an XCom, which it writes only when the task pauses or ends. So the task pushes
    the link itself, as soon as it is known.
    """

    @property
    def xcom_key(self) -> str:
        """The XCom that Airflow 3 reads the link from."""
        return f"_link_{type(self).__name__}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the link that the task pushed, an empty string before that."""
        return XCom.get_value(ti_key=ti_key, key=self.xcom_key) or ""

    def push(self, context: Context, url: str) -> None:
        """Make the link visible."""
        context["ti"].xcom_push(key=self.xcom_key, value=url)


class TrifactaJobGroupLink(PushedLink):
    """The button "Trifacta job group" of a task."""

    name = "Trifacta job group"


class TrifactaFlowLink(PushedLink):
    """The button "Trifacta flow" of a task."""

    name = "Trifacta flow"


class TrifactaRecipeLink(PushedLink):
    """The button "Trifacta recipe" of a task: the flow, with the recipe selected."""

    name = "Trifacta recipe"


class TrifactaPlanLink(PushedLink):
    """The button "Trifacta plan" of a task."""

    name = "Trifacta plan"


#: The buttons of every task that waits for a job group.
LINKS = (TrifactaJobGroupLink(), TrifactaFlowLink(), TrifactaRecipeLink())
