"""What an answer must be. Each check takes it as it came from JSON, and says what is wrong, or None."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOLERANCE = 1e-3
REFUSALS = (429, 503)


@dataclass(frozen=True)
class Sent:
    """What was sent: the picture's SHA-256, whether nobody can have sent it before, and the answer that the same
    picture got earlier."""

    sha256: str
    new: bool = False
    before: Mapping | None = None


def is_honest_refusal(status: int, headers: Mapping[str, str] | None) -> bool:
    """Whether a service that has too much to do said so, and when to come back."""
    after = (headers or {}).get("Retry-After", "")
    return status in REFUSALS and after.isdecimal() and int(after) > 0


def prediction(answer: dict, request_id: str | None, classes: Sequence[str], sent: Sent) -> str | None:
    """Checks an answer of `POST /predict`; `request_id` is the header of that name."""
    try:
        return (
            _identifier(answer, request_id)
            or _classes(answer, classes)
            or _picture(answer, sent)
            or _same_as_before(answer, sent.before)
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return f"not an answer as described: {type(error).__name__} {error}"


def _identifier(answer: dict, request_id: str | None) -> str | None:
    uuid.UUID(answer["request_id"])
    if answer["request_id"] != request_id:
        return "request_id is not that of the header X-Request-Id"
    return None


def _classes(answer: dict, classes: Sequence[str]) -> str | None:
    top = answer["top"]
    names = [entry["class"] for entry in top]
    values = [entry["confidence"] for entry in top]
    total = sum(values)
    if unknown := set(names) - set(classes):
        return f"{sorted(unknown)} is no class of the model"
    if len(set(names)) != len(names):
        return "a class is listed twice"
    if values != sorted(values, reverse=True) or not all(0 <= value <= 1 for value in values):
        return "confidences are not between 0 and 1, best first"
    if total > 1 + TOLERANCE or (len(names) == len(classes) and total < 1 - TOLERANCE):
        return "confidences do not add up to 1"
    if (answer["prediction"], answer["confidence"]) != (names[0], values[0]):
        return "prediction is not the best of top"
    return None


def _picture(answer: dict, sent: Sent) -> str | None:
    if answer["image"]["sha256"] != sent.sha256:
        return "the answer is about another picture"
    if answer["image_ref"] is not None and sent.sha256 not in answer["image_ref"]:
        return "image_ref names another picture"
    if not isinstance(answer["cached"], bool):
        return "cached is neither true nor false"
    if sent.new and answer["cached"]:
        return "a picture that was never sent before is said to be cached"
    return None


def _same_as_before(answer: dict, before: Mapping | None) -> str | None:
    if before is None:
        return None
    if answer["prediction"] != before["prediction"]:
        return "the same picture got another class"
    if abs(answer["confidence"] - before["confidence"]) > TOLERANCE:
        return "the same picture got another confidence"
    return None


def requests(answer: dict, classes: Sequence[str], limit: int) -> str | None:
    """Checks an answer of `GET /requests`."""
    try:
        records = answer["requests"]
        identifiers = [record["request_id"] for record in records]
        if not 1 <= len(records) <= limit:
            return f"{len(records)} requests where 1 to {limit} are due"
        # They are UUIDv7: their order is that of time.
        if identifiers != sorted(identifiers, reverse=True):
            return "requests are not newest first"
        if any(record["prediction"] not in classes for record in records):
            return "a request has a class that the model lacks"
    except (ValueError, KeyError, TypeError) as error:
        return f"not a list as described: {type(error).__name__} {error}"
    return None


def health(answer: dict) -> str | None:
    """Checks an answer of `GET /health`."""
    try:
        return None if answer["status"] == "ok" else "status is not ok"
    except (KeyError, TypeError):
        return "not a health answer"
