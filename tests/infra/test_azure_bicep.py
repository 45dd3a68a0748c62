"""infra/azure: every file is read by a parser of its own, holds together, and deploys what docs/azure.md says."""

import itertools
import json
import os
import re
import subprocess
from pathlib import Path

import pycep
import pytest
from bicep import read
from bicep_render import Deployment, members, parameters, references

REPO = Path(__file__).parents[2]
AZURE = REPO / "infra" / "azure"
CHECKOV = REPO / ".tools" / "checkov" / "bin" / "checkov"
KUSTO = REPO / ".tools/@kusto/language-service-next/node_modules/@kusto/language-service-next"
FILES = sorted(AZURE.rglob("*.bicep"))
ENVIRONMENTS = ("dev", "prod")
ROLES = {
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "AcrPush": "8311e382-0749-4cb8-b61a-304f252e45ec",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
}


def deployed(name, environment=None, **changes):
    template, values = parameters(AZURE / f"{name}.bicepparam", {"API_PASSWORD": "secret"} if environment is None else environment)
    return Deployment(template, values | changes)


def bodies(deployment, kind, key="type"):
    return [r.body for r in deployment.all_resources() if getattr(r, key) == kind]


def short(path):
    return path.relative_to(AZURE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=short)
def test_a_second_parser_reads_the_file(path):
    assert pycep.BicepParser().parse(file_path=path)


@pytest.mark.parametrize("path", FILES, ids=short)
def test_every_name_is_declared_and_used(path):
    file = read(path)
    symbols = {d.name for d in file.declarations if d.kind != "output"}
    used = set().union(*(references(d.value) for d in file.declarations))
    unknown = {f"{name} in line {line}" for name, line in used if name not in symbols}
    assert not unknown
    needless = {d.name for d in file.declarations if d.kind in ("param", "var")} - {name for name, _ in used}
    assert not needless
    assert all(d.decorators.get("description") for d in file.of("param").values())


def test_modules_get_what_they_need_and_give_what_is_asked_of_them():
    main = read(AZURE / "main.bicep")
    modules = {name: read(AZURE / m.type) for name, m in main.of("module").items()}
    assert {f.path for f in modules.values()} == set((AZURE / "modules").glob("*.bicep"))
    for name, file in modules.items():
        value = main.of("module")[name].value
        given = set(getattr(value, "body", value)["params"])
        declared = file.of("param")
        assert given <= declared.keys(), name
        assert given >= {n for n, p in declared.items() if not p.has_value}, name
    asked = [m for d in main.declarations for m in members(d.value)]
    outputs = {(m.of.of.name, m.name) for m in asked if getattr(m.of, "name", "") == "outputs"}
    assert outputs
    for module, output in outputs:
        assert output in modules[module].of("output"), f"{module}.{output}"


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_choice_can_be_deployed(name):
    schedule = {
        "name": "day", "minInstances": 3, "maxInstances": 5, "timeZone": "W. Europe Standard Time",
        "days": ["Monday"], "startHour": 8, "endHour": 18,
    }
    choices = {
        "privateNetworking": (True, False),
        "redisSku": ("", "Balanced_B0"),
        "cosmosServerless": (True, False),
        "httpLogs": (True, False),
        "zoneRedundant": (True, False),
        "schedules": ([], [schedule]),
        "retentionDays": (0, 7, 90),
        "budgetAmount": (0, 5),
        "apiKeys": ("", "phone:ab"),
        "deployerPrincipalId": ("", "someone"),
    }
    # Any two choices together. Types, allowed values and limits of all parameters are checked on the way, as is that
    # nothing asks a module that is not deployed.
    for first, second in itertools.combinations(choices, 2):
        for one, other in itertools.product(choices[first], choices[second]):
            assert len(deployed(name, **{first: one, second: other}).all_resources()) > 30


def test_checkov_finds_nothing_and_every_exception_is_one():
    # The other formats are checked by their own tests.
    command = [CHECKOV, "-d", AZURE, "--framework", "bicep", "--skip-download", "--compact", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    failed = [(c["check_id"], c["resource"]) for c in report["results"]["failed_checks"]]
    assert failed == []
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 30
    written = [m for f in FILES for m in re.findall(r"// checkov:skip=(\w+):(.*)", f.read_text())]
    assert all(len(reason) > 20 for _, reason in written)
    skipped = [c["check_id"] for c in report["results"]["skipped_checks"]]
    assert sorted(skipped) == sorted(check for check, _ in written)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_web_app_is_set_up_as_the_service_needs_it(name):
    deployment = deployed(name)
    (site,) = bodies(deployment, "Microsoft.Web/sites")
    (staging,) = bodies(deployment, "Microsoft.Web/sites/slots")
    # The same settings, or a swap would restart what was just tried out.
    assert site["properties"] == staging["properties"]
    assert site["identity"] == staging["identity"]
    properties = site["properties"]
    config = properties["siteConfig"]
    assert properties["httpsOnly"] and not properties["clientAffinityEnabled"]
    assert config["healthCheckPath"] == "/health/ready" and config["alwaysOn"] and config["http20Enabled"]
    assert config["minTlsVersion"] == config["scmMinTlsVersion"] == "1.2" and config["ftpsState"] == "Disabled"
    policies = [r for r in deployment.all_resources() if r.type.endswith("basicPublishingCredentialsPolicies")]
    assert sorted((r.type.count("/"), r.body["name"]) for r in policies) == [(2, "ftp"), (2, "scm"), (3, "ftp"), (3, "scm")]
    assert not any(r.body["properties"]["allow"] for r in policies)


def test_an_image_that_runs_stays():
    (site,) = bodies(deployed("dev", image="a:1", stagingImage="a:2"), "Microsoft.Web/sites")
    (staging,) = bodies(deployed("dev", image="a:1", stagingImage="a:2"), "Microsoft.Web/sites/slots")
    assert site["properties"]["siteConfig"]["linuxFxVersion"] == "DOCKER|a:1"
    assert staging["properties"]["siteConfig"]["linuxFxVersion"] == "DOCKER|a:2"


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_autoscale_follows_the_load(name):
    deployment = deployed(name)
    (setting,) = bodies(deployment, "Microsoft.Insights/autoscalesettings")
    assert setting["properties"]["enabled"] is True
    (profile,) = setting["properties"]["profiles"]
    assert all(isinstance(v, str) for v in profile["capacity"].values())
    assert int(profile["capacity"]["minimum"]) < int(profile["capacity"]["maximum"])
    found = [
        (r["metricTrigger"]["metricName"], r["metricTrigger"]["operator"], r["metricTrigger"]["threshold"],
         r["scaleAction"]["direction"], r["scaleAction"]["value"])
        for r in profile["rules"]
    ]
    step = "3" if name == "prod" else "1"
    assert found == [
        ("CpuPercentage", "GreaterThan", 70, "Increase", step),
        ("HttpQueueLength", "GreaterThan", 10, "Increase", step),
        ("CpuPercentage", "LessThan", 40, "Decrease", "1"),
    ]
    assert all(r["metricTrigger"]["metricResourceUri"] == "<app.plan.id>" for r in profile["rules"])
    # Longer than the window, or a rule decides again on what it has already acted on.
    assert all(r["metricTrigger"]["timeWindow"] == "PT5M" for r in profile["rules"])
    assert [r["scaleAction"]["cooldown"] for r in profile["rules"]] == ["PT6M", "PT6M", "PT5M"]


def test_a_schedule_begins_and_ends():
    schedule = {
        "name": "day", "minInstances": 3, "maxInstances": 5, "timeZone": "W. Europe Standard Time",
        "days": ["Monday"], "startHour": 8, "endHour": 18,
    }
    (setting,) = bodies(deployed("prod", schedules=[schedule]), "Microsoft.Insights/autoscalesettings")
    always, begin, end = setting["properties"]["profiles"]
    assert begin["capacity"]["minimum"] == "3" and begin["recurrence"]["schedule"]["hours"] == [8]
    assert json.loads(end["name"]) == {"name": always["name"], "for": "day"}
    assert end["capacity"] == always["capacity"] and end["recurrence"]["schedule"]["hours"] == [18]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_no_key_or_password_opens_a_store(name):
    deployment = deployed(name)
    (account,) = bodies(deployment, "Microsoft.Storage/storageAccounts")
    assert account["properties"]["allowSharedKeyAccess"] is account["properties"]["allowBlobPublicAccess"] is False
    (cosmos,) = bodies(deployment, "Microsoft.DocumentDB/databaseAccounts")
    assert cosmos["properties"]["disableLocalAuth"] is True
    (registry,) = bodies(deployment, "Microsoft.ContainerRegistry/registries")
    assert registry["properties"]["adminUserEnabled"] is registry["properties"]["anonymousPullEnabled"] is False
    for database in bodies(deployment, "Microsoft.Cache/redisEnterprise/databases"):
        assert database["properties"]["accessKeysAuthentication"] == "Disabled"
        assert (database["properties"]["port"], database["properties"]["clientProtocol"]) == (10000, "Encrypted")
        # The client follows no redirections.
        assert database["properties"]["clusteringPolicy"] == "EnterpriseCluster"


def test_the_service_may_do_what_it_needs_and_no_more():
    deployment = deployed("prod")
    given = sorted(
        (r["scope"].type.split("@")[0], str(r["properties"]["roleDefinitionId"]).rsplit("/", 1)[1])
        for r in bodies(deployment, "Microsoft.Authorization/roleAssignments")
    )
    assert given == sorted([
        ("Microsoft.ContainerRegistry/registries", ROLES["AcrPull"]),
        # Pictures, and models.
        ("Microsoft.Storage/storageAccounts/blobServices/containers", ROLES["Storage Blob Data Contributor"]),
        ("Microsoft.Storage/storageAccounts/blobServices/containers", ROLES["Storage Blob Data Contributor"]),
        ("Microsoft.KeyVault/vaults", ROLES["Key Vault Secrets User"]),
    ])
    (cosmos,) = bodies(deployment, "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments")
    assert cosmos["properties"]["roleDefinitionId"].endswith("/00000000-0000-0000-0000-000000000002")
    (redis,) = bodies(deployment, "Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments")
    assert redis["properties"]["accessPolicyName"] == "default"
    principals = {r["properties"]["principalId"] for r in bodies(deployment, "Microsoft.Authorization/roleAssignments")}
    principals |= {cosmos["properties"]["principalId"], redis["properties"]["user"]["objectId"]}
    assert principals == {"<identity.identity.properties>.principalId"}


def test_the_container_of_cosmos_db_is_the_one_that_is_tested():
    (container,) = bodies(deployed("dev"), "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers")
    assert container["properties"]["resource"] == json.loads((AZURE / "cosmos-container.json").read_text())
    assert container["properties"]["options"] == {}
    (scaled,) = bodies(deployed("prod"), "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers")
    assert scaled["properties"]["options"] == {"autoscaleSettings": {"maxThroughput": 4000}}


@pytest.mark.parametrize("days", (0, 7, 90))
def test_pictures_go_when_records_go(days):
    (policy,) = bodies(deployed("prod", retentionDays=days), "Microsoft.Storage/storageAccounts/managementPolicies")
    (rule,) = policy["properties"]["policy"]["rules"]
    actions = rule["definition"]["actions"]["baseBlob"]
    assert actions.get("delete") == ({"daysAfterModificationGreaterThan": days} if days else None)
    assert bool(actions["tierToCool"]) == (days == 0 or days > 30)


def test_private_networking_closes_every_store():
    stores = (
        "Microsoft.Storage/storageAccounts", "Microsoft.DocumentDB/databaseAccounts",
        "Microsoft.Cache/redisEnterprise", "Microsoft.KeyVault/vaults",
    )
    closed, open_ = deployed("prod", privateNetworking=True), deployed("prod", privateNetworking=False)
    for kind in stores:
        assert bodies(closed, kind)[0]["properties"]["publicNetworkAccess"] == "Disabled"
        assert bodies(open_, kind)[0]["properties"]["publicNetworkAccess"] == "Enabled"
    endpoints = bodies(closed, "Microsoft.Network/privateEndpoints")
    groups = [e["properties"]["privateLinkServiceConnections"][0]["properties"]["groupIds"][0] for e in endpoints]
    assert sorted(groups) == ["Sql", "blob", "redisEnterprise", "vault"]
    zones = {z["name"] for z in bodies(closed, "Microsoft.Network/privateDnsZones")}
    named = {e["name"] for e in bodies(closed, "Microsoft.Network/privateDnsZones/virtualNetworkLinks")}
    assert len(zones) == 4 and named
    assert not bodies(open_, "Microsoft.Network/privateEndpoints")
    (site,) = bodies(closed, "Microsoft.Web/sites")
    assert site["properties"]["virtualNetworkSubnetId"] and site["properties"]["siteConfig"]["vnetRouteAllEnabled"]
    (site,) = bodies(open_, "Microsoft.Web/sites")
    assert site["properties"]["virtualNetworkSubnetId"] is None


def test_names_fit_and_secrets_stay_secret():
    deployment = deployed("prod", {"API_PASSWORD": "the-password", "API_KEYS": "the-keys"})
    assert len(bodies(deployment, "Microsoft.Storage/storageAccounts")[0]["name"]) <= 24
    assert len(bodies(deployment, "Microsoft.KeyVault/vaults")[0]["name"]) <= 24
    assert re.fullmatch(r"[a-z0-9]{5,50}", bodies(deployment, "Microsoft.ContainerRegistry/registries")[0]["name"])
    holders = [r.symbol for r in deployment.all_resources() if re.search("the-(password|keys)", json.dumps(r.body, default=str))]
    assert holders == ["password", "keys"]
    assert "the-" not in json.dumps(deployment.outputs)
    for file in map(read, FILES):
        for name, parameter in file.of("param").items():
            assert ("secure" in parameter.decorators) == (name in ("apiPassword", "apiKeys")), name
    # A later deployment without them leaves what the vault holds.
    later = deployed("prod", {}, apiKeysInVault=True)
    assert [s["name"] for s in bodies(later, "Microsoft.KeyVault/vaults/secrets")] == ["applicationinsights-connection-string"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_somebody_is_told(name):
    deployment = deployed(name, {"API_PASSWORD": "p", "ALERT_EMAIL": "ops@example.org"})
    (group,) = bodies(deployment, "Microsoft.Insights/actionGroups")
    assert [r["emailAddress"] for r in group["properties"]["emailReceivers"]] == ["ops@example.org"]
    alerts = bodies(deployment, "Microsoft.Insights/metricAlerts") + bodies(deployment, "Microsoft.Insights/scheduledQueryRules")
    assert {a["name"].removeprefix(f"relance-{name}-") for a in alerts} == {
        "5xx", "health", "cpu", "unavailable", "error-rate", "latency", "store-away", "backlog",
        "drift",
    }
    assert all("monitoring.actionGroup.id" in json.dumps(a["properties"]["actions"]) for a in alerts)
    assert all(a["properties"]["enabled"] for a in alerts)
    (test,) = bodies(deployment, "Microsoft.Insights/webtests")
    assert test["properties"]["Request"]["RequestUrl"].endswith("/health/ready")
    (budget,) = bodies(deployment, "Microsoft.Consumption/budgets")
    assert budget["properties"]["amount"] > 0


def test_queries_are_right_and_look_at_what_is_collected():
    workbook = json.loads((AZURE / "workbook.json").read_text())
    queries = {i["name"]: i["content"]["query"] for i in workbook["items"] if "query" in i["content"]}
    assert len(queries) > 8
    # What the workbook puts in for the chosen time.
    queries = {n: q.replace("{time:grain}", "5m") for n, q in queries.items()}
    deployment = deployed("prod")
    for rule in bodies(deployment, "Microsoft.Insights/scheduledQueryRules"):
        for criterion in rule["properties"]["criteria"]["allOf"]:
            queries[rule["name"]] = criterion["query"]
    given = json.dumps([{"name": n, "query": q} for n, q in queries.items()])
    command = ["node", Path(__file__).parent / "kql.cjs", KUSTO]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    # What a query reads is sent to the workspace by some diagnostic setting.
    settings = bodies(deployment, "Microsoft.Insights/diagnosticSettings")
    collected = {log.get("category") for s in settings for log in s["properties"].get("logs", []) if log["enabled"]}
    collected |= {"AzureMetrics"} if any(s["properties"].get("metrics") for s in settings) else set()
    # From Application Insights.
    collected |= {"AppRequests", "AppDependencies", "AppAvailabilityResults"}
    assert {q.split()[0] for q in queries.values()} <= collected


def test_the_alert_on_drift_waits_half_an_hour_and_looks_for_what_the_service_logs():
    rules = bodies(deployed("prod"), "Microsoft.Insights/scheduledQueryRules")
    (rule,) = (r["properties"] for r in rules if r["name"].endswith("-drift"))
    (criterion,) = rule["criteria"]["allOf"]
    assert (rule["windowSize"], rule["evaluationFrequency"]) == ("PT5M", "PT5M")
    assert criterion["failingPeriods"] == {"numberOfEvaluationPeriods": 6, "minFailingPeriodsToAlert": 6}
    (line,) = re.findall(r'has "(.+)"', criterion["query"])
    assert f'"{line}"' in (REPO / "src/service/drift.rs").read_text()
    workbook = json.loads((AZURE / "workbook.json").read_text())
    assert [i["name"] for i in workbook["items"] if line in i["content"].get("query", "")]


def test_a_fault_in_a_query_is_found():
    wrong = json.dumps([{"name": "x", "query": "AppServiceHTTPLogs | where ScStatuss > 1"}])
    command = ["node", Path(__file__).parent / "kql.cjs", KUSTO]
    done = subprocess.run(command, input=wrong, capture_output=True, text=True, check=True, env=os.environ)
    assert "ScStatuss" in done.stdout


def test_the_document_tells_what_is_deployed():
    document = (REPO / "docs/azure.md").read_text()
    script = (REPO / "deploy.sh").read_text()
    for option in set(re.findall(r"deploy\.sh (?:\S+ )?(--[a-z-]+)", document)):
        assert f"{option} " in script, option
    names = read(AZURE / "main.bicep").of("param")
    for parameter in set(re.findall(r"`([a-z]+[A-Z]\w+)(?: = \w+)?`", document)):
        assert parameter in names, parameter
    alerts = re.findall(r"^\| ([\w-]+) \| .* \| ([0-4]) \|$", document, re.MULTILINE)
    deployed_alerts = bodies(deployed("prod"), "Microsoft.Insights/metricAlerts")
    deployed_alerts += bodies(deployed("prod"), "Microsoft.Insights/scheduledQueryRules")
    expected = {(a["name"].removeprefix("relance-prod-"), a["properties"]["severity"]) for a in deployed_alerts}
    assert {(name, int(severity)) for name, severity in alerts} == expected
    costs = document.split("## What it costs")[1]
    for name, words in (("dev", ("one {planSku}", "capped at {logDailyQuotaGb} GB")),
                        ("prod", ("two {planSku}", "{redisSku}", "capped at {logDailyQuotaGb} GB"))):
        _, values = parameters(AZURE / f"{name}.bicepparam")
        for word in words:
            assert word.format(**values) in costs
