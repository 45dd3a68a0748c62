"""What holds in every view of the page: sign-in, languages, keyboard, small screens, accessibility."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Callable

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from browsing import (FIXTURES, KEY, PAGE, PASSWORD, PATIENCE, PICTURE, REPO, USER, Instance, Page, http,
                      percent)

VIEWS = ["classify", "requests", "review", "models", "live"]


def focused(page: Page):
    return page.driver.switch_to.active_element


def press(page: Page, *keys: str) -> None:
    ActionChains(page.driver).send_keys(*keys).perform()


def test_the_views_are_links_and_have_titles(service: Instance, page: Page):
    page.open(service, "")
    page.one("#picker")
    (model,) = service.json("models")["models"]
    page.wait(lambda: page.one("#model").text == f"Model {model['name']}@{model['version']} · 10 classes · 64 × 64")
    for view in ("requests", "review", "models", "live", "classify"):
        page.click(f"nav a[href='#/{view}']")
        page.one(f"#{view}")
        assert page.driver.title == f"{view.capitalize()} · relance"
        assert [link.text.lower() for link in page.all("nav a[aria-current=page]")] == [view]
        assert focused(page).get_attribute("id") == f"{view}-title"
    page.driver.back()
    page.one("#live")


def test_a_browser_keeps_its_copy_while_it_is_right(service: Instance):
    for path in ("", "page/app.js", "page/vendor/uplot.js", "page/vendor/uplot.LICENSE", "page/samples.json"):
        first = http.open(f"{service.url}/{path}", timeout=PATIENCE)
        assert "default-src 'none'" in first.headers["Content-Security-Policy"]
        again = urllib.request.Request(f"{service.url}/{path}", headers={"If-None-Match": first.headers["ETag"]})
        with pytest.raises(urllib.error.HTTPError) as unchanged:
            http.open(again, timeout=PATIENCE)
        assert unchanged.value.code == 304 and unchanged.value.read() == b""
        other = urllib.request.Request(f"{service.url}/{path}", headers={"If-None-Match": '"another"'})
        assert http.open(other, timeout=PATIENCE).read() == first.read()


@pytest.mark.parametrize("way", ["password", "key"])
def test_signing_in(way: str, guarded: Instance, page: Page):
    page.provoked = {401}
    page.open(guarded)
    form = page.one("#sign-in")
    assert focused(page).accessible_name == "User"

    def submit(**fields: str) -> None:
        for name, value in fields.items():
            entry = form.find_element(By.NAME, name)
            entry.clear()
            entry.send_keys(value)
        page.click("#sign-in-button")

    submit(user=USER, password="wrong")
    page.wait(lambda: page.one("#sign-in-error").text == "These credentials are not accepted.")
    page.screenshot("sign-in")

    submit(**({"key": KEY} if way == "key" else {"password": PASSWORD}))
    page.wait(lambda: not page.all("#sign-in"))
    page.choose(PICTURE)
    page.cards(1)
    page.click("nav a[href='#/requests']")
    page.one(".rows .thumbnail img")
    record = guarded_record(page)
    assert record["client"] == ("test" if way == "key" else USER)

    page.driver.refresh()
    page.one(".rows li")
    page.click("#metrics")
    page.wait(lambda: "relance_workers" in page.driver.find_element(By.TAG_NAME, "body").text)
    page.driver.back()
    for secret in (PASSWORD, KEY):
        assert secret not in page.driver.current_url
    page.click("#sign-out")
    page.one("#sign-in")
    page.driver.refresh()
    page.one("#sign-in")


def guarded_record(page: Page) -> dict:
    page.click(".rows a")
    page.one("#detail-picture img")
    record = json.loads(page.text("#detail-json"))
    page.click("#detail-close")
    return record


def test_where_only_keys_are_accepted_only_a_key_is_asked_for(keys_only: Instance, page: Page):
    page.provoked = {401}
    page.open(keys_only)
    page.one("#sign-in")
    assert [field.accessible_name for field in page.all("#sign-in input")] == ["API key"]
    assert focused(page).accessible_name == "API key"
    focused(page).send_keys(KEY, Keys.ENTER)
    page.wait(lambda: not page.all("#sign-in") and page.text("#model").startswith("Model "))


def test_who_does_not_sign_in_is_told_and_asked_once(guarded: Instance, page: Page):
    page.provoked = {401}
    page.open(guarded, "requests")
    page.run("sessionStorage.clear()")
    page.one("#sign-in")
    press(page, Keys.ESCAPE)
    page.wait(lambda: not page.all("#sign-in") and page.one("#requests-note").text == "Sign in to see this.")
    page.screenshot("not-signed-in")
    page.click("#open-sign-in")
    page.one("#sign-in input").send_keys(USER, Keys.TAB, PASSWORD, Keys.ENTER)
    page.wait(lambda: not page.all("#sign-in") and page.text("#model").startswith("Model "))


def test_in_portuguese(service: Instance, guarded: Instance, pagina: Page):
    pagina.provoked = {401}
    pagina.open(service)
    pagina.choose(PICTURE)
    pagina.cards(1)
    assert pagina.driver.find_element(By.TAG_NAME, "html").get_attribute("lang") == "pt-BR"
    assert pagina.one("#picker strong").text == "Escolha, solte ou cole imagens"
    confidence = service.predict(PICTURE)["confidence"]
    assert pagina.one(".card .share").text == percent(confidence).replace(".", ",")
    for view, title in zip(VIEWS, ("Classificar", "Requisições", "Revisar", "Modelos", "Ao vivo")):
        pagina.click(f"nav a[href='#/{view}']")
        pagina.wait(lambda: pagina.driver.title == f"{title} · relance")
        pagina.screenshot(f"portuguese-{view}")
    pagina.open(guarded)
    pagina.wait(lambda: pagina.one("#sign-in-title").text == "Entrar")


def test_the_language_can_be_changed_and_is_kept(service: Instance, page: Page):
    page.open(service)
    page.choose(PICTURE)
    page.cards(1)
    share = page.one(".card .share").text
    Select(page.one("#language")).select_by_value("pt")
    assert page.one("#results-title").text == "Resultados"
    assert page.one(".card .more").text == "Detalhes"
    assert page.one(".card .share").text == share.replace(".", ",")
    page.driver.refresh()
    page.wait(lambda: page.one("#picker strong").text == "Escolha, solte ou cole imagens")
    Select(page.one("#language")).select_by_value("en")
    assert page.one("#picker strong").text == "Choose, drop or paste pictures"


def test_every_text_has_a_translation():
    table = (PAGE / "portuguese.js").read_text()
    known = re.findall(r'^  "([^"]+)":', table, re.MULTILINE)
    assert len(known) == len(set(known))
    page = (PAGE / "index.html").read_text()
    code = "".join(file.read_text() for file in PAGE.glob("*.js") if file.name != "portuguese.js")
    used = set(re.findall(r"\bdata-t(?: hidden)?>([^<]+)<", page)) | set(re.findall(r'data-t-label="([^"]+)"', page))
    used |= set(re.findall(r'\bt\("([^"]+)"', code))
    # Lines of charts, stages, and two texts of one button.
    used |= set(re.findall(r'name: "([^"]+)", colour', code))
    used |= set(re.findall(r': "(\w+)"', re.search(r"const STAGES = {(.+)};", code)[1])) | {"Go on", "Pause"}
    # Words of the service.
    titles = set(re.findall(r'"[a-z-]+", "([^"]+)";', (REPO / "src/http/problem.rs").read_text()))
    assert used <= set(known)
    assert set(known) - used <= titles | {"ready", "starting", "draining", "unknown"}


def test_everything_can_be_done_by_keyboard(service: Instance, page: Page):
    service.predict(PICTURE)
    page.open(service)
    page.wait(lambda: page.all(".sample"))
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(10):
        press(page, Keys.TAB)
        reached.append(focused(page).accessible_name)
    picker = "Choose, drop or paste pictures JPEG, PNG, WebP, BMP, GIF or TIFF"
    samples = service.json("page/samples.json")
    views = ["Classify", "Requests", "Review", "Models", "Live"]
    assert reached == ["Skip to the content", *views, "Language", picker, *samples[:2]]
    page.screenshot("focus")
    press(page, Keys.ENTER)
    page.cards(1)

    page.one("nav a[href='#/requests']").send_keys(Keys.ENTER)
    page.one(".rows a").send_keys(Keys.ENTER)
    page.one("#detail-picture img")
    # The dialog keeps the focus until it is closed, and gives it back.
    for _ in range(12):
        press(page, Keys.TAB)
        inside = page.run("return !document.activeElement.matches('main *, header *, footer *')")
        assert inside
    page.one("#detail-delete").send_keys(Keys.ENTER)
    press(page, Keys.ENTER)
    assert not page.all("#detail-confirm")
    press(page, Keys.ESCAPE)
    page.wait(lambda: not page.all("#detail"))
    assert page.run("return document.activeElement.matches('.rows a')")
    page.one("nav a[href='#/live']").send_keys(Keys.ENTER)
    page.wait(lambda: page.one("#live-state").get_attribute("data-kind") == "watching")
    page.one("#pause").send_keys(Keys.ENTER)
    assert page.one("#live-state").text == "Paused"


@pytest.fixture(scope="module")
def busy_service(new_instance: Callable[..., Instance]) -> Instance:
    """One with something in every view."""
    instance = new_instance()
    for picture in sorted((FIXTURES / "pictures").glob("png-rgb*.png")):
        instance.predict(picture, f"{'a-very-long-name-without-a-space' * 4}-{picture.name}")
    return instance


def fill(page: Page, view: str, tmp_path: Path) -> None:
    """Waits until everything that the view can show is shown."""
    if view == "classify":
        text = tmp_path / f"{'another-very-long-name' * 6}.txt"
        text.write_text("no picture at all\n")
        page.choose(FIXTURES / "pictures/jpeg-exif-6.jpg", FIXTURES / "pictures/tiff-rgb.tif", text)
        page.cards(3)
    elif view == "requests":
        page.one(".rows .thumbnail img")
    elif view == "review":
        page.one("#review-body:not([aria-busy]) #review-picture img")
        page.one("#review-unsure").click()
        page.wait(lambda: page.one("#figure-reviewed .value").text != "0")
        page.click("#review-help summary")
    elif view == "models":
        page.one("#models-list li")
    elif view == "live":
        page.wait(lambda: page.one("#live-state").get_attribute("data-kind") == "watching")
        page.one("#chart-rate canvas")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("view", VIEWS)
def test_on_small_screens_and_for_all_people(view: str, width: int, scheme: str, busy_service: Instance, page: Page,
                                             tmp_path: Path):
    page.provoked = {415}
    page.width(width)
    page.scheme(scheme)
    page.open(busy_service, view)
    fill(page, view, tmp_path)
    assert page.fits(width)
    page.screenshot(f"{view}-{scheme}-{width}")
    assert page.barriers() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_the_dialogs_on_small_screens_and_for_all_people(width: int, scheme: str, busy_service: Instance,
                                                         guarded: Instance, page: Page):
    page.provoked = {401}
    page.width(width)
    page.scheme(scheme)
    page.open(busy_service, "requests")
    # The oldest is a PNG, which every browser can show.
    page.click(".rows li:last-child a")
    page.one("#detail-picture img")
    page.click("#detail-delete")
    assert page.fits(width)
    page.screenshot(f"detail-{scheme}-{width}")
    assert page.barriers() == []
    page.open(guarded)
    page.run("sessionStorage.clear()")
    page.driver.refresh()
    page.one("#sign-in")
    assert page.fits(width)
    assert page.barriers() == []
