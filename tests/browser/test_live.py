"""The view of what happens now, and how it computes."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Callable

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from browsing import FIXTURES, PASSWORD, PICTURE, USER, Instance, Page

PICTURES = sorted((FIXTURES / "pictures").glob("jpeg-4*.jpg"))


def number(text: str) -> float:
    return float(re.search(r"[\d.]+", text.replace(",", ""))[0])


def send(service: Instance, seconds: float, pause: float = 0.05) -> int:
    """Sends pictures for a while; tells how many."""
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        service.predict(PICTURES[sent % len(PICTURES)])
        sent += 1
        time.sleep(pause)
    return sent


def counted(service: Instance, metric: str) -> float:
    """Sum of a metric over its labels."""
    text = service.get("metrics").decode()
    return sum(float(value) for value in re.findall(rf"^{metric}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))


def test_real_requests_show_in_every_part(new_instance: Callable[..., Instance], page: Page, tmp_path: Path):
    service = new_instance()
    page.provoked = {415}
    page.open(service, "live")
    page.wait(lambda: page.one("#live-state").get_attribute("data-kind") == "watching")
    assert page.one("#class-none").is_displayed()
    began = time.monotonic()
    worker = threading.Thread(target=send, args=(service, 9))
    worker.start()
    page.wait(lambda: page.one("#tile-rate .value").text not in ("–", "0"))
    worker.join()
    total = counted(service, "relance_predictions_total")
    page.wait(lambda: number(page.one("#tile-rate .below").text) == total)
    spent = time.monotonic() - began

    assert 0 < number(page.one("#tile-rate .value").text) <= total / 2
    assert 0 < number(page.one("#tile-latency .value").text) < 10_000
    ratio = 1 - len(PICTURES) / total
    assert page.one("#tile-hits .value").text == f"{ratio:.1%}"
    classes = page.texts("#class-shares li")
    assert sum(number(text.split("·")[1]) for text in classes) == total
    share = number(classes[0].split("\n")[1])
    assert share == pytest.approx(number(classes[0].split("·")[1]) / total * 100, abs=0.06)
    spoken = page.run("return [...document.querySelectorAll('#confidence .unseen')].map((e) => e.textContent)")
    assert len(spoken) == 13 and sum(number(text.split(":")[1]) for text in spoken) == total
    assert page.texts("#parts dt") == ["This instance", "Storage"]
    assert page.texts("#parts dd") == ["ready", "ok"]

    # The chart has been drawn from as many samples as there were.
    points = page.run("return document.querySelectorAll('#chart-rate canvas').length")
    assert points == 1 and spent > 9
    label = page.one("#chart-rate .plot").get_attribute("aria-label")
    assert re.fullmatch(r"Requests a second: answered \(2xx\) [\d.]+, 4xx 0, 5xx 0", label)
    assert number(page.one("#tile-memory .value").text) > 10
    page.screenshot("live")

    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    for _ in range(3):
        with pytest.raises(OSError):
            service.predict(text)
    page.wait(lambda: page.one("#tile-refused .value").text == "3")


def listeners(service: Instance) -> float:
    return counted(service, "relance_live_listeners")


def watching(page: Page) -> bool:
    return page.one("#live-state").get_attribute("data-kind") == "watching"


def test_it_can_be_paused_and_another_time_be_shown(service: Instance, page: Page):
    page.open(service, "live")
    page.wait(lambda: watching(page))
    page.click("#pause")
    assert page.one("#live-state").text == "Paused"
    page.wait(lambda: listeners(service) == 0)
    time.sleep(1.5)
    assert listeners(service) == 0
    Select(page.one("#window")).select_by_value("3600")
    page.click("#pause")
    page.wait(lambda: watching(page) and listeners(service) == 1)


def test_nobody_listens_while_another_view_or_another_tab_is_open(service: Instance, page: Page):
    page.open(service, "live")
    page.wait(lambda: watching(page) and listeners(service) == 1)
    page.click("nav a[href='#/classify']")
    page.one("#picker")
    page.wait(lambda: listeners(service) == 0)
    page.click("nav a[href='#/live']")
    page.wait(lambda: watching(page) and listeners(service) == 1)

    mine = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.wait(lambda: listeners(service) == 0)
    page.driver.close()
    page.driver.switch_to.window(mine)
    page.wait(lambda: watching(page) and listeners(service) == 1)


def test_whoever_comes_later_sees_what_was(new_instance: Callable[..., Instance], page: Page):
    service = new_instance()
    page.open(service, "live")
    page.wait(lambda: watching(page))
    sent = send(service, 4)
    page.wait(lambda: page.one("#tile-rate .below").text == f"{sent} in this time")
    # A page that knows nothing of it gets it from the service, and the one that knows counts nothing twice.
    for _ in range(2):
        page.driver.refresh()
        page.wait(lambda: page.one("#tile-rate .below").text == f"{sent} in this time")
    assert page.module("history.js", "m.KEPT") == 3600
    page.click("#pause")
    page.click("#pause")
    page.wait(lambda: watching(page))
    time.sleep(1.5)
    assert number(page.one("#tile-rate .below").text) == sent


def test_where_credentials_are_needed(guarded: Instance, page: Page):
    page.provoked = {401}
    page.open(guarded, "live")
    page.run("sessionStorage.clear()")
    page.driver.refresh()
    page.one("#sign-in input").send_keys(USER, Keys.TAB, PASSWORD, Keys.ENTER)
    page.wait(lambda: watching(page))
    assert page.texts("#parts dd")[0] == "ready"


def test_metrics_on_a_port_of_their_own(new_instance: Callable[..., Instance], service: Instance, page: Page):
    page.open(service)
    page.one("#metrics")
    apart = new_instance(METRICS_PORT="0")
    page.open(apart, "live")
    page.wait(lambda: watching(page))
    apart.predict(PICTURE)
    page.wait(lambda: page.one("#tile-rate .below").text == "1 in this time")
    assert page.all("footer a") and not page.all("#metrics")


def test_a_service_that_goes_and_comes_back(new_instance: Callable[..., Instance], page: Page):
    service = new_instance()
    port = service.url.rsplit(":", 1)[1]
    page.open(service, "live")
    page.wait(lambda: watching(page))
    service.stop()
    page.wait(lambda: not watching(page))
    page.wait(lambda: re.search(r"does not answer.* Trying again in \d+ s\.", page.one("#live-state").text))
    assert page.all("#live-body.stale")
    page.screenshot("live-gone")
    again = new_instance(PORT=port)
    page.wait(lambda: watching(page))
    assert not page.all("#live-body.stale")
    again.predict(PICTURE)
    page.wait(lambda: page.one("#tile-rate .below").text == "1 in this time")
    known = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET")
    assert all(any(error in message for error in known) for message in page.complaints())


def test_a_service_that_shuts_down_in_order(new_instance: Callable[..., Instance], page: Page):
    service = new_instance(DRAIN_DELAY_MS="2500")
    page.provoked = {503}
    page.open(service, "live")
    page.wait(lambda: watching(page))
    service.process.terminate()
    page.wait(lambda: not watching(page))
    said = page.one("#live-state").text
    assert "has ended the connection" in said or "shutting down" in said
    service.process.wait(10)
    assert all("ERR_CONNECTION_REFUSED" in message for message in page.complaints())


@pytest.mark.parametrize(("q", "counts", "expected"), [
    (0.5, [0, 10, 0, 0], 1.5),
    (0.5, [10, 10, 0, 0], 1.0),
    (0.25, [10, 10, 0, 0], 0.5),
    (0.99, [0, 0, 100, 0], 3.98),
    (1.0, [5, 5, 5, 0], 4.0),
    (0.9, [1, 0, 0, 9], 4.0),
    (0.5, [0, 0, 0, 0], None),
])
def test_quantiles_are_prometheus_own(q: float, counts: list[int], expected: float | None, service: Instance,
                                      page: Page):
    page.open(service)
    found = page.module("quantile.js", "m.quantile(a[0], { bounds: [1, 2, 4], counts: a[1] })", q, counts)
    assert found == (pytest.approx(expected) if expected is not None else None)


SAMPLE = """
  const snapshot = (time, seconds, answers) => ({ time, seconds, answers, instance: "one", in_flight: 0,
    requests: { "2xx": answers, "4xx": 0, "5xx": 0, refused: 0 }, cache: { hits: answers / 2, misses: answers / 2 },
    latency: { bounds: [1, 2], counts: [answers, 0, 0] }, classes: answers ? { x: answers } : {},
    confidence: { bounds: [1], counts: [answers, 0] }, queue: { length: time % 3 } });
  const sample = (...values) => m.read(snapshot(...values));
"""


def test_hours_stay_in_bounds_and_readable(service: Instance, page: Page):
    page.open(service)
    script = f"(() => {{ {SAMPLE} const h = new m.History();" """
      for (let i = 0; i <= 3 * 3600; i += 1) h.add(sample(1e9 + i, 1, 10));
      const s = h.series(3600);
      return { samples: h.samples.length, points: s.times.length, span: s.times.at(-1) - s.times[0],
        rates: [Math.min(...s.ok), Math.max(...s.ok)], median: s.p50.at(-1), hits: s.hits.at(-1),
        total: h.growth(3600).answered, fine: h.series(300).times.length }; })()"""
    found = page.module("history.js", script)
    assert found["samples"] < 700 and found["points"] <= 200 and found["fine"] == 150
    assert 3500 < found["span"] <= 3600
    assert found["rates"] == [10, 10] and (found["median"], found["hits"]) == (0.5, 0.5)
    assert found["total"] == pytest.approx(36000, rel=0.01)


def test_pauses_are_gaps_and_nothing_counts_twice(service: Instance, page: Page):
    page.open(service)
    script = f"(() => {{ {SAMPLE} const h = new m.History();" """
      for (let again = 0; again < 2; again += 1) {
        h.add(sample(100, 0, 0)); h.add(sample(102, 2, 10)); h.add(sample(104, 2, 4));
        h.add(sample(206, 2, 20)); h.add(sample(208, 2, 2));
      }
      const s = h.series(300); return [h.growth(300).answered, s.times, s.ok, h.growth(3).classes.get("x")]; })()"""
    total, times, rates, recent = page.module("history.js", script)
    assert total == 10 + 4 + 20 + 2 and recent == 22
    assert times == [102, 104, 154, 206, 208] and rates == [5, 2, None, 10, 1]


def test_the_stream_is_read_in_whatever_pieces_it_comes(service: Instance, page: Page):
    page.open(service)
    script = """(async () => { const text = new TextEncoder().encode(a[0]); const told = [];
      const body = new ReadableStream({ start(c) { for (const byte of text) c.enqueue(Uint8Array.of(byte)); c.close(); } });
      await m.read(body, (events) => told.push(...events)); return told; })()"""
    stream = ": still here\n\nid: 1\ndata: {\"é\": 1}\n\nid: 2\ndata: {}\n\ndata: cut"
    assert page.module("source.js", script, stream) == [' {"é": 1}', " {}"]
