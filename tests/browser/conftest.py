"""What the tests of the page share."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Callable, Iterator

import pytest
from selenium import webdriver

from browsing import BINARY, PAGE, PASSWORD, USER, Instance, Page, digest, start_browser


def serve(tmp_path_factory: pytest.TempPathFactory, **settings: str) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("service") / "data", **settings)
    yield instance
    instance.stop()


@pytest.fixture(scope="session")
def new_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Instance]]:
    """Starts instances with settings of their own."""
    started = []

    def start(**settings: str) -> Instance:
        started.append(Instance(tmp_path_factory.mktemp("service") / "data", **settings))
        return started[-1]

    yield start
    for instance in started:
        instance.stop()


@pytest.fixture(scope="session", autouse=True)
def up_to_date(new_instance: Callable[..., Instance]) -> None:
    """Whether the program holds the page that is in this folder."""
    instance = new_instance()
    files = ["index.html", *(str(file.relative_to(PAGE)) for file in PAGE.rglob("*.*")
                             if file.suffix in (".js", ".css", ".svg"))]
    for file in files:
        try:
            held = instance.get("" if file == "index.html" else f"page/{file}")
        except urllib.error.HTTPError:
            held = None
        if held != (PAGE / file).read_bytes():
            pytest.fail(f"{BINARY} lacks {PAGE / file}, or has another one; name it in page.rs and build again: "
                        "cargo build --release", pytrace=False)
    instance.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    yield from serve(tmp_path_factory)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    yield from serve(tmp_path_factory, API_USERNAME=USER, API_PASSWORD=PASSWORD, API_KEYS=f"test:{digest()}")


@pytest.fixture(scope="module")
def keys_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    yield from serve(tmp_path_factory, API_KEYS=f"test:{digest()}")


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="session")
def english(downloads: Path) -> Iterator[webdriver.Chrome]:
    driver = start_browser("en-GB", downloads)
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def brazilian(downloads: Path) -> Iterator[webdriver.Chrome]:
    driver = start_browser("pt-BR", downloads)
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
