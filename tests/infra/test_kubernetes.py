"""The manifests are valid, fit together, and fit the program."""

from __future__ import annotations

import copy
import re
import tomllib

import kubernetes_validate
import pytest
import yaml

from manifests import (KUBERNETES, OVERLAYS, REPO, config, container, in_force, objects, of_kind, openapi_paths, pod,
                       quantity, settings, workload)

# The oldest Kubernetes that the big clouds still offer, and the newest with published schemas.
VERSIONS = ("1.33", "1.37")
# Definitions of others, without a schema in Kubernetes: their operators publish them.
CUSTOM = {"monitoring.coreos.com/v1", "keda.sh/v1alpha1", "gateway.networking.k8s.io/v1"}
LABELS = {"app.kubernetes.io/name": "relance"}
BYTES_A_PIXEL = 11
RESIDENT_BYTES = 200 * 2**20

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def selected(selector: dict, labels: dict) -> bool:
    return selector.items() <= labels.items()


def pod_labels(overlay: str) -> dict[str, str]:
    return workload(overlay)["spec"]["template"]["metadata"]["labels"]


def ports(overlay: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container(overlay)["ports"]}


@overlays
@pytest.mark.parametrize("version", VERSIONS)
def test_everything_follows_the_published_schemas(overlay: str, version: str):
    checked = 0
    for manifest in objects(overlay):
        if manifest["apiVersion"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)
            checked += 1
    assert checked >= 12


@overlays
def test_a_wrong_field_would_be_found(overlay: str):
    wrong = copy.deepcopy(workload(overlay))
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@overlays
def test_every_object_is_in_the_namespace_and_has_its_own_name(overlay: str):
    names = [(o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])
             for o in objects(overlay)]
    assert len(set(names)) == len(names)
    for _, kind, namespace, name in names:
        if kind in ("Namespace", "StorageClass"):
            assert namespace is None, name
        else:
            assert namespace == ("relance-gateway" if kind == "Gateway" else "relance"), (kind, name)


@overlays
def test_every_variable_is_a_setting(overlay: str):
    own = {entry["name"] for entry in container(overlay)["env"]}
    given = config(overlay)
    assert not own & given.keys(), "set twice"
    assert own | given.keys() <= settings().keys()
    assert given["HOST"] == "0.0.0.0"


@overlays
def test_probes_ask_what_the_program_answers(overlay: str):
    probes = {name: probe for name, probe in container(overlay).items() if name.endswith("Probe")}
    assert probes.keys() == {"startupProbe", "readinessProbe", "livenessProbe"}
    for name, probe in probes.items():
        assert probe["httpGet"]["path"] in openapi_paths(), name
        assert probe["httpGet"]["port"] in ports(overlay), name
    assert probes["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert {probes[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe")} == {"/health/ready"}
    # A service that is out of breath must be out of rotation long before it is restarted.
    wait = {name: probe["periodSeconds"] * probe["failureThreshold"] for name, probe in probes.items()}
    assert wait["readinessProbe"] * 3 <= wait["livenessProbe"] and wait["startupProbe"] >= 120


@overlays
def test_the_grace_period_covers_draining_finishing_and_flushing(overlay: str):
    steps = ("DRAIN_DELAY_MS", "SHUTDOWN_TIMEOUT_MS", "FLUSH_TIMEOUT_MS")
    needed = sum(in_force(overlay, step) for step in steps) / 1000
    hook = container(overlay).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert needed + hook + 10 <= pod(overlay)["terminationGracePeriodSeconds"] <= needed + hook + 30
    # Endpoints are removed while connections still come; and what is in flight may take as long as a request may.
    assert in_force(overlay, "DRAIN_DELAY_MS") + hook * 1000 >= 5_000
    assert in_force(overlay, "SHUTDOWN_TIMEOUT_MS") > in_force(overlay, "REQUEST_TIMEOUT_MS")


@overlays
def test_resources_fit_the_workers(overlay: str):
    requests, limits = (container(overlay)["resources"][kind] for kind in ("requests", "limits"))
    cpus = quantity(limits["cpu"])
    assert settings()["WORKERS"] == "the CPU quota" and "WORKERS" not in config(overlay)
    assert cpus == int(cpus) >= 1, "a part of a CPU has no worker"
    assert requests["cpu"] == limits["cpu"] and requests["memory"] == limits["memory"]
    # Measured: a PNG with 16 bits a channel takes 11 bytes a pixel while it is decoded.
    worst = RESIDENT_BYTES + cpus * BYTES_A_PIXEL * in_force(overlay, "MAX_PIXELS") \
        + in_force(overlay, "MAX_INFLIGHT_BYTES") + in_force(overlay, "CACHE_BYTES")
    assert worst <= quantity(limits["memory"])


@overlays
def test_what_waits_fits_on_the_volume_and_outlives_the_pod(overlay: str):
    spec = workload(overlay)["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    (mount,) = [m for m in container(overlay)["volumeMounts"] if m["name"] == claim["metadata"]["name"]]
    assert mount["mountPath"] == config(overlay)["DATA_DIR"] and not mount.get("readOnly")
    assert quantity(claim["spec"]["resources"]["requests"]["storage"]) >= 1.15 * in_force(overlay, "SPOOL_MAX_BYTES")
    assert set(spec["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
    wanted = claim["spec"].get("storageClassName")
    classes = of_kind(overlay, "StorageClass")
    assert wanted is None or classes[wanted]["reclaimPolicy"] == "Retain"


@overlays
def test_the_pod_may_do_nothing_that_it_does_not_need(overlay: str):
    spec, only = pod(overlay), container(overlay)
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] >= 10_000
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    account = of_kind(overlay, "ServiceAccount")[spec["serviceAccountName"]]
    assert spec["automountServiceAccountToken"] is account["automountServiceAccountToken"] is False
    namespace = of_kind(overlay, "Namespace")["relance"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@overlays
def test_images_are_pinned_to_this_version(overlay: str):
    version = tomllib.loads((REPO / "Cargo.toml").read_text())["package"]["version"]
    assert container(overlay)["image"].endswith(f"/relance:{version}")


@overlays
def test_volumes_and_mounts_match(overlay: str):
    claims = {claim["metadata"]["name"] for claim in workload(overlay)["spec"]["volumeClaimTemplates"]}
    volumes = {volume["name"]: volume for volume in pod(overlay)["volumes"]}
    mounts = [mount["name"] for mount in container(overlay)["volumeMounts"]]
    assert sorted(mounts) == sorted(claims | volumes.keys())
    files = [value for name, value in config(overlay).items() if name.endswith("_FILE")]
    folders = {mount["mountPath"]: mount for mount in container(overlay)["volumeMounts"]}
    for file in files:
        mount = folders[file.rpartition("/")[0]]
        # A single file would not follow its secret.
        assert "secret" in volumes[mount["name"]] and "subPath" not in mount and mount["readOnly"]


@overlays
def test_selectors_find_the_pods_and_nothing_else_does(overlay: str):
    labels = pod_labels(overlay)
    spec = workload(overlay)["spec"]
    assert selected(spec["selector"]["matchLabels"], labels)
    for spread in spec["template"]["spec"]["topologySpreadConstraints"]:
        assert selected(spread["labelSelector"]["matchLabels"], labels)
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        for manifest in of_kind(overlay, kind).values():
            assert selected(manifest["spec"]["selector"]["matchLabels"], labels), kind
    services = of_kind(overlay, "Service")
    assert services[spec["serviceName"]]["spec"]["clusterIP"] == "None"
    for name, service in services.items():
        assert selected(service["spec"]["selector"], labels), name
    for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
        for manifest in of_kind(overlay, kind).values():
            target = manifest["spec"]["scaleTargetRef"]
            assert (target["apiVersion"], target["kind"], target["name"]) == ("apps/v1", "StatefulSet", "relance")


@overlays
def test_ports_have_the_same_names_everywhere(overlay: str):
    known = ports(overlay)
    assert known["http"] == in_force(overlay, "PORT")
    assert known["metrics"] == int(config(overlay)["METRICS_PORT"])
    assert config(overlay).get("GRPC_PORT") == (str(known["grpc"]) if "grpc" in known else None)
    services = of_kind(overlay, "Service")
    for name, service in services.items():
        assert {port["targetPort"] for port in service["spec"]["ports"]} == known.keys() - {"metrics"}, name
        for port in service["spec"]["ports"]:
            assert port["appProtocol"] == {"http": "http", "grpc": "kubernetes.io/h2c"}[port["name"]], name
    for monitor in of_kind(overlay, "PodMonitor").values():
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            assert endpoint["port"] in known and endpoint["path"] in openapi_paths()
    for kind in ("HTTPRoute", "GRPCRoute"):
        for route in of_kind(overlay, kind).values():
            for backend in (backend for rule in route["spec"]["rules"] for backend in rule["backendRefs"]):
                assert backend["port"] in [port["port"] for port in services[backend["name"]]["spec"]["ports"]]


@overlays
def test_the_network_is_closed_but_for_what_is_needed(overlay: str):
    policies = of_kind(overlay, "NetworkPolicy")
    deny = policies.pop("default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert "allow-dns" in policies
    for name, policy in policies.items():
        spec = policy["spec"]
        assert selected(spec["podSelector"]["matchLabels"], pod_labels(overlay)), name
        assert spec.keys() - {"podSelector", "policyTypes"} == {kind.lower() for kind in spec["policyTypes"]}, name
        for rule in spec.get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= ports(overlay).keys(), name
        for rule in spec.get("egress", []):
            assert rule["to"] and rule["ports"], name


def test_only_azure_and_names_are_reached_from_aks():
    policies = of_kind("aks", "NetworkPolicy").values()
    outward = [rule for policy in policies for rule in policy["spec"].get("egress", [])]
    assert {port["port"] for rule in outward for port in rule["ports"]} == {53, 443, redis_port()}
    blocks = [to["ipBlock"] for rule in outward for to in rule["to"] if "ipBlock" in to]
    assert blocks and all("169.254.169.254/32" in block["except"] for block in blocks)


def redis_port() -> int:
    return int(re.search(r":(\d+)$", config("aks")["REDIS_URL"])[1])


def test_the_gateway_may_come_in():
    gateway = of_kind("aks", "Gateway")["relance"]
    routes = [of_kind("aks", kind)["relance"]["spec"] for kind in ("HTTPRoute", "GRPCRoute")]
    for route in routes:
        (parent,) = route["parentRefs"]
        (listener,) = [one for one in gateway["spec"]["listeners"] if one["name"] == parent["sectionName"]]
        assert (parent["name"], parent["namespace"]) == ("relance", gateway["metadata"]["namespace"])
        assert route["hostnames"] == [listener["hostname"]]
    # Both kinds of route on one name would contradict each other.
    assert routes[0]["hostnames"] != routes[1]["hostnames"]
    (source,) = of_kind("aks", "NetworkPolicy")["allow-gateway"]["spec"]["ingress"][0]["from"]
    assert source["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == parent["namespace"]
    assert source["podSelector"]["matchLabels"]["gateway.networking.k8s.io/gateway-name"] == parent["name"]
    timeout = float(routes[0]["rules"][0]["timeouts"]["request"].removesuffix("s"))
    assert timeout * 1000 > in_force("aks", "REQUEST_TIMEOUT_MS")
    assert config("aks")["TRUSTED_PROXIES"] == "1"


def test_the_workload_identity_is_complete():
    account = of_kind("aks", "ServiceAccount")["relance"]
    assert account["metadata"]["annotations"].keys() == {"azure.workload.identity/client-id"}
    assert pod_labels("aks")["azure.workload.identity/use"] == "true"
    assert config("aks")["AZURE_CREDENTIAL"] == "workload-identity"
    # The webhook sets the identity; a second one would contradict it.
    assert "AZURE_CLIENT_ID" not in config("aks")
    assert not any(name.endswith(("_KEY", "_KEYS", "_PASSWORD")) for name in config("aks"))


def autoscaling(overlay: str) -> tuple[dict, dict, list]:
    """Bounds, behaviour and CPU percentages, whichever autoscaler there is."""
    (manifest,) = [o for o in objects(overlay) if o["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
    spec = manifest["spec"]
    if manifest["kind"] == "ScaledObject":
        cpu = [int(t["metadata"]["value"]) for t in spec["triggers"] if t["type"] == "cpu"]
        bounds = {"least": spec["minReplicaCount"], "most": spec["maxReplicaCount"]}
        return bounds, spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"], cpu
    cpu = [m["resource"]["target"]["averageUtilization"] for m in spec["metrics"] if m["resource"]["name"] == "cpu"]
    return {"least": spec["minReplicas"], "most": spec["maxReplicas"]}, spec["behavior"], cpu


@overlays
def test_scaling(overlay: str):
    bounds, behavior, cpu = autoscaling(overlay)
    assert cpu == [70]
    assert 3 <= bounds["least"] < bounds["most"]
    # The next deployment would set a number back.
    assert "replicas" not in workload(overlay)["spec"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    down = behavior["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 300
    (policy,) = down["policies"]
    assert policy["type"] == "Pods" and policy["periodSeconds"] > pod(overlay)["terminationGracePeriodSeconds"]
    (budget,) = of_kind(overlay, "PodDisruptionBudget").values()
    assert budget["spec"]["maxUnavailable"] < bounds["least"]


def test_both_autoscalers_behave_alike():
    assert autoscaling("aks") == autoscaling("kind")


def test_the_kind_cluster_opens_the_node_port_on_loopback_only():
    cluster = yaml.safe_load((KUBERNETES / "overlays/kind/cluster.yaml").read_text())
    roles = [node["role"] for node in cluster["nodes"]]
    assert sorted(roles) == ["control-plane"] + 3 * ["worker"]
    (mapping,) = cluster["nodes"][0]["extraPortMappings"]
    (port,) = of_kind("kind", "Service")["relance-node-port"]["spec"]["ports"][:1]
    assert mapping == {"containerPort": port["nodePort"], "hostPort": 5000, "listenAddress": "127.0.0.1"}
    assert config("kind")["ALLOW_ANONYMOUS"] == "true" and "ALLOW_ANONYMOUS" not in config("aks")
    script = (KUBERNETES / "overlays/kind/up").read_text()
    assert container("kind")["image"] in script and cluster["name"] == "relance"


def test_every_file_is_used():
    """A file that no kustomization names is not applied, and nobody would notice."""
    used, reached = set(), [KUBERNETES / "overlays" / overlay for overlay in OVERLAYS]
    for folder in reached:
        own = yaml.safe_load((folder / "kustomization.yaml").read_text())
        names = [*own.get("resources", []), *own.get("components", [])]
        names += [patch["path"] for patch in own.get("patches", []) if "path" in patch]
        names += [name for generator in own.get("configMapGenerator", []) for name in generator.get("envs", [])]
        paths = {(folder / name).resolve() for name in names}
        reached += [path for path in paths if path.is_dir() and path not in reached]
        used |= {path for path in paths if path.is_file()} | {folder / "kustomization.yaml"}
    there = {path for path in KUBERNETES.rglob("*") if path.suffix in (".yaml", ".env")}
    assert used <= there
    assert there - used == {KUBERNETES / "checkov.yaml", KUBERNETES / "overlays/kind/cluster.yaml"}
