"""The service and the browser window that the tests of the page use."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import urllib.request
from pathlib import Path
from typing import Callable

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from service import BINARY, FIXTURES, PATIENCE, REPO, Service, http

PAGE = REPO / "src/http/page"
AXE = REPO / ".tools/axe-core/node_modules/axe-core/axe.min.js"
SCREENSHOTS = Path(__file__).parent / "screenshots"
PICTURE = FIXTURES / "pictures/jpeg-640x480.jpg"
USER, PASSWORD, KEY = "ana", "pão:1", "a-key-for-the-tests"

class Instance(Service):
    """A running service, and what the tests ask it."""

    def get(self, path: str) -> bytes:
        return http.open(f"{self.url}/{path}", timeout=PATIENCE).read()

    def json(self, path: str) -> dict:
        return json.loads(self.get(path))

    def predict(self, picture: Path, name: str | None = None) -> dict:
        """Sends a picture, in a form if it is to have a name."""
        body, headers = picture.read_bytes(), {"Content-Type": "application/octet-stream"}
        if name:
            headers = {"Content-Type": "multipart/form-data; boundary=limit"}
            head = f'--limit\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
            body = head.encode() + body + b"\r\n--limit--\r\n"
        request = urllib.request.Request(f"{self.url}/predict", body, headers)
        return json.load(http.open(request, timeout=PATIENCE))


class Page:
    """A browser window, and what it may complain about."""

    def __init__(self, driver: webdriver.Chrome):
        self.driver = driver
        # Chromium logs every answer from 400 up; here go the statuses that a test provokes.
        self.provoked: set[int] = set()

    def open(self, service: Instance, view: str = "classify") -> None:
        self.driver.get("about:blank")
        self.driver.get(f"{service.url}/#/{view}")

    def wait(self, condition: Callable):
        # The page may replace an element while it is looked at.
        ignored = [StaleElementReferenceException]
        return WebDriverWait(self.driver, PATIENCE, 0.1, ignored_exceptions=ignored).until(lambda _: condition())

    def all(self, selector: str) -> list[WebElement]:
        return [e for e in self.driver.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]

    def one(self, selector: str) -> WebElement:
        """The first element shown, as soon as there is one."""
        return self.wait(lambda: self.all(selector))[0]

    def click(self, selector: str) -> None:
        self.one(selector).click()

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.all(selector)]

    def text(self, selector: str) -> str:
        """The text of one element, shown or not."""
        return self.driver.find_element(By.CSS_SELECTOR, selector).get_property("textContent")

    def run(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    def module(self, file: str, expression: str, *arguments):
        """What an expression gives, in which `m` is a module of the page and `a` are the arguments."""
        script = (f"const [done, a] = [arguments[arguments.length - 1], arguments];"
                  f"import('/page/{file}').then(async (m) => done([await ({expression})]))"
                  f".catch((error) => done(String(error)));")
        result = self.driver.execute_async_script(script, *arguments)
        assert isinstance(result, list), result
        return result[0]

    def choose(self, *files: Path) -> None:
        self.one("#picker")
        self.driver.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))

    def cards(self, count: int) -> list[WebElement]:
        self.wait(lambda: len(self.all(".card:not([aria-busy])")) == count)
        return self.all(".card")

    def rows(self, count: int) -> list[WebElement]:
        self.wait(lambda: not self.all(".rows[aria-busy]") and len(self.all(".rows li")) == count)
        return self.all(".rows li")

    def width(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def fits(self, width: int) -> bool:
        """Whether nothing is wider than the screen."""
        script = "const page = document.scrollingElement; return [page.scrollWidth, page.clientWidth]"
        return self.run(script) == [width, width]

    def screenshot(self, name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        options = {"captureBeyondViewport": True}
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(taken))

    def barriers(self) -> list[str]:
        """What axe finds that keeps people out, serious or critical."""
        if not AXE.is_file():
            pytest.fail(f"there is no {AXE}; scripts/install-tools test installs it", pytrace=False)
        self.run(AXE.read_text())
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run().then((found) => done(found.violations))")
        return [f"{rule['id']}: {node['html']}" for rule in found if rule["impact"] in ("serious", "critical")
                for node in rule["nodes"]]

    def complaints(self) -> list[str]:
        def provoked(message: str) -> bool:
            return any(f"responded with a status of {status} " in message for status in self.provoked)

        messages = [entry["message"] for entry in self.driver.get_log("browser")]
        return [message for message in messages if not provoked(message)]


def start_browser(language: str, downloads: Path) -> webdriver.Chrome:
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
    options.add_experimental_option(
        "prefs", {"intl.accept_languages": language, "download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(found["chromedriver"]))
    driver.set_script_timeout(PATIENCE)
    return driver


def digest() -> str:
    return hashlib.sha256(KEY.encode()).hexdigest()


def percent(share: float) -> str:
    """As the page writes it in English."""
    return f"{share:.1%}"
