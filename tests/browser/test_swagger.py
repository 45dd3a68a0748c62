"""Swagger UI in a browser."""

import json
from pathlib import Path

import pytest

from browsing import KEY, PASSWORD, REPO, USER, Instance, Page

SAMPLES = sorted((REPO / "models/samples").glob("*.jpg"))
OPEN, CLOSED = (next(s for s in SAMPLES if s.name.startswith(label)) for label in ("aberta", "fechada"))


class Operation:
    """One route, opened to be tried."""

    def __init__(self, page: Page, service: Instance, identifier: str):
        self.page, self.at = page, f"#operations-{identifier}"
        page.driver.get("about:blank")
        page.driver.get(f"{service.url}/docs/#/{identifier.replace('-', '/', 1)}")
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


def authorise(page: Page, service: Instance, scheme: str) -> None:
    page.driver.get("about:blank")
    page.driver.get(f"{service.url}/docs/")
    page.click(".btn.authorize")
    fields = {"basic": {"username": USER, "password": PASSWORD}, "apiKey": {"api_key_value": KEY}}[scheme]
    for identifier, text in fields.items():
        page.one(f".auth-container #{'auth-' if scheme == 'basic' else ''}{identifier}").send_keys(text)
    field = page.one(f".auth-container #{'auth-username' if scheme == 'basic' else 'api_key_value'}")
    form = field.find_element("xpath", "ancestor::form")
    form.find_element("css selector", "button.authorize").click()
    page.wait(lambda: form.find_elements("xpath", './/button[text()="Logout"]'))
    page.click(".auth-btn-wrapper .btn-done, .btn.modal-btn.auth.btn-done")


def test_it_lists_the_api_and_tries_it_out(service: Instance, page: Page):
    page.driver.get(f"{service.url}/docs/")
    for path in service.json("openapi.json")["paths"]:
        page.one(f'.opblock-summary-path[data-path="{path}"]')
    health = Operation(page, service, "health-health")
    assert health.answer() == (200, {"status": "ok"})
    page.screenshot("swagger-ui")


@pytest.mark.parametrize("scheme", ["basic", "apiKey"])
def test_samples_are_classified_by_both_forms_with_credentials(guarded: Instance, page: Page, scheme: str):
    authorise(page, guarded, scheme)
    # The credentials are the window's, which stays.
    page.run("window.location.hash = '#/predict/predict'")
    predict = Operation.__new__(Operation)
    predict.page, predict.at = page, "#operations-predict-predict"
    page.click(f"{predict.at} .opblock-summary-control")
    page.click(f"{predict.at} .try-out__btn")

    predict.send_as("multipart/form-data")
    predict.choose(OPEN)
    status, answer = predict.answer()
    assert (status, answer["prediction"], answer["image_name"]) == (200, "aberta", OPEN.name)
    page.screenshot(f"swagger-ui-{scheme}")

    predict.send_as("application/octet-stream")
    predict.choose(CLOSED)
    status, answer = predict.answer()
    assert (status, answer["prediction"]) == (200, "fechada")


def test_without_credentials_the_problem_is_shown(guarded: Instance, page: Page):
    page.provoked.add(401)
    predict = Operation(page, guarded, "predict-predict")
    predict.send_as("application/octet-stream")
    predict.choose(OPEN)
    status, answer = predict.answer()
    assert (status, answer["status"]) == (401, 401)
