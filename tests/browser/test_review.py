"""The view in which people say what pictures show, and what comes of it."""

from __future__ import annotations

import io
import json
import urllib.request
import zipfile
from pathlib import Path
from typing import Callable

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from browsing import FIXTURES, PASSWORD, PATIENCE, PICTURE, USER, Instance, Page, http, percent

PICTURES = sorted((FIXTURES / "pictures").glob("png-r*.png"))[:6]
HIDDEN = "What the model says is shown once you have said it."


@pytest.fixture
def fresh(new_instance: Callable[..., Instance]) -> Instance:
    """One with some requests that nobody has reviewed."""
    instance = new_instance()
    for picture in PICTURES:
        instance.predict(picture, picture.name)
    return instance


def press(page: Page, *keys: str) -> None:
    ActionChains(page.driver).send_keys(*keys).perform()


def shown(page: Page) -> str:
    """The request that is to be reviewed, as soon as it is there."""
    page.wait(lambda: page.all("#review-body:not([aria-busy]) #review-picture img"))
    return page.one("#review-panel").get_attribute("data-id")


def another(page: Page, before: str) -> str:
    return page.wait(lambda: shown(page) != before and shown(page))


def review(service: Instance, request: str) -> dict | None:
    return service.json(f"requests/{request}")["review"]


def label(service: Instance, request: str, name: str) -> None:
    body = json.dumps({"label": name}).encode()
    put = urllib.request.Request(f"{service.url}/requests/{request}/review", body,
                                 {"Content-Type": "application/json"}, method="PUT")
    http.open(put, timeout=PATIENCE)


def test_labelling_by_single_keys(fresh: Instance, page: Page):
    classes = fresh.json("models")["models"][0]["classes"]
    page.open(fresh, "review")
    first = shown(page)
    assert first == fresh.json("review/next")["request_id"]
    buttons = page.texts("#review-labels button")
    assert buttons == [f"{key} {name}" for key, name in zip("123456789a", classes)]
    assert page.one("#review-prediction").text == HIDDEN
    # The name of the file may tell what it shows.
    assert fresh.json(f"requests/{first}")["image_name"] not in page.driver.page_source
    page.screenshot("review")

    press(page, "2")
    second = another(page, first)
    said = review(fresh, first)
    assert (said["label"], said["note"], said["reviewer"]) == (classes[1], None, "anonymous")
    record = fresh.json(f"requests/{first}")
    judged = "the model agrees" if record["prediction"] == classes[1] else "the model is wrong"
    assert page.one("#review-last").text == (
        f"Before: you said {classes[1]}; {judged} ({record['prediction']}, {percent(record['confidence'])}).")

    # A note is typed, and the keys that are typed in it label nothing.
    press(page, "n", "1 and a, unsure", Keys.ENTER)
    assert shown(page) == second and review(fresh, second) is None
    press(page, "u")
    third = another(page, second)
    assert review(fresh, second)["label"] == "unsure" and review(fresh, second)["note"] == "1 and a, unsure"
    assert page.one("#review-text").get_property("value") == ""

    press(page, "s")
    fourth = another(page, third)
    assert review(fresh, third) is None

    # Back over the one that was skipped to the one before, which is labelled anew.
    press(page, "z")
    assert another(page, fourth) == third
    press(page, Keys.BACKSPACE)
    assert another(page, third) == second
    pressed = page.all("[aria-pressed=true]")
    assert [button.get_attribute("value") for button in pressed] == ["unsure"]
    assert page.one("#review-text").get_property("value") == "1 and a, unsure"
    assert page.one("#review-prediction").text.startswith("The model says ")
    press(page, "a")
    assert another(page, second) == fourth
    assert review(fresh, second)["label"] == classes[9]
    assert [said["label"] for said in fresh.json(f"requests/{second}")["review_history"]] == ["unsure", classes[9]]
    assert page.one("#review-progress").text.startswith("2 labelled since you opened this page")

    page.click("#review-reveal")
    page.wait(lambda: page.one("#review-prediction").text.startswith("The model says "))
    press(page, "p")
    page.wait(lambda: page.one("#review-prediction").text == HIDDEN)


def test_single_keys_can_be_turned_off(fresh: Instance, page: Page):
    page.open(fresh, "review")
    first = shown(page)
    page.click("#review-help summary")
    page.screenshot("review-keys")
    page.click("#review-keys")
    press(page, "1")
    page.driver.refresh()
    assert shown(page) == first
    press(page, "1")
    page.click("#review-help summary")
    page.click("#review-keys")
    assert shown(page) == first and review(fresh, first) is None
    press(page, "1")
    another(page, first)
    assert review(fresh, first)


def test_labelling_by_buttons_on_a_phone(fresh: Instance, page: Page):
    classes = fresh.json("models")["models"][0]["classes"]
    page.width(360, 740)
    page.open(fresh, "review")
    first = shown(page)
    assert page.fits(360)
    # Picture and labels are on the screen together.
    bottom = page.run("return document.querySelector('#review-labels').getBoundingClientRect().top")
    assert bottom < 740
    small = [b for b in page.all("#review-panel button") if b.size["height"] < 44 or b.size["width"] < 44]
    assert not small
    page.click(f"#review-labels button[value='{classes[0]}']")
    second = another(page, first)
    page.click("#review-unsure")
    third = another(page, second)
    page.click("#review-skip")
    fourth = another(page, third)
    page.click("#review-back")
    assert another(page, fourth) == third
    page.click(f"#review-labels button[value='{classes[3]}']")
    another(page, third)
    assert [review(fresh, one)["label"] for one in (first, second, third)] == [classes[0], "unsure", classes[3]]
    page.screenshot("review-phone")


def test_when_nothing_is_left(new_instance: Callable[..., Instance], page: Page):
    service = new_instance()
    page.open(service, "review")
    page.wait(lambda: page.one("#review-message").text == "Nothing is left to review.")
    page.screenshot("review-nothing")
    answer = service.predict(PICTURE)
    page.click("#review-again")
    assert shown(page) == answer["request_id"]
    press(page, "1")
    page.wait(lambda: page.one("#review-message").text == "Nothing is left to review.")
    # The last one can still be labelled anew.
    page.click("#review-return")
    assert shown(page) == answer["request_id"]
    press(page, "u")
    page.wait(lambda: page.one("#review-message").text == "Nothing is left to review.")
    assert review(service, answer["request_id"])["label"] == "unsure"
    assert page.one("#review-progress").text.startswith("1 labelled ")


def test_the_figures_are_those_of_the_api(fresh: Instance, page: Page):
    requests = fresh.json("requests")["requests"]
    classes = fresh.json("models")["models"][0]["classes"]
    wrong = next(name for name in classes if name != requests[0]["prediction"])
    for record in requests[1:5]:
        label(fresh, record["request_id"], record["prediction"])
    label(fresh, requests[0]["request_id"], wrong)
    label(fresh, requests[5]["request_id"], "unsure")
    summary = fresh.json("review/summary")
    assert (summary["reviewed"], summary["unsure"], summary["accuracy"]) == (6, 1, 0.8)

    page.open(fresh, "review")
    page.wait(lambda: page.one("#figure-accuracy .value").text == "80.0%")
    assert page.one("#figure-accuracy .below").text == "of 5 that somebody was sure of"
    assert page.one("#figure-reviewed .value").text == "6"
    assert page.one("#figure-random .value").text == "–"
    labels, counts = summary["confusion"]["labels"], summary["confusion"]["counts"]
    assert page.texts("#confusion-head th")[1:] == labels
    assert page.texts("#confusion-body th") == labels
    assert page.texts("#confusion-body td") == [str(count) for row in counts for count in row]
    assert len(page.all("#confusion-body .right")) == len(labels)
    page.click("#calibration summary")
    bins = [one for one in summary["calibration"] if one["count"]]
    expected = [[str(one["count"]), percent(one["confidence"]), percent(one["accuracy"])] for one in bins]
    rows = [row.find_elements(By.TAG_NAME, "td") for row in page.all("#calibration-rows tr")]
    assert [[cell.text for cell in row][1:] for row in rows] == expected
    page.one("#calibration-plot canvas")
    assert page.one("#calibration-plot").get_attribute("aria-label").startswith("Calibration: ")
    page.screenshot("review-figures")


def test_reviews_in_the_list_and_in_the_detail(fresh: Instance, page: Page):
    requests = fresh.json("requests")["requests"]
    right, wrong, doubtful = requests[0], requests[1], requests[2]
    classes = fresh.json("models")["models"][0]["classes"]
    other = next(name for name in classes if name != wrong["prediction"])
    label(fresh, right["request_id"], right["prediction"])
    label(fresh, wrong["request_id"], other)
    label(fresh, doubtful["request_id"], "unsure")

    page.open(fresh, "requests")
    page.rows(6)
    assert page.texts(".rows .review") == [right["prediction"], other, "unsure"]
    page.screenshot("requests-reviewed")
    for choice, expected in [("reviewed", requests[:3]), ("none", requests[3:]), ("agrees", [right]),
                             ("disagrees", [wrong]), ("unsure", [doubtful])]:
        Select(page.one("#filters [name=review]")).select_by_value(choice)
        ids = [record["request_id"] for record in expected]
        page.wait(lambda: [row.get_attribute("data-id") for row in page.all(".rows li")] == ids)
        page.driver.refresh()
        page.rows(len(ids))
        assert page.one("#filters [name=review]").get_property("value") == choice
    Select(page.one("#filters [name=review]")).select_by_value("")
    Select(page.one("#filters [name=label]")).select_by_value(other)
    page.wait(lambda: [row.get_attribute("data-id") for row in page.all(".rows li")] == [wrong["request_id"]])

    page.click(".rows a")
    page.one("#detail-picture img")
    assert page.one("#detail-judged").text == f"Reviewed as {other}: the model is wrong."
    assert f"{other} · anonymous · " in page.one("#detail-history").text
    page.screenshot("detail-reviewed")
    page.click("#detail-label")
    assert shown(page) == wrong["request_id"]
    assert page.driver.title == "Review · relance"
    press(page, "u")
    another(page, wrong["request_id"])
    assert review(fresh, wrong["request_id"])["label"] == "unsure"


def test_a_model_with_many_classes(new_instance: Callable[..., Instance], page: Page):
    service = new_instance(MODEL=str(FIXTURES / "models/yolo26n-cls-nc1000-224.onnx"))
    service.predict(PICTURE)
    classes = service.json("models")["models"][0]["classes"]
    page.open(service, "review")
    first = shown(page)
    assert not page.all("#review-labels button")
    # No key has a class then.
    press(page, "1")
    field = page.one("#review-other input")
    field.send_keys("no such class", Keys.ENTER)
    assert field.get_property("validationMessage") == "The model has no such class."
    field.clear()
    field.send_keys(classes[700], Keys.ENTER)
    page.wait(lambda: page.one("#review-message").text == "Nothing is left to review.")
    assert review(service, first)["label"] == classes[700]


def saved(page: Page, downloads: Path) -> zipfile.ZipFile:
    before = set(downloads.iterdir())
    page.click("#review-dataset")

    def arrived() -> list[Path]:
        return [file for file in set(downloads.iterdir()) - before if file.suffix == ".zip"]

    return zipfile.ZipFile(io.BytesIO(page.wait(arrived)[0].read_bytes()))


def sign_in(page: Page) -> None:
    page.one("#sign-in input").send_keys(USER, Keys.TAB, PASSWORD, Keys.ENTER)
    page.wait(lambda: not page.all("#sign-in"))


def test_the_reviewed_pictures_can_be_saved(fresh: Instance, page: Page, downloads: Path):
    page.open(fresh, "review")
    first = shown(page)
    press(page, "1")
    another(page, first)
    name = review(fresh, first)["label"]
    with saved(page, downloads) as archive:
        (picture,) = [entry for entry in archive.namelist() if entry.endswith(".png")]
        assert picture.split("/")[1:] == [name, f"{first}.png"]
        assert archive.testzip() is None


def test_whoever_has_to_sign_in_reviews_under_a_name(guarded: Instance, page: Page, downloads: Path):
    page.provoked = {401}
    page.open(guarded, "classify")
    page.run("sessionStorage.clear()")
    page.driver.refresh()
    sign_in(page)
    page.choose(PICTURE)
    page.cards(1)
    page.click("nav a[href='#/review']")
    shown(page)
    press(page, "3")
    page.wait(lambda: page.one("#review-last").text)
    record = page.run("return (async () => (await (await import('/page/api.js')).getJson("
                      "'requests?reviewed=true&limit=1')).requests[0])()")
    assert record["review"]["reviewer"] == USER

    # There is nobody to choose a file in the dialog that this browser has for it.
    page.run("delete window.showSaveFilePicker")
    with saved(page, downloads) as archive:
        assert any(entry.split("/")[1] == record["review"]["label"] for entry in archive.namelist() if "/" in entry)


def test_in_portuguese(fresh: Instance, pagina: Page):
    pagina.open(fresh, "review")
    first = shown(pagina)
    assert pagina.driver.title == "Revisar · relance"
    assert pagina.one("#review-panel h2").text == "O que ela mostra?"
    assert pagina.texts("#review-panel .buttons button") == ["u Em dúvida", "s Pular", "z Voltar"]
    press(pagina, "u")
    another(pagina, first)
    assert pagina.one("#review-last").text.startswith("Antes: você disse em dúvida; não se sabe se o modelo acertou (")
    pagina.wait(lambda: pagina.one("#figure-reviewed .value").text == "1")
    pagina.screenshot("portuguese-review")
