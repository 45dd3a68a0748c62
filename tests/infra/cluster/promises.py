"""What a cluster promises. Test modules bring the cluster: of processes or of containers."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Callable

from .load import Answer, Front, Load, new_picture

PATIENCE = 60


def eventually(check: Callable[[], object], what: str) -> object:
    """The first true result; fails with `what` if there is none in time."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if result := check():
            return result
        time.sleep(0.1)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


class Promises:
    """Needs a fixture `cluster`, which all tests share.

    It has `front`, `instances` (their names), `kill(name)`, `terminate(name)` (SIGTERM, then waits; the exit
    status), `start(name)` (waits until ready), `sql(query)` and `recorded()` (request ids) in PostgreSQL,
    `access_log()`, `answers`, to which the tests add what they were answered, and `unclaimed`, the number of
    answers beside these.
    """

    def test_each_instance_gets_the_same_share(self, cluster):
        logged = len(cluster.access_log())
        answers = []
        # New connections each time, so that each of nginx's workers gets some.
        for _ in range(20):
            answers += Load(cluster.front, clients=8, requests=30).wait()
            shares = Counter(answer.served_by for answer in answers)
            assert set(shares) == set(cluster.instances)
            assert max(shares.values()) - min(shares.values()) <= 1, shares
        cluster.answers += answers
        eventually(lambda: len(cluster.access_log()) == logged + 600, "600 lines in nginx's log")
        lines = cluster.access_log()[logged:]
        assert Counter(line["served_by"] for line in lines) == shares
        assert {line["request_id"] for line in lines} == {answer.request_id for answer in answers}
        assert len({line["upstream"] for line in lines}) == len(shares), "each instance has an address in the log"

    def test_a_result_of_one_is_a_hit_on_another(self, cluster):
        picture = new_picture()
        first = cluster.front.predict(picture)
        time.sleep(0.5)  # Results reach Redis after their answer.
        second = cluster.front.predict(picture)
        cluster.answers += [first, second]
        assert second.served_by != first.served_by
        assert (first.cached, second.cached) == (False, True)
        assert second.top == first.top

    def test_clients_cannot_invent_their_address(self, cluster):
        answer, body = cluster.front.ask(
            "POST", "/predict", new_picture(), **{"Content-Type": "image/jpeg", "X-Forwarded-For": "203.0.113.9"}
        )
        assert answer.status == 200, body
        query = f"select user_ip from relance_requests where request_id = '{answer.headers['X-Request-Id']}'"
        rows = eventually(lambda: cluster.sql(query), "the record")
        assert rows[0] and not rows[0].startswith("203.0.113."), rows
        cluster.unclaimed += 1

    def test_a_batch_may_be_larger_than_a_picture(self, cluster):
        pictures = [new_picture() + bytes(4 * 2**20) for _ in range(4)]
        part = b'--limit\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n%s\r\n'
        body = b"".join(part % picture for picture in pictures) + b"--limit--\r\n"
        content_type = {"Content-Type": "multipart/form-data; boundary=limit"}
        answer, body = cluster.front.ask("POST", "/predict/batch", body, **content_type)
        assert answer.status == 200, body
        ids = [item["request_id"] for item in json.loads(body)]
        assert len(ids) == 4
        cluster.unclaimed += 4

    def test_what_is_too_large_is_told_in_json(self, cluster):
        # The first is refused by the service, the second by nginx.
        for size in (10 * 2**20 + 1000, 20 * 2**20):
            answer, body = cluster.front.ask("POST", "/predict", bytes(size), **{"Content-Type": "image/jpeg"})
            assert answer.status == 413, body
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert b"urn:relance:problem:too-large" in body

    def test_an_instance_that_dies_fails_no_request(self, cluster):
        victim = cluster.instances[1]
        # Enough of them that it has some in hand when it dies.
        load = Load(cluster.front, clients=12)
        time.sleep(0.5)
        cluster.kill(victim)
        time.sleep(1)
        cluster.start(victim)
        comes_back(cluster.front, victim, cluster.answers)
        cluster.answers += load.stop()

    def test_restarting_all_one_by_one_fails_no_request(self, cluster):
        load = Load(cluster.front, clients=6, pause=0.04)
        for name in cluster.instances:
            assert cluster.terminate(name) == 0
            cluster.start(name)
            comes_back(cluster.front, name, cluster.answers)
        answers = load.stop()
        cluster.answers += answers
        assert set(cluster.instances) == {answer.served_by for answer in answers}

    def test_without_any_instance_the_answer_is_a_problem(self, cluster):
        for name in cluster.instances:
            cluster.kill(name)
        answer, body = cluster.front.ask("POST", "/predict", new_picture(), **{"Content-Type": "image/jpeg"})
        for name in cluster.instances:
            cluster.start(name)
        assert answer.status == 503, body
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
        eventually(lambda: cluster.front.ask("GET", "/health")[0].status == 200, "an answer after the outage")
        for name in cluster.instances:
            comes_back(cluster.front, name, cluster.answers)

    def test_every_answer_is_recorded_once_and_its_picture_kept(self, cluster):
        if not cluster.answers:
            cluster.answers += Load(cluster.front, clients=4, requests=100).wait()
        answered = [answer.request_id for answer in cluster.answers]
        assert len(answered) == len(set(answered))
        missing = lambda: set(answered) - set(cluster.recorded())
        eventually(lambda: not missing(), "all answers in PostgreSQL")
        recorded = cluster.recorded()
        assert len(recorded) == len(set(recorded))
        # An instance that is killed may have stored what it had no time to answer.
        retried = sum("," in line["upstream"] for line in cluster.access_log())
        assert len(recorded) - len(answered) <= retried + cluster.unclaimed, (len(recorded), len(answered), retried)
        # Instances have no picture of another: nearly all of these come from Blob Storage.
        for answer in cluster.answers[:: max(1, len(answered) // 30)]:
            response, picture = cluster.front.ask("GET", f"/requests/{answer.request_id}/image")
            assert response.status == 200, picture
            assert picture == answer.picture


def comes_back(front: Front, name: str, answers: list[Answer]) -> None:
    """Waits until an instance gets requests again."""

    def served() -> bool:
        answers.append(front.predict(new_picture()))
        return answers[-1].served_by == name

    eventually(served, f"requests for {name}")
