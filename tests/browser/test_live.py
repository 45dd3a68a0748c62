"""The view of what happens now, and how it computes."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Callable

import pytest
from selenium.webdriver.support.select import Select

from browsing import FIXTURES, PICTURE, Instance, Page

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
    assert re.fullmatch(r"Requests a second: answered [\d.]+, refused 0, failed 0", label)
    page.screenshot("live")

    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    for _ in range(3):
        with pytest.raises(OSError):
            service.predict(text)
    page.wait(lambda: page.one("#tile-refused .value").text == "3")


def test_it_can_be_paused_and_another_time_be_shown(service: Instance, page: Page):
    page.open(service, "live")
    page.wait(lambda: page.one("#live-state").get_attribute("data-kind") == "watching")
    page.click("#pause")
    assert page.one("#live-state").text == "Paused"
    # What was under way is over by then.
    time.sleep(0.5)
    asked = counted(service, "relance_http_request_seconds_count")
    time.sleep(2.5)
    # One was for the number itself.
    assert counted(service, "relance_http_request_seconds_count") == asked + 1
    Select(page.one("#window")).select_by_value("3600")
    page.click("#pause")
    page.wait(lambda: page.one("#live-state").get_attribute("data-kind") == "watching")


def test_nothing_is_asked_while_another_view_is_open(service: Instance, page: Page):
    page.open(service, "live")
    page.wait(lambda: page.one("#live-state").get_attribute("data-kind") == "watching")
    page.click("nav a[href='#/classify']")
    page.one("#picker")
    time.sleep(0.5)
    asked = counted(service, "relance_http_request_seconds_count")
    time.sleep(2.5)
    assert counted(service, "relance_http_request_seconds_count") == asked + 1


def test_a_service_that_goes_and_comes_back(new_instance: Callable[..., Instance], page: Page):
    service = new_instance()
    port = service.url.rsplit(":", 1)[1]
    page.open(service, "live")
    page.wait(lambda: page.one("#live-state").get_attribute("data-kind") == "watching")
    service.stop()
    page.wait(lambda: page.one("#live-state").get_attribute("data-kind") == "error")
    assert re.search(r"does not answer.* Trying again in \d+ s\.", page.one("#live-state").text)
    page.screenshot("live-gone")
    new_instance(PORT=port).predict(PICTURE)
    page.wait(lambda: page.one("#live-state").get_attribute("data-kind") == "watching")
    assert all("ERR_CONNECTION_REFUSED" in message for message in page.complaints())


PARSED = r"""# HELP a_total Of "things", with {braces}
# TYPE a_total counter
a_total{class="with \"quotes\", \\ and\nmore } x",route="/predict"} 3
a_total{class="b",route="/other"} 4.5e1 1700000000000

b_bucket{le="1"} 2
b_bucket{le="+Inf"} 7
not one
c NaN
"""


def test_the_text_format_is_read(service: Instance, page: Page):
    page.open(service)
    expression = "[...m.parse(a[0])].map(([name, samples]) => [name, samples.map((s) => [s.labels, String(s.value)])])"
    assert page.module("prometheus.js", expression, PARSED) == [
        ["a_total", [[{"class": 'with "quotes", \\ and\nmore } x', "route": "/predict"}, "3"],
                     [{"class": "b", "route": "/other"}, "45"]]],
        ["b_bucket", [[{"le": "1"}, "2"], [{"le": "+Inf"}, "7"]]],
        ["c", [[{}, "NaN"]]],
    ]
    sums = ("[m.sum(m.parse(a[0]), 'a_total'), m.sum(m.parse(a[0]), 'a_total', (l) => l.class === 'b'), "
            "m.sum(new Map(), 'x')]")
    assert page.module("prometheus.js", sums, PARSED) == [48, 45, 0]

    service.predict(PICTURE)
    real = service.get("metrics").decode()
    names = set(re.findall(r"^([a-z_]+)(?:\{| )", real, re.MULTILINE))
    assert set(page.module("prometheus.js", "[...m.parse(a[0]).keys()]", real)) == names


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
    found = page.module("prometheus.js", "m.quantile(a[0], { bounds: [1, 2, 4], counts: a[1] })", q, counts)
    assert found == (pytest.approx(expected) if expected is not None else None)


SAMPLE = """
  const sample = (time, answered, started = 1) => ({ time, started, answered, refused: 0, failed: 0, hits: answered / 2,
    results: answered, latency: { bounds: [1, 2], counts: [answered, 0, 0] }, classes: new Map([['x', answered]]),
    confidence: { bounds: [1], counts: [answered, 0] }, queue: time % 3, inFlight: 0 });
"""


def test_an_hour_stays_in_bounds_and_readable(service: Instance, page: Page):
    page.open(service)
    script = f"(() => {{ {SAMPLE} const h = new m.History();" """
      for (let i = 0; i <= 2 * 3600; i += 2) h.add(sample(1e9 + i, 10 * i));
      const s = h.series(3600);
      return { samples: h.samples.length, points: s.times.length, span: s.times.at(-1) - s.times[0],
        rates: [Math.min(...s.answered), Math.max(...s.answered)], median: s.p50.at(-1), hits: s.hits.at(-1),
        total: h.growth(3600).answered, fine: h.series(300).times.length }; })()"""
    found = page.module("history.js", script)
    assert found["samples"] < 500 and found["points"] <= 200 and found["fine"] in (150, 151)
    assert 3500 < found["span"] <= 3600
    assert found["rates"] == [10, 10] and (found["median"], found["hits"]) == (0.5, 0.5)
    assert found["total"] == pytest.approx(36000, rel=0.01)


def test_restarts_count_from_zero_and_pauses_are_gaps(service: Instance, page: Page):
    page.open(service)
    script = f"(() => {{ {SAMPLE} const h = new m.History();" """
      h.add(sample(100, 50)); h.add(sample(102, 60)); h.add(sample(104, 4, 2)); h.add(sample(106, 10, 2));
      h.add(sample(206, 20, 2)); h.add(sample(208, 22, 2));
      const s = h.series(300); return [h.growth(300).answered, s.times, s.answered]; })()"""
    total, times, answered = page.module("history.js", script)
    assert total == 10 + 4 + 6 + 10 + 2
    assert times == [102, 104, 106, 156, 208] and answered == [5, 2, 3, None, 1]
