"""Single requests beside the load: directly, as Locust speaks to the service, whatever proxy the environment names."""

import os
import urllib.request
from base64 import b64encode

PATIENCE = 30

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def credentials() -> dict[str, str]:
    """The headers that let a request in: of API_KEY, or of API_USERNAME and API_PASSWORD."""
    if key := os.environ.get("API_KEY"):
        return {"X-API-Key": key}
    if user := os.environ.get("API_USERNAME"):
        pair = f"{user}:{os.environ.get('API_PASSWORD', '')}"
        return {"Authorization": "Basic " + b64encode(pair.encode()).decode()}
    return {}


def get(url: str) -> str:
    """The text of an answer; raises OSError (HTTPError among them) or ValueError."""
    with _direct.open(urllib.request.Request(url, headers=credentials()), timeout=PATIENCE) as answer:
        return answer.read().decode()
