"""The view that classifies pictures."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
from pathlib import Path
from typing import Callable

import pytest
from selenium.webdriver.common.by import By

from browsing import FIXTURES, PICTURE, Instance, Page, percent

OTHERS = [FIXTURES / "pictures" / name for name in ("png-rgb.png", "webp-lossy.webp", "jpeg-exif-6.jpg")]


def test_a_picture_gets_the_class_and_confidences_of_the_api(service: Instance, page: Page):
    picture = FIXTURES / "pictures/jpeg-448x336.jpg"
    page.open(service)
    page.choose(picture)
    (card,) = page.cards(1)
    shown = page.texts(".card .bars li")

    answer = service.predict(picture)
    assert card.find_element(By.CSS_SELECTOR, "h3").text == picture.name
    assert page.one(".card .answer").text == answer["prediction"]
    assert [text.split("\n") for text in shown] == [[s["class"], percent(s["confidence"])] for s in answer["top"]]
    assert re.fullmatch(r"[\d.,]+ ?ms · computed · JPEG 448 × 336", page.one(".card .facts").text)
    stages = " · ".join(rf"{name} [\d.]+" for name in ("queue", "decode", "prepare", "inference"))
    assert re.fullmatch(rf"{stages} · round trip [\d.,]+ ?ms", page.one(".card .timing").text)
    page.one(".card canvas")
    page.wait(lambda: page.run(
        "return [...document.querySelectorAll('.card .bar')]"
        ".map(bar => parseFloat(getComputedStyle(bar, '::before').width) / bar.clientWidth)")
        == pytest.approx([score["confidence"] for score in answer["top"]], abs=0.01))


def test_several_pictures_each_get_a_card_and_a_repeated_one_is_cached(service: Instance, page: Page):
    page.open(service)
    page.choose(PICTURE)
    page.cards(1)
    page.choose(*OTHERS, PICTURE)
    page.cards(5)
    assert page.texts(".card h3") == [p.name for p in (*OTHERS, PICTURE, PICTURE)]
    assert "cached" in page.texts(".card .facts")[3]
    assert page.text("#batch-text").startswith("4 of 4 · ")

    log = page.driver.find_element(By.ID, "log")
    assert log.aria_role == "log"
    spoken = log.get_property("textContent")
    assert all(picture.name in spoken for picture in OTHERS)

    page.click("#clear")
    assert page.all(".card") == []
    assert page.driver.switch_to.active_element.get_attribute("id") == "files"


@pytest.mark.parametrize("event", [
    "new DragEvent('drop', { dataTransfer: held, bubbles: true, cancelable: true })",
    "new ClipboardEvent('paste', { clipboardData: held, bubbles: true })",
], ids=["dropped", "pasted"])
def test_pictures_can_also_be(event: str, service: Instance, page: Page):
    # In any view.
    page.open(service, "requests")
    page.one("#requests-title")
    page.run(
        "const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));"
        "const held = new DataTransfer();"
        "held.items.add(new File([bytes], 'given.jpg', { type: 'image/jpeg' }));"
        f"document.body.dispatchEvent({event});",
        base64.b64encode(PICTURE.read_bytes()).decode())
    page.cards(1)
    assert page.one(".card h3").text == "given.jpg"
    assert page.one(".card .answer").text == service.predict(PICTURE)["prediction"]


def test_a_sample_is_classified_with_one_click(service: Instance, page: Page):
    names = service.json("page/samples.json")
    assert len(names) == 4
    page.open(service)
    samples = page.wait(lambda: page.all(".sample"))
    assert [sample.accessible_name for sample in samples] == names
    page.wait(lambda: all(img.get_property("naturalWidth") for img in page.all(".sample img")))
    samples[1].click()
    page.cards(1)
    assert page.one(".card h3").text == names[1]
    assert service.json("requests?limit=1")["requests"][0]["image_name"] == names[1]


def test_what_is_no_picture_gets_the_detail_of_the_problem(service: Instance, page: Page, tmp_path: Path):
    text = tmp_path / "notes.txt"
    text.write_text("no picture at all\n")
    with pytest.raises(urllib.error.HTTPError) as refused:
        service.predict(text)
    problem = json.load(refused.value)

    page.provoked = {415}
    page.open(service)
    page.choose(text, PICTURE)
    page.cards(2)
    assert page.texts(".card[data-state=failed] .answer") == [problem["title"]]
    assert page.texts(".card[data-state=failed] .facts") == [problem["detail"]]
    assert len(page.all(".card[data-state=done]")) == 1
    assert page.text("#batch-text").startswith("2 of 2 · ") and "failed 1" in page.text("#batch-text")
    page.screenshot("error")

    page.click(".card[data-state=failed] .again")
    page.cards(2)
    assert page.texts(".card[data-state=failed] .answer") == [problem["title"]]


def test_many_pictures_wait_for_a_busy_service(new_instance: Callable[..., Instance], page: Page):
    # One picture more than the worker has room for is already refused.
    busy = new_instance(WORKERS="1", MAX_QUEUE_MS="1", CACHE_BYTES="0",
                        MODEL=str(FIXTURES / "models/yolov8x-cls-nc1000-224.onnx"))
    busy.predict(PICTURE)
    pictures = sorted((FIXTURES / "pictures").glob("jpeg-4*.jpg"))[:6]
    page.provoked = {503}
    page.open(busy)
    page.choose(*pictures)
    page.cards(len(pictures))
    assert page.texts(".card[data-state=failed] .facts") == []
    refused = re.search(r'route="/predict",status="503"\} (\d+)', busy.get("metrics").decode())
    assert refused, "it was never too busy"
    assert len(busy.json("requests")["requests"]) == len(pictures) + 1


def test_a_batch_can_be_stopped(new_instance: Callable[..., Instance], page: Page):
    slow = new_instance(WORKERS="1", CACHE_BYTES="0", MODEL=str(FIXTURES / "models/yolov8x-cls-nc1000-224.onnx"))
    pictures = sorted((FIXTURES / "pictures").glob("jpeg-*.jpg"))
    page.open(slow)
    page.choose(*pictures)
    page.wait(lambda: page.all(".card[data-state=done]"))
    page.click("#stop")
    page.cards(len(pictures))
    stopped = page.texts(".card[data-state=failed] .facts")
    assert stopped and set(stopped) == {"Stopped before its answer came."}
    assert not page.all("#stop")


def test_a_phone_can_take_a_photograph(service: Instance, page: Page):
    page.open(service)
    page.one("#picker")
    assert page.all("#photograph") == []
    page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    page.driver.execute_cdp_cmd("Emulation.setEmitTouchEventsForMouse", {"enabled": True})
    try:
        page.wait(lambda: page.all("#photograph"))
        page.screenshot("photograph")
        camera = page.driver.find_element(By.ID, "camera")
        assert camera.get_attribute("capture") == "environment"
        camera.send_keys(str(PICTURE))
        page.cards(1)
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmitTouchEventsForMouse", {"enabled": False})
        page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_a_service_that_has_gone_is_told_for_each_picture(new_instance: Callable[..., Instance], page: Page):
    instance = new_instance()
    page.open(instance)
    page.wait(lambda: page.text("#model"))
    instance.stop()
    page.choose(PICTURE)
    page.cards(1)
    assert page.one(".card .answer").text == "No answer"
    assert "does not answer" in page.one(".card .facts").text
    refused = page.complaints()
    assert refused and all("ERR_CONNECTION_REFUSED" in message for message in refused)
