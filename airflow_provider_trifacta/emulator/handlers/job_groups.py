"""Job groups, the jobs in them, and the job library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_trifacta.emulator.clock import epoch
from airflow_provider_trifacta.emulator.connect_strings import connect_string
from airflow_provider_trifacta.emulator.handlers.base import Call, Content, Handlers, handles
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.selection import listed, matching, with_selection
from airflow_provider_trifacta.emulator.state import Row, shown


@handles("runJobGroup")
def _run_job_group(self: Handlers, call: Call) -> Any:
    recipe = self.state.get("wrangledDatasets", call.body["wrangledDataset"]["id"])
    if call.body.get("testMode"):
        return {"datasetId": int(recipe["id"]), "datasetName": recipe["name"] or "", "sessionId": "test"}

    def start() -> Any:
        job_group = self.runs.start_job_group(
            recipe,
            call.person,
            overrides=call.body.get("overrides") or {},
            run_parameters=call.body.get("runParameters") or {},
            ranfrom=call.body.get("ranfrom"),
        )
        return self.runs.started(job_group)

    return self.once(call, start)


@handles("listJobGroups")
def _list_job_groups(self: Handlers, call: Call) -> Any:
    self.runs.look_at_all()
    rows = list(self.state.rows("jobGroups"))
    if "flowNodeId" in call.query:
        rows = [row for row in rows if str(row["wrangledDataset"]["id"]) == str(call.query["flowNodeId"])]
    return _job_groups(self, rows, call.query)


def _job_groups(self: Handlers, rows: list[Row], query: Mapping[str, Any]) -> Any:
    page = listed(self.state, "jobGroups", rows, query)
    return page | {"data": [self.writing.listed(row) for row in page["data"]]}


def _library(self: Handlers, call: Call) -> list[Row]:
    self.runs.look_at_all()
    shown_since = self.state.clock.now() - self.library_lag
    rows = [
        row
        for row in self.state.rows("jobGroups")
        if self.library_lag == 0 or epoch(row["createdAt"]) <= shown_since
    ]
    if call.query.get("runBy") == "currentUser":
        rows = [row for row in rows if row["creator"]["id"] == call.person]
    return rows


@handles("listJobLibrary")
def _list_job_library(self: Handlers, call: Call) -> Any:
    return _job_groups(self, _library(self, call), call.query)


@handles("countJobLibrary")
def _count_job_library(self: Handlers, call: Call) -> Any:
    return {"count": len(matching("jobGroups", _library(self, call), call.query))}


@handles("getJobGroup")
def _get_job_group(self: Handlers, call: Call) -> Any:
    row = with_selection(self.state, "jobGroups", self.job_group(call, poll=True), call.query)
    return self.writing.alone(row)


@handles("getJobGroupStatus")
def _get_job_group_status(self: Handlers, call: Call) -> Any:
    return self.job_group(call, poll=True)["status"]


@handles("getJobsForJobGroup")
def _get_jobs_for_job_group(self: Handlers, call: Call) -> Any:
    return {"data": [shown(job) for job in self.runs.jobs_of(self.job_group(call))]}


@handles("getJobStatus")
def _get_job_status(self: Handlers, call: Call) -> Any:
    job = self.state.get("jobs", call.id)
    self.runs.look(self.state.get("jobGroups", job["jobGroup"]["id"], deleted=True), poll=True)
    return job["status"]


@handles("getJobGroupInputs")
def _get_job_group_inputs(self: Handlers, call: Call) -> Any:
    job_group = self.job_group(call)
    source: Row = {"wrangledDataset": job_group["wrangledDataset"]}
    while "wrangledDataset" in source:
        recipe = self.state.get("wrangledDatasets", source["wrangledDataset"]["id"], deleted=True)
        source = recipe["_source"]
    if "importedDataset" not in source:
        return {"data": []}
    dataset = self.state.get("importedDatasets", source["importedDataset"]["id"], deleted=True)
    return {"data": [{"name": dataset["name"], "inputs": [_input(dataset)]}]}


def _input(dataset: Row) -> Row:
    """Return the file, table or query of an imported dataset."""
    location, table = dataset.get("storageLocation"), dataset.get("relationalSource") or {}
    if location:
        return {"uri": location["fullUri"], "fileType": "FILE"}
    vendor, query = table.get("jdbcType") or "postgres", table.get("raw")
    return {
        "vendor": vendor,
        "databaseConnectString": connect_string(vendor),
        "relationalPath": [] if query else table.get("jdbcPath", []),
        "table": None if query else table.get("jdbcTable"),
        "action": "read",
        "query": [query] if query else None,
    }


@handles("getJobGroupOutputs")
def _get_job_group_outputs(self: Handlers, call: Call) -> Any:
    job_group = self.job_group(call)
    if job_group["status"] != "Complete":
        return {"files": [], "tables": []}
    files = [
        {"uri": uri, "fileType": "FILE", "isPrimaryOutput": number == 0}
        for number, uri in enumerate(job_group["_files"])
    ]
    tables = [
        {
            "vendor": publication["targetType"],
            "databaseConnectString": connect_string(publication["targetType"]),
            "relationalPath": publication["path"],
            "table": publication["tableName"],
            "action": publication["action"],
        }
        for publication in _publications(self, job_group)
    ]
    return {"files": files, "tables": tables}


def _publications(self: Handlers, job_group: Row) -> list[Row]:
    return [self.state.get("publications", identity, deleted=True) for identity in job_group["_publications"]]


@handles("getPublicationsForJobGroup")
def _get_publications_for_job_group(self: Handlers, call: Call) -> Any:
    return {"data": [shown(row) for row in _publications(self, self.job_group(call))]}


def _profile(self: Handlers, call: Call) -> dict[str, Any]:
    job_group = self.job_group(call)
    if not job_group["profilingEnabled"] or job_group["status"] != "Complete":
        raise Problem(
            400,
            "ProfilingDataNotFoundException",
            "Profiling data not found",
            f"Job group {job_group['id']} does not have profiling data",
        )
    counts = [
        {"key": "VALID", "count": 98},
        {"key": "EMPTY", "count": 1},
        {"key": "INVALID", "count": 1},
    ]
    profile = {
        "columnTypes": {"order_id": ["Integer"], "region": ["String"]},
        "profilerTypeCheckHistograms": {"order_id": counts, "region": counts},
        "profilerValidValueHistograms": {},
        "profilerRules": {},
    }
    return {str(job_group["wrangledDataset"]["id"]): profile}


@handles("getProfilingInformationForJobGroup")
def _get_profile(self: Handlers, call: Call) -> Any:
    return next(iter(_profile(self, call).values()))


@handles("getProfilingInformationForJobGroupConsistent")
def _get_profile_results(self: Handlers, call: Call) -> Any:
    return _profile(self, call)


@handles("getJobGroupPdfResults")
def _get_pdf_results(self: Handlers, call: Call) -> Any:
    _profile(self, call)
    return Content("application/pdf", _pdf(f"Profile of job group {call.id}"))


def _pdf(text: str) -> bytes:
    """Return a PDF of one page with one line of text."""
    stream = f"BT /F1 18 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + trailer


@handles("cancelJobGroup")
def _cancel_job_group(self: Handlers, call: Call) -> Any:
    job_group = self.state.get("jobGroups", call.id)
    self.runs.cancel(job_group, call.person)
    jobs = [job["id"] for job in self.runs.jobs_of(job_group)]
    return {"jobIds": jobs, "jobgroupId": job_group["id"]}
