"""The view of the models: which there are, changing them, and how the one that is tried out does."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Callable

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from browsing import FIXTURES, KEY, PASSWORD, PATIENCE, USER, Instance, Page, digest, http, percent

MODELS = FIXTURES / "models"
# Both know the same two classes, and agree on four in five of the pictures.
FILES = {"1": "yolov8n-cls-nc2-224", "2": "yolo26n-cls-nc2-224", "broken": "truncated"}
OWN = MODELS / f"{FILES['1']}.onnx"
PICTURES = sorted((FIXTURES / "pictures").glob("jpeg-*.jpg"))[:24]
FIRST, SECOND, BROKEN = (f"net@{version}" for version in FILES)


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """Three versions of a model, the last one broken; the first one is to answer."""
    for version, file in FILES.items():
        folder = tmp_path / "net" / version
        folder.mkdir(parents=True)
        shutil.copy(MODELS / f"{file}.onnx", folder / "model.onnx")
    plan = {"active": FIRST, "changed_by": "ana", "changed_at": "2026-01-31T12:00:00Z"}
    (tmp_path / "serving.json").write_text(json.dumps(plan))
    return tmp_path


@pytest.fixture
def fleet(new_instance: Callable[..., Instance], registry: Path) -> Instance:
    return new_instance(MODEL=str(OWN), MODELS=str(registry), MODELS_POLL_SECONDS="1")


def send(service: Instance, method: str, path: str, body: dict | None = None) -> None:
    request = urllib.request.Request(f"{service.url}/{path}", json.dumps(body).encode() if body else None,
                                     {"Content-Type": "application/json"}, method=method)
    http.open(request, timeout=PATIENCE)


def active(service: Instance) -> str:
    (name,) = [f"{m['name']}@{m['version']}" for m in service.json("models")["models"] if m["active"]]
    return name


def press(page: Page, *keys: str) -> None:
    ActionChains(page.driver).send_keys(*keys).perform()


def item(model: str, selector: str = "") -> str:
    return f"#models-list [data-model='{model}'] {selector}"


def compare(service: Instance, page: Page) -> dict:
    """Sends pictures, and gives the report as soon as the candidate has seen them too."""
    for picture in PICTURES:
        service.predict(picture, picture.name)

    def done() -> dict | None:
        report = service.json("candidate")
        agreement = report["agreement"]
        return report if agreement["compared"] + agreement["skipped"] == len(PICTURES) else None

    return page.wait(done)


@pytest.fixture
def compared(fleet: Instance, page: Page) -> dict:
    """The report of a model that was tried out on all pictures."""
    send(fleet, "PUT", "candidate", {"model": SECOND, "role": "shadow", "share": 1})
    return compare(fleet, page)


def shown(page: Page) -> list[str]:
    return [one.get_attribute("data-id") for one in page.all("#disagreements li")]


def ids(report: dict) -> list[str]:
    return [one["request_id"] for one in report["disagreements"]]


def test_the_models_are_those_of_the_api(fleet: Instance, page: Page):
    models = fleet.json("models")["models"]
    names = [f"{m['name']}@{m['version']}" for m in models]
    # The last one is that of the setting MODEL.
    assert names[:3] == [FIRST, SECOND, BROKEN] and len(names) == 4
    page.open(fleet, "models")
    page.one("#models-list li")
    assert page.texts("#models-list .name") == names
    assert page.texts("#models-list .badge") == ["active", *["available"] * 3]
    assert [text.split() for text in page.texts("#models-list code")] == [[m["sha256"][:12]] for m in models]
    assert [button.get_attribute("title") for button in page.all(".digest button")] == [m["sha256"] for m in models]
    assert page.one(item(FIRST, ".classes dd")).text == ", ".join(models[0]["classes"])
    assert page.one(item(BROKEN, ".classes dd")).text == "–"
    assert page.one(item(FIRST, ".input dd")).text == "224 × 224 · f32 · cpu"
    assert not page.all("#trial") and not page.all("#models-fixed") and not page.all("#models-fault")
    # The one that answers cannot be changed for itself.
    assert not page.all(item(FIRST, ".activate"))
    assert page.one(item(SECOND, ".activate")).accessible_name == f"Activate… {SECOND}"
    page.screenshot("models")

    fleet.predict(PICTURES[0])
    page.wait(lambda: "ms, 99 % below" in page.text(item(FIRST, ".latency dd")))
    page.driver.execute_cdp_cmd("Browser.grantPermissions",
                                {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    page.click(item(SECOND, ".digest button"))
    sha256 = models[1]["sha256"]
    page.wait(lambda: page.text("#models-done") == f"Copied: {sha256}")
    copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == sha256


def test_another_version_answers_once_that_is_confirmed(fleet: Instance, page: Page):
    page.open(fleet, "models")
    page.one(item(SECOND, ".activate")).send_keys(Keys.ENTER)
    assert page.one("#change-title").text == f"Have {SECOND} answer?"
    assert f"loaded beside {FIRST}" in page.one("#change-what").text
    page.screenshot("models-activate")
    press(page, Keys.ESCAPE)
    assert not page.all("#change") and active(fleet) == FIRST
    assert page.run("return document.activeElement.matches('.activate')")

    press(page, Keys.ENTER)
    page.one("#change-now").send_keys(Keys.ENTER)
    page.wait(lambda: not page.all("#change"))
    assert active(fleet) == SECOND
    assert page.one("#models-done").text == f"{SECOND} answers now."
    assert page.texts("#models-list .name")[0] == SECOND
    assert page.texts("#models-list .badge")[0] == "active"
    # The button is gone; whoever pressed it goes on in the view.
    page.wait(lambda: page.run("return document.activeElement.id") == "models-title")
    page.wait(lambda: page.one("#model").text.startswith(f"Model {SECOND} · 2 classes"))
    assert fleet.predict(PICTURES[0])["model"] == {"name": "net", "version": "2"}


def test_a_model_that_cannot_be_served_is_told(fleet: Instance, page: Page):
    page.provoked = {422}
    with pytest.raises(urllib.error.HTTPError) as refused:
        send(fleet, "PUT", "models/net", {"version": "broken"})
    reason = json.load(refused.value)["detail"]
    page.open(fleet, "models")
    page.click(item(BROKEN, ".activate"))
    # Whoever does not wait for it is told all the same.
    busy = page.run("const now = document.querySelector('#change-now'); now.click(); const is = [now.textContent, "
                    "now.ariaDisabled]; document.querySelector('#change-cancel').click(); return is")
    assert busy == ["Loading…", "true"]
    page.wait(lambda: page.one("#change-error").text == reason)
    assert page.one("#change-now").text == "Activate"
    page.screenshot("models-broken")
    page.click("#change-cancel")
    page.click(item(BROKEN, ".try-out"))
    assert not page.all("#change-error")
    page.click("#change-now")
    page.wait(lambda: page.one("#change-error").text == reason)
    assert active(fleet) == FIRST and page.texts("#models-list .badge") == ["active", *["available"] * 3]


def test_a_trial_is_reported_while_it_goes_on(fleet: Instance, page: Page):
    page.open(fleet, "models")
    page.click(item(SECOND, ".try-out"))
    assert page.one("#change [value=shadow]").is_selected()
    share = page.one("#change [name=share]")
    assert share.get_property("value") == "10"
    share.clear()
    share.send_keys("0")
    page.click("#change-now")
    assert share.get_property("validationMessage") and not page.all("#trial")
    share.clear()
    share.send_keys("100", Keys.ENTER)
    page.one("#trial")
    assert page.one("#trial-title").text == f"{SECOND} is being tried out beside {FIRST}"
    assert page.one("#trial-agreement .value").text == "–"
    assert page.one("#pairs-none").is_displayed() and page.one("#disagreements-none").is_displayed()
    assert page.texts("#models-list .badge")[:3] == ["active", "shadow", "available"]

    page.run("document.querySelector('#drop').focus()")
    report = compare(fleet, page)
    agreement, count = report["agreement"], len(report["disagreements"])
    assert count > 1 and 0 < agreement["agreed"] < agreement["compared"]
    page.wait(lambda: len(page.all("#disagreements .thumbnail img")) == count)
    assert shown(page) == ids(report)
    assert page.one("#trial-agreement .value").text == percent(agreement["ratio"])
    below = page.one("#trial-agreement .below").text
    assert below.startswith(f"{agreement['agreed']} of {agreement['compared']} pictures")
    assert page.one("#trial-active h3").text == f"Median time of {FIRST}"
    pictures = f"pictures: {report['latency']['candidate']['count']}"
    assert page.one("#trial-candidate .value").text.endswith("ms")
    assert page.one("#trial-candidate .below").text.endswith(pictures)
    labels = page.texts("#pairs-body th")
    assert page.texts("#pairs-head th")[1:] == labels
    told_pairs = {(p["active"], p["candidate"]): p["count"] for p in report["pairs"]}
    cells = [int(text) for text in page.texts("#pairs-body td")]
    assert cells == [told_pairs.get((row, column), 0) for row in labels for column in labels]
    newest = report["disagreements"][0]
    assert page.texts("#disagreements li:first-child strong") == [
        f"{newest[side]['prediction']} {percent(newest[side]['confidence'])}" for side in ("active", "candidate")]
    # All that came while somebody was on a button, who still is.
    assert page.run("return document.activeElement.id") == "drop"


def test_what_stays_is_not_touched(fleet: Instance, page: Page, compared: dict):
    page.open(fleet, "models")
    page.wait(lambda: shown(page) == ids(compared)
              and len(page.all("#disagreements .thumbnail img")) == len(compared["disagreements"]))
    page.run("window.changes = []; new MutationObserver((all) => window.changes.push(...all.map((one) => one.target"
             ".outerHTML ?? one.target.data))).observe(document.querySelector('#models'), "
             "{ childList: true, characterData: true, subtree: true });"
             "window.asked = () => performance.getEntriesByType('resource').filter((one) => "
             "one.name.endsWith('/candidate')).length; window.before = window.asked()")
    page.wait(lambda: page.run("return window.asked() - window.before") >= 3)
    assert page.run("return window.changes") == []
    # Nobody asks where nobody looks.
    page.click("nav a[href='#/classify']")
    page.one("#picker")
    page.run("performance.clearResourceTimings()")
    page.driver.execute_async_script("setTimeout(arguments[0], 4000)")
    assert page.run("return window.asked()") == 0


def test_pictures_that_they_see_differently_are_shown(fleet: Instance, page: Page, compared: dict):
    page.open(fleet, "models")
    page.wait(lambda: shown(page) == ids(compared))
    first, second = compared["disagreements"][:2]
    page.one("#disagreements a").send_keys(Keys.ENTER)
    page.one("#detail-picture img")
    assert page.one("#detail-title").text == first["active"]["prediction"]
    facts = page.one("#detail-facts").text
    assert first["request_id"] in facts
    assert "Other model" in facts and first["candidate"]["prediction"] in facts
    assert page.driver.title == "Models · relance"
    press(page, Keys.ARROW_RIGHT)
    page.wait(lambda: second["request_id"] in page.one("#detail-facts").text)
    press(page, Keys.ESCAPE)
    page.wait(lambda: not page.all("#detail"))
    assert page.run("return document.activeElement.matches('#disagreements a')")
    assert page.one("#trial")
    # The address of one shows it over the view.
    page.open(fleet, f"models/{second['request_id']}")
    page.wait(lambda: second["request_id"] in page.one("#detail-facts").text)
    page.click("#detail-close")
    page.wait(lambda: shown(page) == ids(compared))


def test_the_model_that_was_tried_out_is_promoted(fleet: Instance, page: Page, compared: dict):
    page.open(fleet, "models")
    page.click("#promote")
    assert page.one("#change-title").text == f"Have {SECOND} answer?"
    page.click("#change-now")
    page.wait(lambda: not page.all("#trial") and not page.all("#change"))
    assert active(fleet) == SECOND
    assert page.texts("#models-list .name")[:3] == [SECOND, FIRST, BROKEN]
    assert page.texts("#models-list .badge") == ["active", *["available"] * 3]


def test_the_model_that_was_tried_out_is_dropped(fleet: Instance, page: Page, compared: dict):
    page.provoked = {404}
    page.open(fleet, "models")
    page.click("#drop")
    page.click("#change-cancel")
    assert fleet.json("candidate")["model"] == SECOND
    page.click("#drop")
    assert "the figures of this trial are gone" in page.one("#change-what").text
    page.click("#change-now")
    page.wait(lambda: not page.all("#trial") and not page.all("#change"))
    assert page.one("#models-done").text == f"{SECOND} is tried out no more."
    with pytest.raises(urllib.error.HTTPError) as none:
        fleet.json("candidate")
    assert none.value.code == 404 and active(fleet) == FIRST


def test_a_canary_and_another_share(fleet: Instance, page: Page, compared: dict):
    page.open(fleet, "models")
    page.click(item(SECOND, ".try-out"))
    share = page.one("#change [name=share]")
    # It begins with what is.
    assert share.get_property("value") == "100"
    assert page.one("#change-what").text.startswith("Its figures begin anew.")
    page.click("#change [value=canary]")
    share.clear()
    share.send_keys("12.5")
    page.click("#change-now")
    page.wait(lambda: page.one("#trial-how").text.startswith("Canary since "))
    assert page.one("#trial-how").text.endswith(": answers 12.5% of the clients")
    report = fleet.json("candidate")
    assert (report["role"], report["share"]) == ("canary", 0.125)
    # The pictures of the trial before are gone.
    page.wait(lambda: shown(page) == ids(report))


def test_what_another_instance_changes_is_followed(fleet: Instance, registry: Path, page: Page):
    page.open(fleet, "models")
    page.one("#models-list li")
    plan = json.loads((registry / "serving.json").read_text())
    (registry / "serving.json").write_text(json.dumps({**plan, "active": SECOND}))
    page.wait(lambda: page.texts("#models-list .name")[0] == SECOND)
    page.wait(lambda: page.text("#model").startswith(f"Model {SECOND} "))
    (registry / "serving.json").write_text("{")
    fault = page.wait(lambda: page.one("#models-fault").text)
    assert fault == fleet.json("models")["fault"] and "serving.json" in fault
    page.screenshot("models-fault")
    (registry / "serving.json").write_text(json.dumps(plan))
    page.wait(lambda: not page.all("#models-fault") and page.texts("#models-list .name")[0] == FIRST)


def test_accuracy_is_that_of_the_reviews(fleet: Instance, page: Page):
    answers = [fleet.predict(picture) for picture in PICTURES[:4]]
    classes = fleet.json("models")["models"][0]["classes"]
    for at, answer in enumerate(answers):
        wrong = next(name for name in classes if name != answer["prediction"])
        label = wrong if at == 0 else answer["prediction"]
        send(fleet, "PUT", f"requests/{answer['request_id']}/review", {"label": label})
    page.open(fleet, "models")
    page.wait(lambda: page.text(item(FIRST, ".accuracy dd")) == "75.0% · of 4 that somebody was sure of")
    assert not page.all(item(SECOND, ".accuracy"))


def test_where_models_is_not_set(service: Instance, page: Page):
    page.open(service, "models")
    page.one("#models-list li")
    assert page.one("#models-fixed").text == (
        "To change models while the service runs, set MODELS to a folder with NAME/VERSION/model.onnx.")
    assert len(page.all("#models-list li")) == 1 and not page.all("#models-list .buttons")
    # Ten classes are not all named.
    assert page.one(".classes dd").text.endswith(" … (10 in all)")
    page.screenshot("models-fixed")


def test_whoever_may_not_change_models_is_told(new_instance: Callable[..., Instance], registry: Path, page: Page):
    page.provoked = {401, 403}
    service = new_instance(MODEL=str(OWN), MODELS=str(registry), API_USERNAME=USER, API_PASSWORD=PASSWORD,
                           API_KEYS=f"test:{digest()}", MODEL_ADMINS=USER)
    page.open(service, "models")
    page.run("sessionStorage.clear()")
    page.driver.refresh()
    page.one("#sign-in [name=key]").send_keys(KEY, Keys.ENTER)
    page.click(item(SECOND, ".activate"))
    page.click("#change-now")
    page.wait(lambda: page.one("#change-error").text == (
        '"test" may not change what is served; MODEL_ADMINS names those who may'))
    page.click("#change-cancel")
    page.click("#sign-out")
    page.one("#sign-in input").send_keys(USER, Keys.TAB, PASSWORD, Keys.ENTER)
    page.click(item(SECOND, ".activate"))
    page.click("#change-now")
    page.wait(lambda: page.texts("#models-list .badge")[:1] == ["active"]
              and page.texts("#models-list .name")[0] == SECOND)


def test_a_service_that_goes_and_comes_back(new_instance: Callable[..., Instance], fleet: Instance, registry: Path,
                                            page: Page):
    page.open(fleet, "models")
    page.one("#models-list li")
    fleet.stop()
    page.wait(lambda: page.one("#models-error").text.startswith("The service does not answer"))
    assert len(page.all("#models-list li")) == 4
    new_instance(MODEL=str(OWN), MODELS=str(registry), PORT=fleet.url.rsplit(":", 1)[1])
    page.wait(lambda: not page.all("#models-error"))
    known = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
    assert all(any(error in message for error in known) for message in page.complaints())


def test_only_frequent_classes_are_told_apart(service: Instance, page: Page):
    page.open(service)
    pairs = [{"active": a, "candidate": c, "count": n} for a, c, n in
             [("z", "z", 9), ("a", "z", 3), ("b", "b", 2), ("b", "a", 1), ("z", "b", 1)]]
    assert page.module("trial.js", "m.square(a[0])", pairs) == {
        "labels": ["a", "b", "z"], "counts": [[0, 0, 3], [1, 2, 0], [0, 1, 9]], "rest": 0}
    assert page.module("trial.js", "m.square(a[0], 2)", pairs) == {
        "labels": ["a", "z"], "counts": [[0, 3], [0, 9]], "rest": 4}
    assert page.module("trial.js", "m.square(a[0])", []) == {"labels": [], "counts": [], "rest": 0}


def test_in_portuguese(fleet: Instance, pagina: Page):
    send(fleet, "PUT", "candidate", {"model": SECOND, "role": "shadow", "share": 0.5})
    pagina.open(fleet, "models")
    pagina.one("#trial")
    assert pagina.driver.title == "Modelos · relance"
    assert pagina.one("#trial-title").text == f"{SECOND} em teste ao lado de {FIRST}"
    assert pagina.texts("#models-list .badge")[:3] == ["ativo", "sombra", "disponível"]
    assert pagina.one(item(BROKEN, ".activate")).accessible_name == f"Ativar… {BROKEN}"
    pagina.click("#drop")
    assert pagina.one("#change-title").text == f"Encerrar o teste de {SECOND}?"
    assert pagina.texts("#change button") == ["Encerrar", "Cancelar"]
    pagina.click("#change-cancel")
    for width in (360, 700):
        pagina.width(width)
        assert pagina.fits(width)
        # No word is broken.
        heights = [link.size["height"] for link in pagina.all("nav a")]
        assert len(set(heights)) == 1 and heights[0] < 40
    pagina.screenshot("portuguese-models-trial")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_on_small_screens_and_for_all_people(width: int, scheme: str, fleet: Instance, page: Page, compared: dict):
    page.width(width)
    page.scheme(scheme)
    page.open(fleet, "models")
    page.wait(lambda: page.all("#disagreements .thumbnail img"))
    assert page.fits(width)
    page.screenshot(f"models-trial-{scheme}-{width}")
    assert page.barriers() == []
    page.click(item(BROKEN, ".try-out"))
    assert page.fits(width)
    page.screenshot(f"models-try-out-{scheme}-{width}")
    assert page.barriers() == []
