"""What deploy.sh talks to, on this machine: commands named az and docker that answer as Azure would, and a web app
with two slots whose containers are real processes of the service, behind HTTPS.

Azure itself is not here, so what its commands do is as this file says. It keeps each call, and can refuse any one.
"""

import http.server
import json
import os
import re
import socketserver
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import jmespath
from bicep_render import Deployment, parameters
from service import PATIENCE, Process, http as loopback

PROVIDERS = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/relance-dev/providers"
SERVER = "relancetest.azurecr.io"
PASSWORD = 'a-"password\\of-the-tests'
NOTHING = "mcr.microsoft.com/appsvc/staticsite:latest"
# The stand-in for a command: hands its arguments and environment over, and prints the answer. As little of Python as
# will do, for it is started some twenty times for each release.
COMMAND = """#!{python} -IS
import json, os, socket, sys
connection = socket.create_connection(("127.0.0.1", {port}))
call = {{"name": os.path.basename(sys.argv[0]), "arguments": sys.argv[1:], "environment": dict(os.environ)}}
connection.sendall(json.dumps(call).encode() + b"\\n")
answer = json.loads(connection.makefile().readline())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""


class Containers:
    """Processes of the service, one for each release, shared by all tests."""

    def __init__(self, folder):
        self.folder, self.running = folder, {}

    def of(self, release, password=PASSWORD):
        key = (release, password)
        if key not in self.running:
            settings = {
                "PORT": "0", "DATA_DIR": str(self.folder / f"{len(self.running)}"), "RELEASE": release,
                "API_USERNAME": "relance", "API_PASSWORD": password,
            }
            self.running[key] = Process(settings)
        return self.running[key]

    def stop(self):
        for service in self.running.values():
            service.stop()


class AppService:
    def __init__(self, folder, containers, certificate):
        self.containers = containers
        self.calls = []
        self.refused = None  # number of the call that fails
        self.images = set()  # what the registry has
        self.crashing = set()  # releases that never become ready
        self.crashing_in_production = set()
        self.unable = set()  # releases that refuse the credentials
        self.errors = (0, 0)  # requests and 5xx that metrics tell
        self.slots = {"production": NOTHING, "staging": NOTHING}
        self.exists = True
        self.settings = {"API_USERNAME": "relance"}
        self.budget_start = ""
        self.deployments = []
        self.folder = folder
        self.servers = []
        self.hosts = {slot: f"localhost:{self._serve(self._front(slot), certificate)}" for slot in self.slots}
        control = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._control())
        self._start(control)
        (folder / "bin").mkdir()
        for name in ("az", "docker"):
            path = folder / "bin" / name
            path.write_text(COMMAND.format(python=sys.executable, port=control.server_address[1]))
            path.chmod(0o755)

    def stop(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def _serve(self, handler, certificate):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return self._start(server)

    def _start(self, server):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.servers.append(server)
        return server.server_address[1]

    # The web app.

    def container(self, slot):
        """The process that answers for a slot, or None."""
        release = self.slots[slot].rpartition(":")[2]
        crashes = self.crashing | (self.crashing_in_production if slot == "production" else set())
        if "/relance:" not in self.slots[slot] or release in crashes:
            return None
        return self.containers.of(release, "another" if release in self.unable else PASSWORD)

    def _front(self, slot):
        app = self

        class Front(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                container = app.container(slot)
                if container is None:
                    return self.answer(503, b"no container is ready")
                headers = {k: v for k, v in self.headers.items() if k not in ("Host", "Expect")}
                request = urllib.request.Request(container.url + self.path, body or None, headers, method=self.command)
                try:
                    with loopback.open(request, timeout=PATIENCE) as answer:
                        self.answer(answer.status, answer.read())
                except urllib.error.HTTPError as error:
                    self.answer(error.code, error.read())

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = forward

        return Front

    # The commands.

    def _control(self):
        app = self

        class Control(socketserver.StreamRequestHandler):
            def handle(self):
                answer = app.command(json.loads(self.rfile.readline()))
                self.wfile.write(json.dumps(answer).encode() + b"\n")

        return Control

    def command(self, call):
        arguments = [a for a in call["arguments"] if a != "--only-show-errors"]
        self.calls.append([call["name"], *arguments])
        if self.refused == len(self.calls):
            return {"out": "", "err": "refused by the test\n", "code": 1}
        words, options = [], {}
        for argument in arguments:
            if argument.startswith("--"):
                options[argument[2:]] = last = []
            elif options:
                last.append(argument)
            else:
                words.append(argument)
        options = {name: " ".join(values) for name, values in options.items()}
        handler = getattr(self, "_".join([call["name"], *[w for w in words if re.fullmatch(r"[a-z0-9-]+", w)]]).replace("-", "_"))
        found = handler(options, call["environment"])
        if found is None:
            return {"out": "", "err": "not found\n", "code": 1}
        if options.get("output") == "none":
            found = ""
        if "query" in options:
            assert options["output"] == "tsv"
            found = as_tsv(jmespath.search(options["query"], found))
        return {"out": found and found + "\n", "err": "", "code": 0}

    def docker_build(self, options, _):
        assert options["platform"] == "linux/amd64"
        assert options["build-arg"] == "RELEASE=" + options["tag"].split()[0].rpartition(":")[2]
        self.built = options["tag"].split()[0]
        return ""

    def docker_push(self, *_):
        self.images.add(self.built)
        return ""

    def az_acr_login(self, *_):
        return "Login Succeeded"

    def az_acr_build(self, options, _):
        assert options["platform"].split()[0] == "linux/amd64"
        assert options["build-arg"] == "RELEASE=" + options["image"].rpartition(":")[2]
        self.images.add(f"{SERVER}/{options['image']}")
        return ""

    def az_acr_show(self, *_):
        return {"loginServer": SERVER}

    def az_acr_repository_show(self, options, _):
        return "" if f"{SERVER}/{options['image']}" in self.images else None

    def az_account_show(self, *_):
        return {"name": "A subscription", "user": {"name": "ana@example.org", "type": "user"}}

    def az_ad_signed_in_user_show(self, *_):
        return {"id": "00000000-0000-0000-0000-00000000000a"}

    def az_group_exists(self, *_):
        return "true" if self.exists else "false"

    def az_group_create(self, *_):
        self.exists = True
        return ""

    def az_resource_list(self, *_):
        if not self.exists:
            return None
        ours = {"application": "relance", "environment": "dev"}
        return [
            {"type": "Microsoft.Web/sites", "name": "another", "tags": None},
            {"type": "Microsoft.KeyVault/vaults", "name": "another", "tags": {"application": "another"}},
            {"type": "Microsoft.Web/sites", "name": "relance-test", "tags": ours},
            {"type": "microsoft.web/serverfarms", "name": "relance-test-plan", "tags": ours},
            {"type": "Microsoft.Web/sites/slots", "name": "relance-test/staging", "tags": ours},
            {"type": "Microsoft.ContainerRegistry/registries", "name": "relancetest", "tags": ours},
            {"type": "microsoft.keyvault/vaults", "name": "vault", "tags": ours},
        ]

    def az_rest(self, options, _):
        assert "/subscriptions/{subscriptionId}/resourceGroups/relance-" in options["url"]
        return {"properties": {"timePeriod": {"startDate": self.budget_start}}} if self.budget_start else None

    def az_webapp_show(self, options, _):
        return {
            "id": f"{PROVIDERS}/Microsoft.Web/sites/{options['name']}",
            "appServicePlanId": f"{PROVIDERS}/Microsoft.Web/serverfarms/relance-test-plan",
            "defaultHostName": self.hosts[options.get("slot", "production")],
        }

    def az_appservice_plan_show(self, options, _):
        assert options["ids"].endswith("/serverfarms/relance-test-plan")
        return {"sku": {"name": "P1v3", "capacity": 5}}

    def az_webapp_config_show(self, options, _):
        return {"linuxFxVersion": "DOCKER|" + self.slots[options.get("slot", "production")], "alwaysOn": True}

    def az_webapp_config_set(self, options, _):
        assert options["slot"] == "staging", "production is changed by swaps only"
        self.slots["staging"] = options["linux-fx-version"].removeprefix("DOCKER|")
        self.container("staging")
        return ""

    def az_webapp_config_appsettings_list(self, *_):
        return [{"name": n, "slotSetting": False, "value": v} for n, v in self.settings.items()]

    def az_webapp_deployment_slot_swap(self, *_):
        # As with WEBSITE_SWAP_WARMUP_PING_STATUSES=200.
        if self.container("staging") is None:
            return None
        self.slots["production"], self.slots["staging"] = self.slots["staging"], self.slots["production"]
        return ""

    def az_keyvault_secret_show(self, options, _):
        assert options["name"] == "api-password"
        return {"name": "api-password", "value": PASSWORD}

    def az_monitor_metrics_list(self, options, _):
        assert options["resource"].endswith("/sites/relance-test")
        # A value for each minute; those to come are null.
        series = [[{"total": n - 1.0}, {"total": 1.0}, {"total": None}] if n else [{"total": None}] for n in self.errors]
        names = options["metrics"].split()
        return {"value": [{"name": {"value": n}, "timeseries": [{"data": d}]} for n, d in zip(names, series, strict=True)]}

    def az_deployment_group_create(self, options, environment):
        template, values = parameters(self.folder / "repo" / options["parameters"], environment)
        self.deployments.append(values)
        self.rendered = Deployment(template, values)
        return ""

    def az_deployment_group_what_if(self, options, environment):
        parameters(self.folder / "repo" / options["parameters"], environment)
        return "Resource changes: 1 to modify."


def as_tsv(value):
    """As `az --output tsv` prints it."""
    rows = value if isinstance(value, list) else [value]
    return "\n".join("\t".join(map(str, r)) if isinstance(r, list) else "" if r is None else str(r) for r in rows)


def certificate(folder):
    """A key and a certificate for localhost, in one file that is also its own authority."""
    path = Path(folder) / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def start(app, repo, *arguments, **environment):
    """Starts deploy.sh in a copy of the repository, against the stand-ins."""
    settings = {
        "PATH": f"{app.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(app.folder),
        "CURL_CA_BUNDLE": f"{app.certificate}.crt", "no_proxy": "localhost",
        "READY_SECONDS": "4", "WATCH_SECONDS": "1", "POLL_SECONDS": "0.1", **environment,
    }
    return subprocess.Popen([repo / "deploy.sh", *arguments], env=settings, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
