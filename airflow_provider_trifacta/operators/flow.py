"""Running, copying and deleting flows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_trifacta.airflow_support.argument_names import SuggestsArgumentNames
from airflow_provider_trifacta.airflow_support.compat import BaseOperator, conf
from airflow_provider_trifacta.airflow_support.mapped_names import NamesMappedItems
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.links import TrifactaFlowLink, TrifactaJobGroupLink
from airflow_provider_trifacta.operators.output_assets import EmitsOutputAssets

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context, ObjectStoragePath
    from airflow_provider_trifacta.api.runs.kind import Launch, RunKind, RunRef
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.tasks.outcome import OwnRun
    from airflow_provider_trifacta.tasks.results import ResultPaths
    from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaRunFlowOperator(EmitsOutputAssets):
    """Run the outputs of a flow (``runFlow``), and wait until its flow run ends.

    The task succeeds only when every job group of the flow run is ``Complete``, and the flow run itself. It
    returns the id of the flow run, an int, in every mode. A flow run that started no job group fails the task
    without retries: there is nothing to run.

    An attempt never starts two flow runs, whatever fails: each is submitted with an ``x-execution-id`` that is
    reused when the request or the task is retried. A retry continues the flow run of the previous try, and starts
    a new one only when that one did not end well or no longer exists; a clear by a user always starts a new one.
    Canceling cancels every job group that is still active.

    :param flow_id: the flow: the number after ``/flows/`` in the URL of its page, or that URL (templated).
    :param wrangled_dataset_ids: the recipes whose outputs are run; None runs all outputs of the flow (templated).
    :param run_parameters: parameter names to values, e.g. ``{"region": "emea"}`` (templated).
    :param overrides: settings of outputs for this run by the **name** of their recipe, e.g.
        ``{"Orders clean": {"profiler": True}}``. The server does not check them (templated).
    :param request_body_extra: further members of the request, e.g. ``{"ignoreRecipeErrors": True}`` (templated).
    :param wait_for_completion: whether to wait until the flow run ends.
    :param deferrable: whether to wait in the triggerer, without holding a worker.
    :param poll_interval: seconds between two polls of a long run; the first ones come sooner.
    :param unknown_status_timeout: seconds to keep waiting while the status is an unknown value.
    :param retry_budget: seconds for which a failing call is retried; None uses the connection's.
    :param cancel_on_kill: whether the flow run is canceled when the task is killed, cleared or marked while it
        waits.
    :param durable: whether a retry continues the flow run of the previous try; otherwise it starts a new one.
    :param outputs_json_path: where to save the list of files and tables that were written: a path on this machine,
        or one in a storage that Airflow knows (templated).
    :param emit_output_assets: whether each file and table that was written gets an asset event, through the asset
        aliases in ``outlets`` or, if there are none, one named ``<dag_id>/<task_id>``.
    :param trifacta_conn_id: the Airflow connection (templated).
    """

    template_fields: Sequence[str] = (
        "flow_id",
        "wrangled_dataset_ids",
        "run_parameters",
        "overrides",
        "request_body_extra",
        "outputs_json_path",
        "trifacta_conn_id",
    )
    template_fields_renderers = {  # noqa: RUF012
        "wrangled_dataset_ids": "json",
        "run_parameters": "json",
        "overrides": "json",
        "request_body_extra": "json",
    }
    item_arguments: ClassVar[Mapping[str, str]] = {
        "flow_id": "flow",
        "wrangled_dataset_ids": "recipes",
        "run_parameters": "",
        "overrides": "",
    }
    operator_extra_links = (TrifactaFlowLink(), TrifactaJobGroupLink())

    def __init__(
        self,
        *,
        flow_id: int | str,
        wrangled_dataset_ids: Sequence[int | str] | str | None = None,
        run_parameters: Mapping[str, str | int | float | bool] | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        request_body_extra: Mapping[str, Any] | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30.0,
        unknown_status_timeout: float = 600.0,
        retry_budget: float | None = None,
        cancel_on_kill: bool = True,
        durable: bool = True,
        outputs_json_path: str | os.PathLike[str] | ObjectStoragePath | None = None,
        emit_output_assets: bool = False,
        trifacta_conn_id: str = "trifacta_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            wait_for_completion=wait_for_completion,
            deferrable=deferrable,
            poll_interval=poll_interval,
            unknown_status_timeout=unknown_status_timeout,
            retry_budget=retry_budget,
            cancel_on_kill=cancel_on_kill,
            durable=durable,
            results={"outputs_json_path": outputs_json_path},
            emit_output_assets=emit_output_assets,
            trifacta_conn_id=trifacta_conn_id,
            **kwargs,
        )
        self.flow_id = flow_id
        self.wrangled_dataset_ids = wrangled_dataset_ids
        self.run_parameters = run_parameters
        self.overrides = overrides
        self.request_body_extra = request_body_extra
        self.outputs_json_path = outputs_json_path

    def execute_complete(
        self,
        context: Context,
        event: Any = None,
        continued: bool = False,
        flow_run_id: int | None = None,
        job_group_ids: Sequence[int] = (),
    ) -> int:
        """Resume after the trigger: succeed, or fail with the reason.

        :param continued: whether an earlier try had started the flow run.
        :param flow_run_id: the flow run that the task was deferred for; None takes it from the XCom.
        :param job_group_ids: the job groups named in the answer to its start.
        """
        own = None if flow_run_id is None else self._ref(flow_run_id, job_group_ids)
        flow_run: int = self._complete(context, event, own, continued=continued)
        return flow_run

    def _kind(self) -> RunKind:
        from airflow_provider_trifacta.api.runs.flow_run import FLOW_RUNS

        return FLOW_RUNS

    def _launch(self) -> Launch:
        from airflow_provider_trifacta.api.runs.flow_launch import FlowLaunch

        return FlowLaunch(
            self.flow_id,
            wrangled_dataset_ids=self.wrangled_dataset_ids,
            run_parameters=self.run_parameters,
            overrides=self.overrides,
            request_body_extra=self.request_body_extra,
        )

    def _trigger(self, run: RunRef, **arguments: Any) -> RunTrigger:
        from airflow_provider_trifacta.triggers.flow import TrifactaFlowRunTrigger

        return TrifactaFlowRunTrigger(
            flow_run_id=run.id, flow_id=run.subject_id, job_group_ids=list(run.parts), **arguments
        )

    def _resumed_with(self, run: RunRef) -> dict[str, Any]:
        return {"flow_run_id": run.id, "job_group_ids": list(run.parts)}

    def _ref(self, run_id: Any, parts: Sequence[int] = ()) -> RunRef:
        from airflow_provider_trifacta.api.arguments import check_id
        from airflow_provider_trifacta.api.ids import id_of
        from airflow_provider_trifacta.api.runs.kind import RunRef

        return RunRef(id_of(run_id) or run_id, tuple(parts), check_id("flow_id", self.flow_id))

    def _check_results(self) -> None:
        self._result_paths()

    def _save_results(self, run: OwnRun) -> None:
        from airflow_provider_trifacta.tasks.results import save_outputs

        path = self._result_paths().outputs_json_path
        if path is not None:
            save_outputs(run, path)

    def _result_paths(self) -> ResultPaths:
        from airflow_provider_trifacta.tasks.results import ResultPaths

        return ResultPaths.check(outputs_json_path=self.outputs_json_path)


class _FlowOperator(SuggestsArgumentNames, NamesMappedItems, BaseOperator):
    """An operator that does one thing with a flow and does not wait."""

    ui_color = "#e8eaf3"
    item_arguments: ClassVar[Mapping[str, str]] = {"flow_id": "flow"}

    def __init__(self, *, flow_id: int | str, trifacta_conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flow_id = flow_id
        self.trifacta_conn_id = trifacta_conn_id

    def _hook(self) -> TrifactaHook:
        from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

        return TrifactaHook(self.trifacta_conn_id)


class TrifactaCopyFlowOperator(_FlowOperator):
    """Copy a flow (``copyFlow``), and return the id of the copy.

    The API offers no execution id for copies, so the request is sent only once. If the answer is lost, the copy is
    searched for by name, and the task succeeds only when exactly one new flow has that name. Without a ``name``,
    the error reports what may exist.

    :param flow_id: the flow: the number after ``/flows/`` in the URL of its page, or that URL (templated).
    :param name: of the copy; None leaves it to the server (templated).
    :param description: of the copy; None leaves it to the server (templated).
    :param copy_datasources: whether its datasets are copied too.
    :param trifacta_conn_id: the Airflow connection (templated).
    """

    template_fields: Sequence[str] = ("flow_id", "name", "description", "trifacta_conn_id")
    operator_extra_links = (TrifactaFlowLink(),)
    item_arguments: ClassVar[Mapping[str, str]] = {"flow_id": "flow", "name": "named"}

    def __init__(
        self,
        *,
        flow_id: int | str,
        name: str | None = None,
        description: str | None = None,
        copy_datasources: bool = False,
        trifacta_conn_id: str = "trifacta_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(flow_id=flow_id, trifacta_conn_id=trifacta_conn_id, **kwargs)
        self.name = name
        self.description = description
        if not isinstance(copy_datasources, bool):
            raise TrifactaConfigurationError(f"copy_datasources: {copy_datasources!r} is neither True nor False")
        self.copy_datasources = copy_datasources

    def execute(self, context: Context) -> int | str:
        """Copy the flow."""
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.tasks.announce import push_flow_link
        from airflow_provider_trifacta.tasks.flow_copy import copy_flow_once

        log_without_stack()
        copy = copy_flow_once(
            self.flow_id,
            name=self.name,
            description=self.description,
            copy_datasources=self.copy_datasources,
            log=self.log,
        )
        hook = self._hook()
        flow_id = hook.run(copy(hook.clock))
        self.log.info("Flow %s was copied to flow %s", self.flow_id, flow_id)
        push_flow_link(hook, flow_id, context, self.log)
        return flow_id


class TrifactaDeleteFlowOperator(_FlowOperator):
    """Delete a flow (``deleteFlow``). A flow that no longer exists counts as deleted.

    :param flow_id: the flow: the number after ``/flows/`` in the URL of its page, or that URL (templated).
    :param trifacta_conn_id: the Airflow connection (templated).
    """

    template_fields: Sequence[str] = ("flow_id", "trifacta_conn_id")

    def __init__(self, *, flow_id: int | str, trifacta_conn_id: str = "trifacta_default", **kwargs: Any) -> None:
        super().__init__(flow_id=flow_id, trifacta_conn_id=trifacta_conn_id, **kwargs)

    def execute(self, context: Context) -> None:
        """Delete the flow."""
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.api.arguments import check_id
        from airflow_provider_trifacta.api.error_answers import says_gone
        from airflow_provider_trifacta.api.errors import TrifactaApiError

        log_without_stack()
        flow_id = check_id("flow_id", self.flow_id)
        try:
            self._hook().delete_flow(flow_id)
        except TrifactaApiError as error:
            if not says_gone(error):
                raise
            self.log.info("Flow %s does not exist: it was already deleted", flow_id)
        else:
            self.log.info("Flow %s was deleted", flow_id)
