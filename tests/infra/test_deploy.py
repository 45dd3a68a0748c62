"""deploy.sh: what it does when all goes well, and what it leaves behind when one step fails, whichever it is."""

import base64
import json
import re
import shutil
import signal
import subprocess
import threading
import urllib.request

import app_service
import pytest
from app_service import NOTHING, PASSWORD, SERVER, AppService, Containers
from service import PATIENCE, REPO, http

OLDER, OLD, NEW = "20260101000000-aaaaaaa", "20260202000000-bbbbbbb", "20260303000000-ccccccc"


def image(tag):
    return f"{SERVER}/relance:{tag}"


@pytest.fixture(scope="module")
def containers(tmp_path_factory):
    containers = Containers(tmp_path_factory.mktemp("containers"))
    yield containers
    containers.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return app_service.certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def app(tmp_path, containers, certificate):
    app = AppService(tmp_path, containers, certificate)
    app.certificate = certificate
    app.images = {image(t) for t in (OLDER, OLD, NEW)}
    app.slots = {"production": image(OLD), "staging": image(OLDER)}
    # A repository of its own, so that changes in the one under test do not matter.
    repo = tmp_path / "repo"
    (repo / "models/samples").mkdir(parents=True)
    shutil.copy(REPO / "deploy.sh", repo)
    shutil.copy(REPO / "models/samples/aberta-1.jpg", repo / "models/samples")
    shutil.copytree(REPO / "infra/azure", repo / "infra/azure")
    git = ["git", "-C", repo, "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True)
    yield app
    app.stop()


def deploy(app, *arguments, **environment):
    """Runs deploy.sh to its end. Whatever happens, the password is not seen."""
    return finished(app, app_service.start(app, app.folder / "repo", *arguments, **environment))


def finished(app, process):
    out, err = process.communicate(timeout=120)
    everything = out + err + json.dumps(app.calls)
    assert PASSWORD not in everything and json.dumps(PASSWORD) not in everything
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def as_before(app):
    assert app.slots == {"production": image(OLD), "staging": image(OLDER)}


def test_a_release_goes_through_the_staging_slot(app):
    done = deploy(app, "--tag", NEW, "--yes")
    assert done.returncode == 0, done.stderr
    assert app.slots == {"production": image(NEW), "staging": image(OLD)}
    assert f"released {NEW}" in done.stdout
    order = [c[1:4] for c in app.calls if c[1:3] == ["webapp", "config"] and c[3] == "set" or "swap" in c]
    assert order == [["webapp", "config", "set"], ["webapp", "deployment", "slot"]]


def test_the_trial_request_leaves_no_record(app, containers):
    assert deploy(app, "--tag", NEW, "--yes").returncode == 0
    token = base64.b64encode(f"relance:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(f"{containers.of(NEW).url}/requests", headers={"Authorization": f"Basic {token}"})
    answer = json.load(http.open(request, timeout=PATIENCE))
    assert [v for v in answer.values() if isinstance(v, list)] == [[]]


@pytest.mark.parametrize("how", ("docker", "registry"))
def test_it_builds_and_names_what_it_releases(app, how):
    remote = ["--remote-build"] if how == "registry" else []
    done = deploy(app, "--yes", *remote)
    assert done.returncode == 0, done.stderr
    tag = app.slots["production"].rpartition(":")[2]
    commit = subprocess.run(["git", "-C", app.folder / "repo", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    assert re.fullmatch(rf"20\d{{12}}-{commit.stdout.strip()}", tag)
    assert any(c[0] == "docker" for c in app.calls) == (how == "docker")
    app.containers.running.pop((tag, PASSWORD)).stop()


def test_the_same_release_twice_is_one(app):
    assert deploy(app, "--tag", NEW, "--yes").returncode == 0
    before, app.calls[:] = dict(app.slots), []
    done = deploy(app, "--tag", NEW, "--yes")
    assert done.returncode == 0 and f"already runs {NEW}" in done.stdout
    assert app.slots == before
    assert not any("set" in c or "swap" in c for c in app.calls)


def test_the_first_release_replaces_what_serves_nothing(app):
    app.slots = {"production": NOTHING, "staging": NOTHING}
    assert deploy(app, "--tag", NEW, "--yes").returncode == 0
    assert app.slots == {"production": image(NEW), "staging": NOTHING}
    # There is nothing to go back to.
    assert deploy(app, "--rollback", "--yes").returncode == 1
    assert app.slots["production"] == image(NEW)


def test_a_first_release_that_breaks_is_taken_back(app):
    app.slots = {"production": NOTHING, "staging": NOTHING}
    app.crashing_in_production = {NEW}
    done = deploy(app, "--tag", NEW, "--yes")
    # The swap back needs a slot that is ready, and nothing never is.
    assert done.returncode == 3 and "PRODUCTION STILL RUNS" in done.stderr


def test_whichever_step_fails_production_is_as_before(app):
    assert deploy(app, "--tag", NEW, "--yes").returncode == 0
    total = len(app.calls)
    assert total > 12
    succeeded = []
    for refused in range(1, total + 1):
        app.slots = {"production": image(OLD), "staging": image(OLDER)}
        app.calls, app.refused = [], refused
        done = deploy(app, "--tag", NEW, "--yes")
        call = " ".join(app.calls[refused - 1][1:4])
        if done.returncode == 0:
            succeeded.append(call)
            assert app.slots == {"production": image(NEW), "staging": image(OLD)}
            continue
        assert done.returncode == 1, (call, done.stderr)
        assert "deploy:" in done.stderr
        as_before(app)
    # Without metrics it goes by health alone.
    assert set(succeeded) == {"monitor metrics list"}


@pytest.mark.parametrize("refused", ("docker build", "az acr login", "docker push"))
def test_a_build_that_fails_touches_nothing(app, refused):
    deploy(app, "--yes")
    at = next(i for i, c in enumerate(app.calls, 1) if " ".join(c).startswith(refused))
    tag = app.slots["production"].rpartition(":")[2]
    app.containers.running.pop((tag, PASSWORD)).stop()
    app.slots = {"production": image(OLD), "staging": image(OLDER)}
    app.calls, app.refused = [], at
    done = deploy(app, "--yes")
    assert done.returncode == 1 and "nothing else was touched" in done.stderr
    as_before(app)


def test_a_release_that_is_never_ready_does_not_reach_production(app):
    app.crashing = {NEW}
    done = deploy(app, "--tag", NEW, "--yes")
    assert done.returncode == 1
    assert "did not answer with release" in done.stderr and "production was not touched" in done.stderr
    as_before(app)


def test_a_release_that_classifies_nothing_does_not_reach_production(app):
    app.unable = {NEW}
    done = deploy(app, "--tag", NEW, "--yes")
    assert done.returncode == 1 and "answered 401" in done.stderr
    as_before(app)


def test_a_release_that_breaks_in_production_is_taken_back(app):
    app.crashing_in_production = {NEW}
    done = deploy(app, "--tag", NEW, "--yes")
    assert done.returncode == 1 and f"taking release {NEW} back" in done.stderr
    as_before(app)


@pytest.mark.parametrize("errors, good", (((1000, 10), True), ((19, 19), True), ((1000, 80), False)))
def test_a_release_with_many_errors_is_taken_back(app, errors, good):
    app.errors = errors
    done = deploy(app, "--tag", NEW, "--yes")
    assert done.returncode == (0 if good else 1), done.stderr
    if not good:
        assert "80 of 1000 requests failed" in done.stderr
        as_before(app)


def test_what_cannot_be_taken_back_is_said_loudly(app):
    app.crashing_in_production = {NEW}
    app.crashing = set()
    # The old release breaks too, once it is in the staging slot, so that the swap back is refused.
    original = app.az_webapp_deployment_slot_swap

    def swap(*arguments):
        answer = original(*arguments)
        app.crashing = {OLD}
        return answer

    app.az_webapp_deployment_slot_swap = swap
    done = deploy(app, "--tag", NEW, "--yes")
    assert done.returncode == 3 and f"PRODUCTION STILL RUNS RELEASE {NEW}" in done.stderr
    assert app.slots["production"] == image(NEW)


def test_being_stopped_while_watching_takes_the_release_back(app):
    swapped = threading.Event()
    swap = app.az_webapp_deployment_slot_swap

    def swap_and_tell(*arguments):
        answer = swap(*arguments)
        swapped.set()
        return answer

    app.az_webapp_deployment_slot_swap = swap_and_tell
    process = app_service.start(app, app.folder / "repo", "--tag", NEW, "--yes", WATCH_SECONDS="60")
    assert swapped.wait(PATIENCE)
    assert app.slots["production"] == image(NEW)
    process.send_signal(signal.SIGTERM)
    assert finished(app, process).returncode == 1
    as_before(app)


def test_a_rollback_swaps_and_can_be_swapped_again(app):
    done = deploy(app, "--rollback", "--yes")
    assert done.returncode == 0, done.stderr
    assert app.slots == {"production": image(OLDER), "staging": image(OLD)}
    assert deploy(app, "--rollback", "--yes").returncode == 0
    as_before(app)


def test_a_rollback_to_what_is_not_ready_is_refused(app):
    app.crashing = {OLDER}
    done = deploy(app, "--rollback", "--yes")
    assert done.returncode == 1 and "nothing to go back to" in done.stderr
    as_before(app)


@pytest.mark.parametrize("call", ("account show", "webapp config", "deployment slot"))
def test_a_rollback_that_fails_says_so(app, call):
    deploy(app, "--rollback", "--yes")
    at = next(i for i, c in enumerate(app.calls, 1) if call in " ".join(c))
    app.slots = {"production": image(OLD), "staging": image(OLDER)}
    app.calls, app.refused = [], at
    done = deploy(app, "--rollback", "--yes")
    assert done.returncode == 1 and "deploy:" in done.stderr
    as_before(app)


def test_a_key_is_taken_instead_of_the_password(app):
    done = deploy(app, "--tag", NEW, "--yes", SMOKE_API_KEY="no-such-key")
    # The service refuses it, so it was sent.
    assert done.returncode == 1 and "answered 401" in done.stderr
    assert not any("keyvault" in c for c in app.calls)
    assert "no-such-key" not in done.stdout + done.stderr + json.dumps(app.calls)


def test_changes_that_are_not_committed_are_not_released(app):
    (app.folder / "repo/new").write_text("x")
    done = deploy(app, "--yes")
    assert done.returncode == 1 and "not committed" in done.stderr
    as_before(app)


def test_it_asks_before_it_does_anything(app):
    for arguments in (["--tag", NEW], ["--rollback"], ["--infra"]):
        done = deploy(app, *arguments)
        assert done.returncode == 1 and "--yes" in done.stderr
    as_before(app)
    assert not app.deployments


@pytest.mark.parametrize("arguments", (
    ["--environment", "test"], ["--tag", "latest"], ["--no-such"], ["--tag"], ["--infra", "--rollback"],
), ids=" ".join)
def test_wrong_usage_is_told_and_does_nothing(app, arguments):
    done = deploy(app, *arguments)
    assert done.returncode == 2 and "--help" in done.stderr
    assert app.calls == []


def test_help_tells_every_option(app):
    done = deploy(app, "--help")
    assert done.returncode == 0
    options = set(re.findall(r"^ +(--[\w-]+)(?: \||\))|\| (--[\w-]+)", (REPO / "deploy.sh").read_text(), re.MULTILINE))
    for option in {o for pair in options for o in pair if o}:
        assert option in done.stdout


def test_a_first_setup_makes_a_password_that_nobody_sees(app):
    app.exists = False
    done = deploy(app, "--infra", "--yes", "--environment", "prod", ALERT_EMAIL="ops@example.org")
    assert done.returncode == 0, done.stderr
    (values,) = app.deployments
    assert len(values["apiPassword"]) == 32
    assert values["apiPassword"] not in done.stdout + done.stderr + json.dumps(app.calls)
    assert values["alertEmail"] == "ops@example.org" and values["deployerPrincipalId"].endswith("a")
    assert ["az", "group", "create", "--name", "relance-prod", "--location", "westeurope", "--output", "none"] in app.calls


@pytest.mark.parametrize("environment", ("dev", "prod"))
def test_setting_up_again_changes_no_version_and_no_password(app, environment):
    app.settings["API_KEYS"] = "@Microsoft.KeyVault(VaultName=vault;SecretName=api-keys)"
    app.budget_start = "2026-10-01T00:00:00Z"
    done = deploy(app, "--infra", "--yes", "--environment", environment)
    assert done.returncode == 0, done.stderr
    (values,) = app.deployments
    assert (values["image"], values["stagingImage"]) == (image(OLD), image(OLDER))
    assert values["apiPassword"] == values["apiKeys"] == ""
    assert values["apiKeysInVault"] is True and values["budgetStartDate"] == "2026-10-01"
    bodies = {r.symbol: r.body for r in app.rendered.all_resources()}
    assert bodies["site"]["properties"]["siteConfig"]["linuxFxVersion"] == f"DOCKER|{image(OLD)}"
    # Autoscale has started more than the least.
    assert bodies["plan"]["sku"]["capacity"] == 5
    assert "password" not in bodies and "keys" not in bodies
    assert "API_KEYS" in {s["name"] for s in bodies["site"]["properties"]["siteConfig"]["appSettings"]}
    assert bodies["budget"]["properties"]["timePeriod"]["startDate"] == "2026-10-01"
    assert not any(c[1:3] == ["group", "create"] for c in app.calls)


def test_what_if_changes_nothing(app):
    done = deploy(app, "--what-if")
    assert done.returncode == 0 and "1 to modify" in done.stdout
    assert not app.deployments
    as_before(app)


def test_a_setup_that_fails_says_so(app):
    deploy(app, "--infra", "--yes")
    at = next(i for i, c in enumerate(app.calls, 1) if c[1:4] == ["deployment", "group", "create"])
    app.calls, app.refused, app.deployments = [], at, []
    done = deploy(app, "--infra", "--yes")
    assert done.returncode == 1 and "can be run again" in done.stderr


def test_the_scripts_are_clean():
    scripts = [REPO / "deploy.sh", REPO / "scripts/install-tools"]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
