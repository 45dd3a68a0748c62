"""The settings that infra/azure gives the web app are settings of the program, and it starts with them."""

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request

import pytest
from bicep_render import Deployment, parameters
from service import BINARY, PATIENCE, REPO, Process, http

SAMPLE = REPO / "models/samples/aberta-1.jpg"

AZURE = REPO / "infra" / "azure"

# Settings of App Service, from https://learn.microsoft.com/azure/app-service/reference-app-settings.
PLATFORM = {
    "WEBSITES_PORT",
    "WEBSITES_ENABLE_APP_SERVICE_STORAGE",
    "WEBSITES_CONTAINER_START_TIME_LIMIT",
    "WEBSITES_CONTAINER_STOP_TIME_LIMIT",
    "WEBSITE_WARMUP_PATH",
    "WEBSITE_WARMUP_STATUSES",
    "WEBSITE_SWAP_WARMUP_PING_PATH",
    "WEBSITE_SWAP_WARMUP_PING_STATUSES",
    "WEBSITE_HEALTHCHECK_MAXPINGFAILURES",
}

# Settings of the program that the web app leaves alone, and why.
LEFT = {
    "INSTANCE_NAME": "App Service gives each container a host name of its own",
    "RELEASE": "the image knows it; a setting would stay behind when slots are swapped",
    "MODEL": "in the image",
    "LABELS": "in the model",
    "MODEL_ADMINS": "a team's choice",
    "MODELS_POLL_SECONDS": "the default",
    "WORKERS": "as many as the instance has CPUs",
    "ORT_DYLIB_PATH": "in the image",
    "PROVIDER": "the default",
    "PRECISION": "the default",
    "ALLOW_ANONYMOUS": "there are credentials",
    "API_KEYS_FILE": "keys come from the vault",
    "CORS_ALLOW_ORIGINS": "pages of other sites do not call it",
    "LOGIN_FAILURES_PER_MINUTE": "the default",
    "MAX_CONNECTIONS": "the default",
    "HEAD_TIMEOUT_MS": "the default; front ends send whole heads",
    "IDLE_TIMEOUT_MS": "the default",
    "METRICS_PORT": "App Service has one port",
    "MAX_PIXELS": "the default",
    "JPEG_SCALING": "the default",
    "MAX_UPLOAD_BYTES": "the default",
    "MAX_INFLIGHT_BYTES": "the default",
    "MAX_BATCH_PICTURES": "the default",
    "MAX_BATCH_BYTES": "the default",
    "REQUEST_TIMEOUT_MS": "the default, far below the 230 s of App Service",
    "MAX_QUEUE_MS": "the default",
    "CACHE_BYTES": "the default",
    "CACHE_TTL_SECONDS": "the default",
    "DATA_FSYNC": "the disk goes with the container anyway",
    "SPOOL_FULL": "the default",
    "AZURE_STORAGE_KEY": "for the emulator",
    "AZURE_COSMOS_KEY": "for the emulator",
    "DATABASE_URL": "records go to Cosmos DB",
    "RUST_LOG": "the default",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "traces go to Application Insights",
    "TRACE_MAX_PER_SECOND": "the default",
    "RATE_LIMIT_PER_MINUTE": "the default",
    "GRPC_PORT": "App Service has one port",
}

# What Azure fills in, by how the placeholder ends. Names ending in .invalid are never found.
ANSWERS = {
    ".clientId": "11111111-2222-3333-4444-555555555555",
    ".documentEndpoint": "https://relance.documents.invalid:443/",
    ".primaryEndpoints.blob": "https://relance.blob.invalid/",
    ".location": "westeurope",
    "<redis.cluster.properties>.hostName": "relance.westeurope.redis.invalid",
    "<redis.database.properties>.port": "10000",
}
SECRETS = {
    "api-password": "a-password-for-the-tests",
    "api-keys": "phone:" + "ab" * 32,
    "applicationinsights-connection-string":
        "InstrumentationKey=11111111-2222-3333-4444-555555555555;IngestionEndpoint=https://insights.invalid/",
}


def app_settings(name, **changes):
    template, values = parameters(AZURE / f"{name}.bicepparam", {"API_PASSWORD": "x", "API_KEYS": "phone:x"})
    resources = Deployment(template, values | changes).all_resources()
    (site,) = [r.body for r in resources if r.type == "Microsoft.Web/sites"]
    return {s["name"]: s["value"] for s in site["properties"]["siteConfig"]["appSettings"]}


def as_azure_gives_them(settings):
    """What the container sees: references to the vault resolved, placeholders filled."""
    given = {}
    for name, value in settings.items():
        reference = re.fullmatch(r"@Microsoft\.KeyVault\(VaultName=[\w-]{3,24};SecretName=([\w-]+)\)", value)
        value = SECRETS[reference[1]] if reference else str(value)
        for ending, answer in ANSWERS.items():
            value = value.replace(ending, answer) if ending.startswith("<") else value
            value = answer if value.startswith("<") and value.endswith(ending) else value
        assert "<" not in value and "KeyVault" not in value, f"{name}={value}"
        given[name] = value
    return given


@pytest.fixture(scope="module")
def known():
    """The program's own settings, from its help."""
    shown = subprocess.run([BINARY, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"\[env: (\w+)[=\]]", shown))
    assert len(names) > 40
    return names


@pytest.mark.parametrize("name", ("dev", "prod"))
def test_each_setting_is_one_of_the_program_or_of_app_service(name, known):
    settings = app_settings(name)
    assert settings.keys() - PLATFORM <= known
    assert PLATFORM <= settings.keys()


def test_each_setting_of_the_program_is_decided_on(known):
    given = app_settings("prod").keys()
    undecided = known - given - LEFT.keys()
    assert not undecided, f"set {undecided} in infra/azure/main.bicep, or say above why not"
    assert not given & LEFT.keys()


@pytest.mark.parametrize("name", ("dev", "prod"))
def test_settings_fit_each_other(name):
    settings = app_settings(name)
    assert settings["WEBSITES_PORT"] == settings["PORT"]
    assert settings["HOST"] == "0.0.0.0"
    # Time to drain, to finish and to ship, and some to spare, before App Service kills; it waits 120 s at most.
    waits = ("DRAIN_DELAY_MS", "SHUTDOWN_TIMEOUT_MS", "FLUSH_TIMEOUT_MS")
    limit = int(settings["WEBSITES_CONTAINER_STOP_TIME_LIMIT"])
    assert sum(int(settings[w]) for w in waits) / 1000 + 15 <= limit <= 120
    # /home is one share for all instances, and a folder is for one.
    assert settings["WEBSITES_ENABLE_APP_SERVICE_STORAGE"] == "false"
    assert not settings["DATA_DIR"].startswith("/home")
    assert ("REDIS_URL" in settings) == (name == "prod")


def test_the_image_has_what_the_settings_name():
    image = (REPO / "Dockerfile").read_text()
    assert f"DATA_DIR={app_settings('dev')['DATA_DIR']}" in image
    assert "ARG RELEASE" in image and "ENV RELEASE=" in image


@pytest.mark.parametrize("name", ("dev", "prod"))
def test_the_service_starts_and_answers_with_them(name, tmp_path):
    settings = as_azure_gives_them(app_settings(name))
    service = Process(settings | {"HOST": "127.0.0.1", "PORT": "0", "DATA_DIR": str(tmp_path)})
    try:
        ready = json.load(http.open(f"{service.url}/health/ready", timeout=PATIENCE))
        assert ready["status"] == "ready"
        assert len(ready["dependencies"]) >= (3 if name == "prod" else 2)
        request = urllib.request.Request(f"{service.url}/predict", SAMPLE.read_bytes(), {"Content-Type": "image/jpeg"})
        with pytest.raises(urllib.error.HTTPError, match="401"):
            http.open(request, timeout=PATIENCE)
        user = f"{settings['API_USERNAME']}:{settings['API_PASSWORD']}"
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
        assert json.load(http.open(request, timeout=PATIENCE))["prediction"] == "aberta"
        assert SECRETS["api-password"] not in "".join(service.log)
    finally:
        service.stop()


def test_the_service_does_not_start_with_references_that_were_not_resolved(tmp_path):
    # App Service hands over the reference itself when the vault cannot be read; it must not become the password.
    settings = app_settings("prod")
    references = {n: v for n, v in settings.items() if v.startswith("@Microsoft.KeyVault")}
    assert references.keys() == {"API_PASSWORD", "API_KEYS", "APPLICATIONINSIGHTS_CONNECTION_STRING"}
    settings = as_azure_gives_them(settings) | references | {"HOST": "127.0.0.1", "PORT": "0", "DATA_DIR": str(tmp_path)}
    with pytest.raises(AssertionError, match="did not start"):
        Process(settings)
