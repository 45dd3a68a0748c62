"""The view of answered requests: list, filters, detail, removal and export."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from browsing import FIXTURES, PATIENCE, PICTURE, Instance, Page, http, percent

PICTURES = sorted((FIXTURES / "pictures").glob("png-g*.png"))
# Two pages and a little, the last ones cached.
COUNT = 52


@pytest.fixture(scope="module")
def records(service: Instance) -> list[dict]:
    """What the service has answered, newest first."""
    for i in range(COUNT):
        service.predict(PICTURES[i % len(PICTURES)], f"picture-{i}.png")
    return service.json("requests?limit=500")["requests"]


def shown(page: Page) -> list[str]:
    return [row.get_attribute("data-id") for row in page.all(".rows li")]


def ids(records: list[dict]) -> list[str]:
    return [record["request_id"] for record in records]


def field(page: Page, name: str):
    return page.one(f"#filters [name={name}]")


def test_requests_are_listed_newest_first_with_their_pictures(service: Instance, records: list[dict], page: Page):
    page.open(service, "requests")
    page.rows(24)
    assert shown(page) == ids(records[:24])
    first = page.one(".rows li")
    newest = records[0]
    assert first.find_element(By.CSS_SELECTOR, ".share").text == percent(newest["confidence"])
    assert first.find_element(By.CSS_SELECTOR, ".name").text == newest["image_name"]
    # They are fetched when they come into sight.
    page.wait(lambda: page.all(".rows .thumbnail img"))
    assert len(page.all(".rows .thumbnail img")) < 24
    for row in page.all(".rows li"):
        page.run("arguments[0].scrollIntoView()", row)
    page.wait(lambda: len(page.all(".rows .thumbnail img")) == 24)
    sizes = page.run("return [...document.querySelectorAll('.rows .thumbnail img')].map((i) => "
                     "Math.max(i.naturalWidth, i.naturalHeight))")
    assert all(0 < size <= 160 for size in sizes)
    page.run("scrollTo(0, 0)")
    page.screenshot("requests")

    page.click("#older")
    page.wait(lambda: shown(page) == ids(records[24:48]))
    page.click("#older")
    page.wait(lambda: shown(page) == ids(records[48:]))
    assert not page.one("#older").is_enabled()
    assert page.one("#page-number").text == "Page 3"
    page.click("#newer")
    page.wait(lambda: shown(page) == ids(records[24:48]))

    later = service.predict(PICTURE)
    page.click("#refresh")
    page.wait(lambda: shown(page)[0] == later["request_id"])
    records.insert(0, service.json(f"requests/{later['request_id']}"))


def test_filters_show_what_the_api_gives(service: Instance, records: list[dict], page: Page):
    page.open(service, "requests")
    page.rows(24)
    wanted = records[5]["prediction"]
    Select(field(page, "prediction")).select_by_value(wanted)
    of_class = [r for r in records if r["prediction"] == wanted]
    page.wait(lambda: shown(page) == ids(of_class[:24]))

    middle = sorted(r["confidence"] for r in of_class)[len(of_class) // 2]
    field(page, "min_confidence").send_keys(f"{middle * 100:.4f}", Keys.TAB)
    bound = float(f"{middle * 100:.4f}") / 100
    confident = [r for r in of_class if r["confidence"] >= bound]
    page.wait(lambda: shown(page) == ids(confident[:24]))
    # The address holds the filters, so that they can be sent to somebody.
    assert f"prediction={wanted}" in page.driver.current_url
    page.driver.refresh()
    page.wait(lambda: shown(page) == ids(confident[:24]))
    assert field(page, "prediction").get_property("value") == wanted

    field(page, "max_confidence").send_keys("1", Keys.TAB)
    assert field(page, "max_confidence").get_property("validationMessage")
    page.click("#clear-filters")
    page.wait(lambda: shown(page) == ids(records[:24]))

    page.run("const to = document.querySelector('[name=to]'); const then = new Date(arguments[0]);"
             "to.value = new Date(then - then.getTimezoneOffset() * 60000).toISOString().slice(0, 19);"
             "to.dispatchEvent(new Event('change', { bubbles: true }));", "2020-01-01T00:00:00Z")
    page.rows(0)
    assert page.one("#requests-note").text == "No request matches these filters."


def test_answers_of_one_model_and_those_that_another_doubts(service: Instance, records: list[dict], page: Page):
    model = records[0]["model"]
    ours = f"{model['name']}@{model['version']}"
    page.open(service, f"requests?model={ours}")
    page.wait(lambda: shown(page) == ids(records[:24]))
    assert field(page, "model").get_property("value") == ours
    # No other model has seen any.
    page.open(service, "requests?differs=true")
    page.rows(0)
    assert field(page, "differs").get_property("value") == "true"
    page.open(service, "requests?model=other@0")
    page.rows(0)


def test_filters_of_the_browser_are_marked_as_such(service: Instance, records: list[dict], page: Page):
    page.open(service, "requests?source=computed")
    computed = [r for r in records[:24] if not r["cached"]]
    page.rows(len(computed))
    assert shown(page) == ids(computed)
    hidden = f"Hidden by the filters of this browser: {24 - len(computed)} of 24 on this page."
    assert page.one("#requests-note").text == hidden
    assert field(page, "source").find_element(By.XPATH, "ancestor::fieldset/legend").text == (
        "Applied by this browser, page by page")


def test_one_request_is_shown_with_everything_recorded(service: Instance, records: list[dict], page: Page):
    page.open(service, "requests")
    page.rows(24)
    page.click(f".rows li[data-id='{records[3]['request_id']}'] a")
    page.one("#detail-picture img")
    record = records[3]
    assert page.one("#detail-title").text == record["prediction"]
    assert json.loads(page.text("#detail-json")) == {**record, "review_history": []}
    facts = page.one("#detail-facts").text
    for value in (record["request_id"], record["timestamp"], record["image_sha256"], record["image_ref"],
                  record["user_ip"], record["instance"], record["model"]["version"], "anonymous", "200"):
        assert value in facts
    assert page.one("#detail-picture img").get_property("naturalWidth") == record["image_width"]
    page.screenshot("detail")

    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    page.wait(lambda: page.text("#detail-name") == records[4]["image_name"])
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.wait(lambda: not page.all("#detail"))
    assert shown(page) == ids(records[:24])

    # An address of one request opens it at once, and the list after it.
    page.open(service, f"requests/{record['request_id']}")
    page.wait(lambda: page.text("#detail-name") == record["image_name"])
    page.click("#detail-close")
    page.rows(24)


def test_a_request_that_is_not_there_is_told(service: Instance, page: Page):
    page.provoked = {400, 404}
    page.open(service, "requests/01a1fe85-e09c-74fe-b2c3-5c65b71074c8")
    page.wait(lambda: "there is no request" in page.one("#detail-error").text)
    page.open(service, "requests/nonsense")
    page.wait(lambda: "accepted is a UUID" in page.one("#detail-error").text)


def test_a_request_is_deleted_only_when_that_is_confirmed(service: Instance, records: list[dict], page: Page):
    doomed = service.predict(PICTURE, "doomed.jpg")
    page.open(service, "requests")
    page.rows(24)
    page.click(".rows a")
    page.one("#detail-picture img")
    page.click("#detail-delete")
    assert page.driver.switch_to.active_element.accessible_name == "Keep"
    page.screenshot("delete")
    page.click("#detail-keep")
    assert not page.all("#detail-confirm")
    assert service.json(f"requests/{doomed['request_id']}")["image_name"] == "doomed.jpg"

    page.click("#detail-delete")
    page.click("#detail-delete-now")
    page.wait(lambda: not page.all("#detail") and shown(page) == ids(records[:24]))
    with pytest.raises(urllib.error.HTTPError) as missing:
        service.get(f"requests/{doomed['request_id']}")
    assert missing.value.code == 404


def downloaded(page: Page, downloads: Path, form: str) -> str:
    """The file that a click on an export button saves."""
    before = set(downloads.iterdir())
    page.click(f"[data-export={form}]")
    pattern = re.compile(rf"relance-requests-\d{{4}}-\d\d-\d\d-\d{{4}}.*\.{form}")

    def arrived() -> list[Path]:
        return [file for file in set(downloads.iterdir()) - before if pattern.fullmatch(file.name)]

    file = page.wait(arrived)[0]
    page.wait(lambda: "saved" in page.one("#export-status").text)
    return file.read_bytes().decode()


def test_what_is_filtered_can_be_saved(service: Instance, records: list[dict], page: Page, downloads: Path):
    wanted = records[5]["prediction"]
    expected = [r for r in records if r["prediction"] == wanted]
    page.open(service, f"requests?prediction={wanted}")
    page.rows(min(24, len(expected)))
    lines = downloaded(page, downloads, "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == expected
    assert page.one("#export-status").text == f"Requests saved: {len(expected)}"

    rows = list(csv.DictReader(io.StringIO(downloaded(page, downloads, "csv"), newline="")))
    assert [row["request_id"] for row in rows] == ids(expected)
    for row, record in zip(rows, expected):
        assert (row["image_name"], row["prediction"]) == (record["image_name"], wanted)
        assert float(row["confidence"]) == record["confidence"]
        assert json.loads(row["top"]) == record["top"]
        assert row["client"] == "" and row["model_version"] == record["model"]["version"]
        assert row["opinion_model"] == row["opinion_prediction"] == row["opinion_confidence"] == ""


def test_an_export_goes_through_all_pages_and_says_where_it_stops(service: Instance, records: list[dict], page: Page):
    for i in range(510 - len(records)):
        service.predict(PICTURES[0])
    hostile = '=HYPERLINK("x"),\' a\n.png'
    page.open(service, "requests")
    page.rows(24)
    collect = ("(async () => { const { blob, count, complete } = await m.collect(a[0], new URLSearchParams(a[1]), "
               "{ most: a[2] }); return [await blob.text(), count, complete]; })()")
    everything = service.json("requests?limit=500")
    rest = service.json(f"requests?cursor={everything['next_cursor']}")
    text, count, complete = page.module("export.js", collect, "jsonl", "", 50_000)
    assert (count, complete) == (510, True)
    assert [json.loads(line) for line in text.splitlines()] == everything["requests"] + rest["requests"]

    text, count, complete = page.module("export.js", collect, "csv", "", 505)
    assert (count, complete) == (505, False)
    assert len(list(csv.reader(io.StringIO(text)))) == 506
    *_, complete = page.module("export.js", collect, "csv", "source=computed", 50_000)
    assert complete

    # A spreadsheet must not take a name for a formula.
    page.run("const held = new DataTransfer(); held.items.add(new File([Uint8Array.from(atob(arguments[0]), "
             "(c) => c.charCodeAt(0))], arguments[1]));"
             "document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: held, bubbles: true }));",
             base64.b64encode(PICTURE.read_bytes()).decode(), hostile)
    page.cards(1)
    name = service.json("requests?limit=1")["requests"][0]["image_name"]
    text, *_ = page.module("export.js", collect, "csv", "", 1)
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert name.startswith("=HYPERLINK") and row["image_name"] == f"'{name}"


def asked(page: Page) -> list[str]:
    """The lists of requests that the page has asked for."""
    script = "return performance.getEntriesByType('resource').map((one) => one.name)"
    return [name for name in page.run(script) if "/requests?" in name]


def test_the_service_filters_by_model_and_by_what_another_one_says(service: Instance, records: list[dict], page: Page):
    name = "{name}@{version}".format(**records[0]["model"])
    page.open(service, "requests")
    page.rows(24)
    page.wait(lambda: len(Select(field(page, "model")).options) == 2)
    Select(field(page, "model")).select_by_value(name)
    page.wait(lambda: f"model={quote(name, safe='')}" in asked(page)[-1])
    Select(field(page, "differs")).select_by_visible_text("says another class")
    page.wait(lambda: f"differs=true&model={quote(name, safe='')}" in asked(page)[-1])
    page.driver.refresh()
    page.wait(lambda: asked(page) and "differs=true&model=" in asked(page)[-1])
    assert field(page, "model").get_property("value") == name
    assert field(page, "differs").get_property("value") == "true"


def test_the_reviewed_pictures_of_what_is_filtered_can_be_saved(service: Instance, records: list[dict], page: Page,
                                                                downloads: Path):
    wanted = records[5]
    other = next(r for r in records if r["prediction"] != wanted["prediction"])
    for record in (wanted, other):
        body = json.dumps({"label": record["prediction"]}).encode()
        put = urllib.request.Request(f"{service.url}/requests/{record['request_id']}/review", body,
                                     {"Content-Type": "application/json"}, method="PUT")
        http.open(put, timeout=PATIENCE)
    page.open(service, f"requests?prediction={wanted['prediction']}&source=computed")
    page.wait(lambda: page.all(".rows li"))
    before = set(downloads.iterdir())
    page.click("#export-dataset")
    assert page.one("#export-status").text == "The filters of this browser do not apply to the pictures."

    def arrived() -> list[Path]:
        return [file for file in set(downloads.iterdir()) - before if file.suffix == ".zip"]

    with zipfile.ZipFile(page.wait(arrived)[0]) as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".png")]
    assert [name.split("/")[1:] for name in pictures] == [[wanted["prediction"], f"{wanted['request_id']}.png"]]
