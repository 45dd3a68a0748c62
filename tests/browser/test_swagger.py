"""Swagger UI in a browser."""

import json
from pathlib import Path
from typing import Callable

import pytest

from browsing import KEY, REPO, USER, Instance, Page, digest

SAMPLES = sorted((REPO / "models/samples").glob("*.jpg"))
OPEN, CLOSED = (next(s for s in SAMPLES if s.name.startswith(label)) for label in ("aberta", "fechada"))


# Swagger UI does not write others in UTF-8.
PASSWORD = "an ASCII password"


@pytest.fixture(scope="module")
def locked(new_instance: Callable[..., Instance]) -> Instance:
    model = str(REPO / "models/bottle.onnx")
    return new_instance(MODEL=model, API_USERNAME=USER, API_PASSWORD=PASSWORD, API_KEYS=f"test:{digest()}")


class Operation:
    """One route, opened to be tried."""

    def __init__(self, page: Page, identifier: str):
        self.page, self.at = page, f"#operations-{identifier}"
        page.click(f"{self.at} .opblock-summary-control")
        page.click(f"{self.at} .try-out__btn")

    def send_as(self, content_type: str) -> None:
        choice = self.page.one(f"{self.at} .opblock-section-request-body select")
        choice.find_element("css selector", f'option[value="{content_type}"]').click()

    def choose(self, picture: Path, row: str = "") -> None:
        self.page.one(f"{self.at} {row} input[type=file]").send_keys(str(picture))

    def answer(self) -> tuple[int, dict]:
        self.page.click(f"{self.at} button.execute")
        row = f"{self.at} .live-responses-table .response"
        status = int(self.page.one(f"{row} .response-col_status").text.split()[0])
        return status, json.loads(self.page.one(f"{row} .highlight-code code").text)


def open_docs(page: Page, service: Instance) -> None:
    page.driver.get("about:blank")
    page.driver.get(f"{service.url}/docs/")


def authorise(page: Page, scheme: str) -> None:
    page.click(".btn.authorize")
    fields = {"basic": {"auth-basic-username": USER, "auth-basic-password": PASSWORD}, "apiKey": {"api_key_value": KEY}}
    for identifier, text in fields[scheme].items():
        field = page.one(f"#{identifier}")
        field.send_keys(text)
    form = field.find_element("xpath", "ancestor::form")
    form.find_element("css selector", "button.authorize").click()
    page.wait(lambda: form.find_elements("xpath", './/button[text()="Logout"]'))
    page.click(".auth-container .btn-done")
    # Chromium misses an attribute of that form.
    remarks = page.complaints()
    assert all("autocomplete" in remark for remark in remarks), remarks


def test_it_lists_the_api_and_tries_it_out(service: Instance, page: Page):
    open_docs(page, service)
    for path in service.json("openapi.json")["paths"]:
        page.one(f'.opblock-summary-path[data-path="{path}"]')
    health = Operation(page, "health-health")
    assert health.answer() == (200, {"status": "ok"})
    page.screenshot("swagger-ui")


@pytest.mark.parametrize("scheme", ["basic", "apiKey"])
def test_samples_are_classified_by_both_forms_with_credentials(locked: Instance, page: Page, scheme: str):
    open_docs(page, locked)
    authorise(page, scheme)
    predict = Operation(page, "predict-predict")
    # A form is what is offered first.
    predict.choose(OPEN)
    status, answer = predict.answer()
    assert (status, answer["prediction"], answer["image_name"]) == (200, "aberta", OPEN.name)
    page.screenshot(f"swagger-ui-{scheme}")

    predict.send_as("application/octet-stream")
    predict.choose(CLOSED)
    status, answer = predict.answer()
    assert (status, answer["prediction"]) == (200, "fechada")
