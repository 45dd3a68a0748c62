"""The page at / and Swagger UI at /docs/, used as people do: in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Iterator

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

REPO = Path(__file__).resolve().parents[2]
BINARY = REPO / "target/release/relance"
PAGE = REPO / "src/http/page"
FIXTURES = REPO / "tests/fixtures"
SCREENSHOTS = Path(__file__).parent / "screenshots"
PICTURE = FIXTURES / "pictures/jpeg-640x480.jpg"
USER, PASSWORD, KEY = "ana", "pão:1", "a-key-for-the-tests"
PATIENCE = 30

# The tests talk to this machine only, whatever proxy the environment names.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Instance:
    """A running service on a free port, with a folder of its own."""

    def __init__(self, data: Path, **settings: str):
        if not BINARY.is_file():
            pytest.fail(f"there is no {BINARY}; build it first: cargo build --release", pytrace=False)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "ORT_DYLIB_PATH", "TMPDIR") if name in os.environ}
        model = FIXTURES / "models/yolov8n-cls-nc10-64.onnx"
        environment = {**kept, "PORT": "0", "DATA_DIR": str(data), "MODEL": str(model),
                       "RATE_LIMIT_PER_MINUTE": "0", **settings}
        self.process = subprocess.Popen(
            [BINARY, "serve"], cwd=REPO, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )
        self.log: list[str] = []
        self.url = ""
        started = threading.Event()
        threading.Thread(target=self._read_log, args=(started,), daemon=True).start()
        started.wait(PATIENCE)
        if not self.url:
            self.stop()
            pytest.fail("the service did not start:\n" + "".join(self.log), pytrace=False)

    def _read_log(self, started: threading.Event) -> None:
        for line in self.process.stderr:
            self.log.append(line)
            if ready := re.search(r"ready on (http://\S+)", line):
                self.url = ready[1]
                started.set()
        started.set()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def get(self, path: str) -> bytes:
        return http.open(f"{self.url}/{path}", timeout=PATIENCE).read()

    def predict(self, picture: Path) -> dict:
        headers = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(f"{self.url}/predict", picture.read_bytes(), headers)
        return json.load(http.open(request, timeout=PATIENCE))


class Page:
    """A browser window, and what it may complain about."""

    def __init__(self, driver: webdriver.Chrome):
        self.driver = driver
        # Chromium logs every answer from 400 up; here go the statuses that a test provokes.
        self.provoked: set[int] = set()

    def open(self, url: str) -> None:
        self.driver.get(url)

    def wait(self, condition):
        # The page may replace an element while it is looked at.
        ignored = [StaleElementReferenceException]
        return WebDriverWait(self.driver, PATIENCE, ignored_exceptions=ignored).until(lambda _: condition())

    def all(self, selector: str) -> list[WebElement]:
        return [e for e in self.driver.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]

    def one(self, selector: str) -> WebElement:
        """The first element shown, as soon as there is one."""
        return self.wait(lambda: self.all(selector))[0]

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.all(selector)]

    def choose(self, *files: Path) -> None:
        self.one("#workspace")
        self.driver.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))

    def cards(self, count: int) -> list[WebElement]:
        self.wait(lambda: len(self.all(".card:not([aria-busy])")) == count)
        return self.all(".card")

    def width(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        options = {"captureBeyondViewport": True}
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(taken))

    def complaints(self) -> list[str]:
        def provoked(message: str) -> bool:
            return any(f"responded with a status of {status} " in message for status in self.provoked)

        messages = [entry["message"] for entry in self.driver.get_log("browser")]
        return [message for message in messages if not provoked(message)]


def start_browser(language: str) -> webdriver.Chrome:
    found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in found.items() if not path]:
        pytest.fail(f"{' and '.join(missing)} missing; scripts/install-tools test installs them", pytrace=False)
    options = webdriver.ChromeOptions()
    options.binary_location = found["chromium"]
    for argument in ("headless=new", f"lang={language}", "window-size=1100,900", "no-proxy-server",
                     "disable-background-networking", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(found["chromedriver"]))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("service") / "data")
    for file, path in (("index.html", ""), *((name, f"page/{name}") for name in ("app.js", "style.css", "icon.svg"))):
        if instance.get(path) != (PAGE / file).read_bytes():
            instance.stop()
            pytest.fail(f"{BINARY} holds another {file} than {PAGE}; build it again: cargo build --release",
                        pytrace=False)
    yield instance
    instance.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    data = tmp_path_factory.mktemp("guarded") / "data"
    instance = Instance(data, API_USERNAME=USER, API_PASSWORD=PASSWORD, API_KEYS=f"test:{digest}")
    yield instance
    instance.stop()


@pytest.fixture(scope="module")
def keys_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    instance = Instance(tmp_path_factory.mktemp("keys") / "data", API_KEYS=f"test:{digest}")
    yield instance
    instance.stop()


@pytest.fixture(scope="module")
def english() -> Iterator[webdriver.Chrome]:
    driver = start_browser("en-GB")
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def brazilian() -> Iterator[webdriver.Chrome]:
    driver = start_browser("pt-BR")
    yield driver
    driver.quit()


def window(driver: webdriver.Chrome) -> Iterator[Page]:
    page = Page(driver)
    page.width(1100)
    page.scheme("light")
    yield page
    # A policy violation, a failed request or an exception anywhere fails the test.
    assert page.complaints() == []


@pytest.fixture
def page(english: webdriver.Chrome) -> Iterator[Page]:
    yield from window(english)


@pytest.fixture
def pagina(brazilian: webdriver.Chrome) -> Iterator[Page]:
    yield from window(brazilian)


def percent(share: float) -> str:
    return f"{share:.1%}"


def test_a_picture_gets_the_class_and_confidences_of_the_api(service: Instance, page: Page):
    picture = FIXTURES / "pictures/jpeg-448x336.jpg"
    page.open(service.url)
    page.choose(picture)
    (card,) = page.cards(1)
    shown = page.texts(".card .bars li")
    facts = page.one(".card .facts").text

    answer = service.predict(picture)
    assert card.find_element(By.CSS_SELECTOR, "h3").text == picture.name
    assert page.one(".card .answer").text == answer["prediction"]
    assert page.one(".card .share").text == percent(answer["confidence"])
    assert [text.split("\n") for text in shown] == [[s["class"], percent(s["confidence"])] for s in answer["top"]]
    assert re.fullmatch(r"[\d.,]+ ?ms · computed · JPEG 448 × 336", facts)
    thumbnail = card.find_element(By.TAG_NAME, "img")
    page.wait(lambda: thumbnail.get_property("naturalWidth") == 448)
    bars = page.driver.execute_script(
        "return [...document.querySelectorAll('.bar')]"
        ".map(bar => parseFloat(getComputedStyle(bar, '::before').width) / bar.clientWidth)")
    assert bars == pytest.approx([score["confidence"] for score in answer["top"]], abs=0.01)


def test_the_model_is_shown(service: Instance, page: Page):
    page.open(service.url)
    (model,) = json.loads(service.get("models"))["models"]
    page.wait(lambda: page.one("#model").text == f"Model {model['name']}@{model['version']} · 10 classes · 64 × 64")


def test_several_pictures_each_get_a_card_and_a_repeated_one_is_cached(service: Instance, page: Page):
    page.open(service.url)
    page.choose(PICTURE)
    page.cards(1)
    pictures = [FIXTURES / "pictures" / name for name in ("png-rgb.png", "webp-lossy.webp", "jpeg-exif-6.jpg")]
    page.choose(*pictures, PICTURE)
    page.cards(5)
    assert page.texts(".card h3") == [p.name for p in (*pictures, PICTURE, PICTURE)]
    assert "cached" in page.texts(".card .facts")[3]

    log = page.driver.find_element(By.ID, "log")
    assert log.aria_role == "log"
    spoken = log.get_property("textContent")
    assert all(picture.name in spoken for picture in pictures)

    page.one("#clear").click()
    assert page.all(".card") == []
    assert page.driver.switch_to.active_element.get_attribute("id") == "files"


@pytest.mark.parametrize("event", [
    "new DragEvent('drop', { dataTransfer: held, bubbles: true, cancelable: true })",
    "new ClipboardEvent('paste', { clipboardData: held, bubbles: true })",
], ids=["dropped", "pasted"])
def test_pictures_can_also_be(event: str, service: Instance, page: Page):
    page.open(service.url)
    page.one("#picker")
    page.driver.execute_script(
        "const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));"
        "const held = new DataTransfer();"
        "held.items.add(new File([bytes], 'given.jpg', { type: 'image/jpeg' }));"
        f"document.body.dispatchEvent({event});",
        base64.b64encode(PICTURE.read_bytes()).decode())
    page.cards(1)
    assert page.one(".card h3").text == "given.jpg"
    assert page.one(".card .answer").text == service.predict(PICTURE)["prediction"]


def test_a_text_file_gets_the_detail_of_the_problem(service: Instance, page: Page, tmp_path: Path):
    text = tmp_path / "notes.txt"
    text.write_text("no picture at all\n")
    with pytest.raises(urllib.error.HTTPError) as refused:
        service.predict(text)
    detail = json.load(refused.value)["detail"]

    page.provoked = {415}
    page.open(service.url)
    page.choose(text)
    (card,) = page.cards(1)
    assert "failed" in card.get_attribute("class")
    assert page.one(".card .answer").text == "Not classified"
    assert page.one(".card .facts").text == detail
    assert page.all(".card img") == [], "a broken picture is shown"
    page.screenshot("error")


def test_recent_requests_are_listed_with_their_pictures(service: Instance, page: Page):
    answer = service.predict(PICTURE)
    page.open(service.url)
    newest = page.one("#recent li")
    assert newest.get_attribute("data-id") == answer["request_id"]
    assert newest.find_element(By.CSS_SELECTOR, ".share").text == percent(answer["confidence"])
    page.wait(lambda: newest.find_element(By.TAG_NAME, "img").get_property("naturalWidth") == 640)

    later = service.predict(FIXTURES / "pictures/png-rgb.png")
    page.one("#refresh").click()
    page.wait(lambda: page.one("#recent li").get_attribute("data-id") == later["request_id"])
    assert len(page.all("#recent li")) <= 10


def test_the_keyboard_reaches_everything_and_all_has_a_name(service: Instance, page: Page):
    page.open(service.url)
    page.choose(PICTURE)
    page.cards(1)
    page.driver.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(6):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        reached.append(page.driver.switch_to.active_element.accessible_name)
    picker = "Choose, drop or paste pictures JPEG, PNG, WebP, BMP, GIF or TIFF"
    assert reached == ["Documentation", "Metrics", "OpenAPI", picker, "Clear", "Refresh"]
    page.screenshot("focus")


@pytest.mark.parametrize("way", ["password", "key"])
def test_signing_in(way: str, guarded: Instance, page: Page):
    page.provoked = {401}
    page.open(guarded.url)
    form = page.one("#sign-in")
    assert page.all("#workspace") == []
    assert page.driver.switch_to.active_element.accessible_name == "User"

    def submit(**fields: str) -> None:
        for name, value in fields.items():
            field = form.find_element(By.NAME, name)
            field.clear()
            field.send_keys(value)
        form.find_element(By.TAG_NAME, "button").click()

    submit(user=USER, password="wrong")
    page.wait(lambda: "no or wrong credentials" in page.one("#sign-in-error").text)
    page.screenshot("sign-in")

    submit(**({"key": KEY} if way == "key" else {"password": PASSWORD}))
    page.choose(PICTURE)
    page.cards(1)
    assert page.all("#sign-in") == []
    newest = page.one("#recent li")
    page.wait(lambda: newest.find_element(By.TAG_NAME, "img").get_property("naturalWidth") == 640)

    page.driver.refresh()
    page.one("#recent li")
    page.one("#metrics").click()
    page.wait(lambda: "relance_workers" in page.driver.find_element(By.TAG_NAME, "body").text)

    page.driver.back()
    page.one("#sign-out").click()
    page.one("#sign-in")
    page.driver.refresh()
    page.one("#sign-in")
    assert page.all("#workspace") == []


def test_where_only_keys_are_accepted_only_a_key_is_asked_for(keys_only: Instance, page: Page):
    page.provoked = {401}
    page.open(keys_only.url)
    page.one("#sign-in")
    assert [field.accessible_name for field in page.all("#sign-in input")] == ["API key"]
    assert page.driver.switch_to.active_element.accessible_name == "API key"
    page.driver.switch_to.active_element.send_keys(KEY, Keys.ENTER)
    page.one("#workspace")


def test_in_portuguese(service: Instance, guarded: Instance, pagina: Page):
    pagina.provoked = {401}
    pagina.open(service.url)
    pagina.choose(PICTURE)
    pagina.cards(1)
    assert pagina.driver.find_element(By.TAG_NAME, "html").get_attribute("lang") == "pt-BR"
    assert pagina.one("#picker strong").text == "Escolha, solte ou cole imagens"
    assert pagina.one("#recent-title").text == "Requisições recentes"
    confidence = service.predict(PICTURE)["confidence"]
    assert pagina.one(".card .share").text == percent(confidence).replace(".", ",")
    pagina.screenshot("portuguese")

    pagina.open(guarded.url)
    assert pagina.one("#sign-in-title").text == "Entrar"


def test_every_text_has_a_translation():
    script = (PAGE / "app.js").read_text()
    table, code = script.split("\n};\n", 1)
    known = set(re.findall(r'^  "([^"]+)": "', table, re.MULTILINE))
    marked = re.findall(r"data-t(?: hidden)?>([^<]+)<", (PAGE / "index.html").read_text())
    # In the code: t("…"), and the two words that `source` chooses from.
    used = set(marked) | set(re.findall(r'\bt\("([^"]+)"\)', code)) | {"cached", "computed"}
    assert known == used


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_is_wider_than_the_screen(width: int, scheme: str, service: Instance, page: Page, tmp_path: Path):
    page.provoked = {415}
    page.width(width)
    page.scheme(scheme)
    long_name = tmp_path / f"{'a-very-long-name-without-a-space' * 4}.jpg"
    long_name.write_bytes(PICTURE.read_bytes())
    text = tmp_path / "notes.txt"
    text.write_text("no picture at all\n")
    page.open(service.url)
    page.choose(FIXTURES / "pictures/jpeg-exif-6.jpg", FIXTURES / "pictures/png-rgb.png", long_name, text)
    page.cards(4)
    page.wait(lambda: all(picture.get_property("naturalWidth") for picture in page.all("#recent img")))
    widths = [picture.get_property("naturalWidth") for picture in page.all(".card img")]
    assert widths == [110, 300, 640]
    content, screen = page.driver.execute_script(
        "const page = document.scrollingElement; return [page.scrollWidth, page.clientWidth]")
    assert (content, screen) == (width, width)
    page.screenshot(f"{scheme}-{width}")


def test_swagger_ui_lists_the_api_and_tries_it_out(service: Instance, page: Page):
    page.open(f"{service.url}/docs/")
    for path in json.loads(service.get("openapi.json"))["paths"]:
        page.one(f'.opblock-summary-path[data-path="{path}"]')
    assert page.all('.opblock-post .opblock-summary-path[data-path="/predict"]')

    page.one('.opblock-summary-path[data-path="/health"]').click()
    page.one(".opblock.is-open .try-out__btn").click()
    page.one(".opblock.is-open button.execute").click()
    assert page.one(".live-responses-table .response .response-col_status").text.split()[0] == "200"
    assert '"status": "ok"' in page.one(".live-responses-table .response .highlight-code").text
    page.screenshot("swagger-ui")
