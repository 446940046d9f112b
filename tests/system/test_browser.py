"""What a person sees in a browser, in a real Airflow: the connection form, its Test, the log and the buttons.

With ``SCREENSHOTS=docs/images`` the pictures in the documentation are taken anew. Needs Chromium, as Debian and
others package it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance
from chromium import CHROMIUM, browser, take_picture
from playwright.sync_api import Page, expect

from airflow_provider_trifacta.connection import EXTRA_FIELDS
from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system
#: What is put into the fields of the extra that have no default.
SETTINGS = {
    "token_variable": "trifacta_token_of_the_form",
    "application_url": "https://app.example.com",
    "read_timeout": "45",
}
on_airflow_3 = pytest.mark.skipif(not IS_AIRFLOW_3, reason="the UI of Airflow 3")
on_airflow_2 = pytest.mark.skipif(IS_AIRFLOW_3, reason="the UI of Airflow 2")


@pytest.fixture(scope="module")
def page(airflow: AirflowInstance) -> Iterator[Page]:
    if CHROMIUM is None:
        reason = "there is no Chromium on this machine (Debian: apt-get install chromium)"
        pytest.fail(reason) if os.environ.get("REQUIRE_BROWSER") else pytest.skip(reason)
    with browser() as running:
        page = running.new_page(viewport={"width": 1200, "height": 1000}, base_url=airflow.url)
        # The first page of a server that has just started takes long on a busy machine.
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page


def _base_url(emulator: Emulator) -> tuple[str, str]:
    """Return base URL and port: Airflow 3.3.2 tests no stored connection without a port in its own field."""
    base_url, _, port = emulator.url.rpartition(":")
    return base_url, port


def _assert_stored(airflow: AirflowInstance, conn_id: str, emulator: Emulator) -> None:
    stored = airflow.connection(conn_id)
    base_url, port = _base_url(emulator)
    assert (stored["conn_type"], stored["host"], stored["port"]) == ("trifacta", base_url, int(port))
    assert stored["password"] == emulator.token
    extra = json.loads(stored["extra"]) if isinstance(stored["extra"], str) else stored["extra"]
    assert set(extra) <= set(EXTRA_FIELDS)
    assert {name: str(extra[name]) for name in SETTINGS} == SETTINGS
    assert extra["verify"] is True
    assert float(extra["retry_budget"]) == 900


@on_airflow_3
def test_the_form_of_airflow_3(page: Page, airflow: AirflowInstance, emulator: Emulator) -> None:
    base_url, port = _base_url(emulator)
    page.goto("/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill("from_the_form")
    form.get_by_role("combobox").click()
    page.keyboard.type("Trifacta")
    page.keyboard.press("Enter")
    for field, label in {"host": "Base URL", "password": "API access token"}.items():
        expect(form.get_by_text(label, exact=True)).to_be_visible()
        expect(form.locator(f"input[name={field}]")).to_have_attribute("placeholder", re.compile("."))
    expect(form.locator("input[name=login]")).to_have_count(0)
    form.locator("input[name=host]").fill("https://api.clouddataprep.com")
    form.locator("input[name=password]").fill("not-a-real-token")
    take_picture(form, "connection-form")
    form.locator("input[name=host]").fill(base_url)
    form.locator("input[name=port]").fill(port)
    form.locator("input[name=password]").fill(emulator.token)
    seen: list[str] = []
    for section in dict.fromkeys(str(field.schema["section"]) for field in EXTRA_FIELDS.values()):
        form.get_by_role("button", name=section, exact=True).click()
        for name, field in EXTRA_FIELDS.items():
            if field.schema["section"] == section:
                expect(form.get_by_text(field.label, exact=True)).to_be_visible()
                expect(form.get_by_text(field.description, exact=True)).to_be_visible()
                seen.append(name)
                if name in SETTINGS:
                    form.locator(f"input[name=element_{name}]").fill(SETTINGS[name])
        if section == "Token":
            take_picture(form, "connection-form-token")
    assert seen == list(EXTRA_FIELDS)
    form.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="from_the_form")
    expect(row).to_be_visible()
    _assert_stored(airflow, "from_the_form", emulator)

    row.get_by_label("Test Connection").click()
    expect(
        page.get_by_text(f"Connected to {emulator.url}. The token belongs to emulator@example.com.")
    ).to_be_visible()
    take_picture(page, "connection-test")

    row.get_by_label("Edit Connection").click()
    assert form.locator("input[name=element_application_url]").input_value() == SETTINGS["application_url"]
    assert form.locator("input[name=element_read_timeout]").input_value() == SETTINGS["read_timeout"]
    for secret in ("password", "element_token_variable"):
        assert set(form.locator(f"input[name={secret}]").input_value()) == {"*"}
    form.locator("textarea[name=description]").fill("looked at")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row").filter(has_text="looked at")).to_be_visible()
    _assert_stored(airflow, "from_the_form", emulator)


@on_airflow_2
def test_the_form_of_airflow_2(page: Page, airflow: AirflowInstance, emulator: Emulator) -> None:
    base_url, port = _base_url(emulator)
    page.goto("/login/")
    page.fill("#username", "admin")
    page.fill("#password", "admin")
    page.locator("input[type=submit]").click()
    page.goto("/connection/add")
    page.fill("#conn_id", "from_the_form")
    page.locator("#conn_type").evaluate("select => { select.value = 'trifacta'; $(select).trigger('change') }")
    expect(page.get_by_text("API access token", exact=True)).to_be_visible()
    for hidden in ("login", "extra"):
        expect(page.locator(f"label[for={hidden}]")).to_be_hidden()
    for field, value in {"host": base_url, "port": port, "password": emulator.token}.items():
        page.fill(f"#{field}", value)
    for name, field in EXTRA_FIELDS.items():
        expect(page.get_by_text(field.label, exact=True)).to_be_visible()
        expect(page.get_by_text(field.description, exact=True)).to_be_visible()
        if name in SETTINGS:
            page.fill(f"#extra__trifacta__{name}", SETTINGS[name])
    page.locator("#test-connection").click()
    expect(page.get_by_text("The token belongs to emulator@example.com.")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Added Row")).to_be_visible()
    _assert_stored(airflow, "from_the_form", emulator)

    page.goto("/connection/list/")
    page.get_by_role("row").filter(has_text="from_the_form").locator("a[href*='/connection/edit/']").click()
    assert page.input_value("#extra__trifacta__application_url") == SETTINGS["application_url"]
    assert page.input_value("#extra__trifacta__read_timeout") == SETTINGS["read_timeout"]
    assert emulator.token not in page.content()
    page.fill("#description", "looked at")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Changed Row")).to_be_visible()
    _assert_stored(airflow, "from_the_form", emulator)


@on_airflow_3
def test_a_failed_task_says_why_without_a_stack(page: Page, airflow: AirflowInstance, emulator: Emulator) -> None:
    airflow.trigger("fails", "browser")
    assert airflow.end_of("fails", "browser") == "failed"
    identity = airflow.xcoms("fails", "browser")["run", "job_group_id"]
    page.goto("/dags/fails/runs/browser/tasks/run")
    expect(page.get_by_text(f"Job group {identity} failed:").first).to_be_visible()
    expect(page.get_by_text("Task failed with exception TrifactaJobGroupFailed")).to_be_visible()
    assert "task_runner.py" not in page.content()
    assert emulator.token not in page.content()
    take_picture(page, "failed-task")


@on_airflow_3
def test_buttons_lead_into_the_application_while_the_task_runs(
    page: Page, airflow: AirflowInstance, emulator: Emulator
) -> None:
    known = {row["id"] for row in emulator.job_groups}
    airflow.trigger("endless_deferred", "browser")
    try:
        buttons = {}
        page.goto("/dags/endless_deferred/runs/browser/tasks/run/details")
        for name in ("Trifacta job group", "Trifacta flow", "Trifacta recipe"):
            button = page.get_by_role("link", name=name)
            expect(button).to_be_visible()
            buttons[name] = button.get_attribute("href")
        (identity,) = {row["id"] for row in emulator.job_groups} - known
        assert buttons == {
            "Trifacta job group": f"{emulator.url}/jobs/{identity}",
            "Trifacta flow": f"{emulator.url}/flows/301",
            "Trifacta recipe": f"{emulator.url}/flows/301?recipe=9",
        }
        expect(page.get_by_text("deferred").first).to_be_visible()
        take_picture(page, "buttons")
    finally:
        path = "/api/v2/dags/endless_deferred/dagRuns/browser/taskInstances/run"
        airflow.api("PATCH", path, {"new_state": "failed"})


@on_airflow_3
def test_the_graph_of_what_a_run_wrote(page: Page, airflow: AirflowInstance) -> None:
    written = "s3://example-bucket/orders/out_7.csv"
    if not airflow.rows("select 1 from asset where uri = ?", written):
        airflow.trigger("trifacta_write_outputs", "for_the_graph")
        assert airflow.end_of("trifacta_write_outputs", "for_the_graph") == "success"
    page.set_viewport_size({"width": 1200, "height": 560})
    # What its options offer as "All Dag Dependencies".
    page.goto("/dags/trifacta_load_outputs")
    page.evaluate("localStorage.setItem('dependencies-trifacta_load_outputs', JSON.stringify('all'))")
    page.reload()
    page.get_by_label("Show Graph").click()
    page.get_by_label("Collapse Details Panel").click()
    for node in ("trifacta_write_outputs/run_recipe", written):
        expect(page.get_by_text(node, exact=True)).to_be_visible()
    page.wait_for_timeout(1000)  # while it moves into the middle
    take_picture(page.locator(".react-flow").first, "asset-graph")
    page.set_viewport_size({"width": 1200, "height": 1000})
