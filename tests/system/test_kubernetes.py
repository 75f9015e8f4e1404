"""deploy/kubernetes: objects that fit each other, the service and Kubernetes."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from service import __version__
from service.api_keys import Scope, hash_key
from service.config.loading import load
from service.config.settings import Settings
from service.errors import ConfigError
from service.server.application import _EXIT_SECONDS
from tests.support.kubernetes import (
    FOLDER,
    KUSTOMIZE,
    OVERLAYS,
    SECRETS,
    VERSIONS,
    Object,
    base,
    kustomizations,
    named_files,
    read,
    render,
    the,
    validate,
)
from tests.support.processes import TOKEN, Launch
from tests.support.servers import RedisServer

KEY, METRICS_KEY = "a-key-of-a-page", "a-key-of-prometheus"
ENTRIES = [
    {"name": "web", "sha256": hash_key(KEY), "scopes": ["track"]},
    {"name": "prometheus", "sha256": hash_key(METRICS_KEY), "scopes": ["analytics"]},
]
needs_kustomize = pytest.mark.skipif(KUSTOMIZE is None, reason="neither kustomize 5 nor such a kubectl is installed")
FILES = sorted(file for file in FOLDER.rglob("*.yaml") if file.name != "config.yaml")
PATCHES = [file for file in FILES if file.name.endswith("-patch.yaml")]


def pod() -> Object:
    """Return the specification of the pods."""
    spec: Object = the("Deployment", base())["spec"]["template"]["spec"]
    return spec


def container() -> Object:
    """Return the container of the service."""
    (one,) = pod()["containers"]
    return dict(one)


def mounted(folder: Path) -> dict[str, str]:
    """Return the variables of the container, with its files in a folder."""
    places = {mount["mountPath"]: folder / mount["name"] for mount in container()["volumeMounts"]}
    found = {}
    for variable in container()["env"]:
        path = Path(variable["value"])
        found[variable["name"]] = str(places[str(path.parent)] / path.name)
    return found


@pytest.fixture
def variables(tmp_path: Path, valkey: RedisServer) -> dict[str, str]:
    """Return the variables of a production pod, with secrets as the README says."""
    for name in ("config", "secrets"):
        (tmp_path / name).mkdir()
    shutil.copy(FOLDER / "base" / "config.yaml", tmp_path / "config")
    (tmp_path / "secrets" / "user_secret").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "secrets" / "redis_url").write_text(f"{valkey.url}\n")
    (tmp_path / "secrets" / "api_keys.json").write_text(json.dumps(ENTRIES))
    return mounted(tmp_path)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the folder, in which production has its secrets."""
    copied = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, copied)
    secrets = copied / "overlays" / "production" / "secrets"
    shutil.rmtree(secrets, ignore_errors=True)
    secrets.mkdir()
    for name in SECRETS:
        (secrets / name).write_text(f"value of {name}\n")
    return copied


def objects() -> Iterator[Object]:
    """Yield every complete object in the files."""
    for file in FILES:
        if file not in PATCHES:
            yield from (one for one in read(file) if one["kind"] not in {"Kustomization", "Component"})


def test_every_named_file_exists_and_every_file_is_named() -> None:
    """Kustomizations name existing files, and all files of their folders."""
    assert len(kustomizations()) == 4
    for folder, kustomization in kustomizations().items():
        named = list(named_files(kustomization))
        assert len(named) == len(set(named))
        secrets = {name for name in named if name.startswith("secrets/")}
        assert all((folder / name).exists() for name in set(named) - secrets), folder
        present = {file.name for file in folder.iterdir() if file.is_file()}
        assert present - {"kustomization.yaml", ".gitignore"} == {name for name in named if "/" not in name}
    assert "/secrets/" in (FOLDER / "overlays/production/.gitignore").read_text("utf-8").splitlines()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(version: str) -> None:
    """Every object fulfills the schema of its kind and has no unknown field."""
    checked = list(objects())
    assert len(checked) > 10
    for one in checked:
        validate(one, version)


def test_an_unknown_field_is_invalid() -> None:
    """A misspelled field is found, so the test above can fail."""
    one = the("Deployment", base())
    one["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(one, VERSIONS[0])


def test_patches_change_objects_that_exist() -> None:
    """Each patch names an object of the base."""
    known = {(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in base()}
    assert PATCHES
    for file in PATCHES:
        (one,) = read(file)
        assert (one["apiVersion"], one["kind"], one["metadata"]["name"]) in known, file


def test_selectors_match_the_labels() -> None:
    """Everything that selects the pods has their labels and ports."""
    labels = the("Deployment", base())["spec"]["template"]["metadata"]["labels"]
    deployment, service = the("Deployment", base()), the("Service", base())
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    assert the("PodDisruptionBudget", base())["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert the("NetworkPolicy", base())["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    for spread in pod()["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
    target = the("HorizontalPodAutoscaler", base())["spec"]["scaleTargetRef"]
    assert target == {key: deployment[key] for key in ("apiVersion", "kind")} | {"name": "jay-tracking"}
    (monitor,) = read(FOLDER / "components/service-monitor/service-monitor.yaml")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    alerts = (FOLDER.parent / "monitoring" / "alerts.yml").read_text("utf-8")
    assert {service["metadata"]["labels"][monitor["spec"]["jobLabel"]]} == set(re.findall(r'job="([^"]+)"', alerts))


def test_ports_have_the_same_names_everywhere() -> None:
    """Probes, Service, policy, Ingress and monitor use ports that exist."""
    (port,) = container()["ports"]
    (of_service,) = the("Service", base())["spec"]["ports"]
    assert port["containerPort"] == Settings().server.port
    assert of_service["targetPort"] == port["name"]
    probes = [value for name, value in container().items() if name.endswith("Probe")]
    assert [probe["httpGet"]["port"] for probe in probes] == [port["name"]] * 3
    (rule,) = the("NetworkPolicy", base())["spec"]["ingress"]
    assert [one["port"] for one in rule["ports"]] == [port["name"]]
    (monitor,) = read(FOLDER / "components/service-monitor/service-monitor.yaml")
    assert [one["port"] for one in monitor["spec"]["endpoints"]] == [of_service["name"]]
    (ingress,) = read(FOLDER / "overlays/production/ingress.yaml")
    backends = [path["backend"]["service"] for path in ingress["spec"]["rules"][0]["http"]["paths"]]
    assert backends == [{"name": "jay-tracking", "port": {"name": of_service["name"]}}] * 2


def test_a_production_pod_serves_its_probes(launch: Launch, variables: dict[str, str]) -> None:
    """The service runs with the variables of a pod, and answers all named paths."""
    service = launch(**variables, JAY_SERVER__HOST="127.0.0.1")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert service.request("GET", container()[probe]["httpGet"]["path"]).status == 200
    (monitor,) = read(FOLDER / "components/service-monitor/service-monitor.yaml")
    path: str = monitor["spec"]["endpoints"][0]["path"]
    bearer = {"X_API_Key": None, "Authorization": f"Bearer {METRICS_KEY}"}
    assert service.request("GET", path, **bearer).status == 200
    (ingress,) = read(FOLDER / "overlays/production/ingress.yaml")
    prefixes = [one["path"] for one in ingress["spec"]["rules"][0]["http"]["paths"]]
    session_id = service.request("POST", X_API_Key=KEY).headers[TOKEN]
    for prefix in prefixes:
        assert service.request("GET", f"{prefix}/session", X_API_Key=KEY, token=session_id).status == 200


def test_the_settings_are_those_of_production(variables: dict[str, str]) -> None:
    """The settings load, listen on all addresses, and trust private proxies."""
    settings = load(variables).settings
    assert settings.environment == "production"
    assert settings.server.host == "0.0.0.0"
    assert settings.server.trusted_proxies
    # The autoscaler measures the share of the requested core.
    assert settings.server.workers == int(container()["resources"]["requests"]["cpu"]) == 1


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_production_pod_needs_secrets_of_its_own(variables: dict[str, str], name: str) -> None:
    """Without a secret, or with the published one, the service does not start."""
    development = kustomizations()[FOLDER / "overlays" / "development"]["secretGenerator"][0]
    published = dict(line.split("=", 1) for line in development["literals"])
    published["redis_url"] = "redis://jay:jay-on-a-private-network@redis:6379/0"
    published["api_keys.json"] = (FOLDER / "overlays/development/api_keys.json").read_text("utf-8")
    (file,) = [Path(path) for path in variables.values() if Path(path).name == name]
    file.write_text(published[name])
    with pytest.raises(ConfigError, match="published"):
        load(variables)
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        load(variables)


def test_the_pod_reads_the_generated_config_and_secrets() -> None:
    """Volumes have the names of the generators, and variables those of the files."""
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert volumes.keys() == mounts.keys()
    read_files = {Path(variable["value"]) for variable in container()["env"]}
    assert read_files == {
        *(Path(mounts["secrets"], name) for name in SECRETS),
        Path(mounts["config"], "config.yaml"),
    }
    (config,) = kustomizations()[FOLDER / "base"]["configMapGenerator"]
    assert volumes["config"]["configMap"]["name"] == config["name"]
    for overlay in OVERLAYS:
        (secret,) = kustomizations()[FOLDER / "overlays" / overlay]["secretGenerator"]
        assert secret["name"] == volumes["secrets"]["secret"]["secretName"]
        names = [Path(file).name for file in secret["files"]]
        names += [literal.partition("=")[0] for literal in secret.get("literals", [])]
        assert set(names) == SECRETS


def test_kubernetes_waits_longer_than_the_longest_shutdown(project: Path) -> None:
    """The grace period is longer than the longest shutdown, and the drain is used."""
    server = json.loads((project / "config.schema.json").read_text("utf-8"))["properties"]["server"]["properties"]
    longest = server["drain_seconds"]["maximum"] + server["shutdown_seconds"]["maximum"]
    assert pod()["terminationGracePeriodSeconds"] > longest + _EXIT_SECONDS
    settings = yaml.safe_load((FOLDER / "base" / "config.yaml").read_text("utf-8"))["server"]
    readiness = container()["readinessProbe"]
    assert settings["drain_seconds"] > readiness["periodSeconds"] * readiness["failureThreshold"] + 1


def test_containers_are_restricted(project: Path) -> None:
    """No container runs as root, writes to its image or has a token of the cluster."""
    user = re.findall(r"--uid (\d+)", (project / "Dockerfile").read_text("utf-8"))
    assert [str(pod()["securityContext"]["runAsUser"])] == user
    (valkey,) = [one for one in objects() if one["kind"] == "StatefulSet"]
    for spec in (pod(), valkey["spec"]["template"]["spec"]):
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert [one["securityContext"] for one in spec["containers"]] == [
            {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        ]


@needs_kustomize
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_renders_the_overlays(copy: Path, overlay: str) -> None:
    """kustomize renders an overlay into valid objects whose names fit each other."""
    rendered = render(copy / "overlays" / overlay)
    for one in rendered:
        validate(one, VERSIONS[-1])
    namespace = next(one["metadata"]["name"] for one in rendered if one["kind"] == "Namespace")
    assert {one["metadata"].get("namespace", namespace) for one in rendered} == {namespace}
    spec = the("Deployment", rendered)["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"].endswith(f"jay-tracking:{__version__}")
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    config = the("ConfigMap", rendered, volumes["config"]["configMap"]["name"])
    secret = the("Secret", rendered, volumes["secrets"]["secret"]["secretName"])
    assert secret["data"].keys() == SECRETS
    folder = "base" if overlay == "production" else "overlays/development"
    assert config["data"] == {"config.yaml": (FOLDER / folder / "config.yaml").read_text("utf-8")}
    scaled = {one["kind"] for one in rendered} & {"HorizontalPodAutoscaler", "PodDisruptionBudget"}
    assert len(scaled) == (2 if overlay == "production" else 0)


@needs_kustomize
def test_a_changed_setting_replaces_the_pods(copy: Path) -> None:
    """A change of config.yaml or of a secret changes the template of the pods."""
    overlay = copy / "overlays" / "production"
    before = the("Deployment", render(overlay))["spec"]["template"]
    for file in (copy / "base" / "config.yaml", overlay / "secrets" / "redis_url"):
        file.write_text(f"{file.read_text('utf-8')}\n")
        after = the("Deployment", render(overlay))["spec"]["template"]
        assert after != before
        before = after


@needs_kustomize
def test_production_does_not_render_without_secrets(copy: Path) -> None:
    """Without the files of step 2, kustomize fails."""
    shutil.rmtree(copy / "overlays" / "production" / "secrets")
    with pytest.raises(subprocess.CalledProcessError):
        render(copy / "overlays" / "production")


@needs_kustomize
def test_the_documented_component_renders(copy: Path) -> None:
    """The lines that the README asks to uncomment add the ServiceMonitor."""
    overlay = copy / "overlays" / "production"
    file = overlay / "kustomization.yaml"
    lines = re.sub(r"^# (components:\n)# ", r"\1", file.read_text("utf-8"), flags=re.MULTILINE)
    file.write_text(lines)
    assert the("ServiceMonitor", render(overlay))["metadata"]["namespace"] == "jay-tracking"


def test_the_documented_keys_are_valid(tmp_path: Path) -> None:
    """The list of keys in the README is valid, with the hashes of real keys."""
    readme = (FOLDER / "README.md").read_text("utf-8")
    (block,) = re.findall(r"^ *```json\n(.*?)^ *```", readme, re.DOTALL | re.MULTILINE)
    entries = re.sub("<the hash that the (first|second) command printed>", lambda found: hash_key(found[1]), block)
    (tmp_path / "api_keys.json").write_text(entries)
    web, operator = load({"JAY_API_KEYS_FILE": str(tmp_path / "api_keys.json")}).settings.api_keys
    assert web.create_limit is not None
    assert web.origins == frozenset({"https://www.example.com"})
    assert operator.scopes == {Scope.ANALYTICS, Scope.PRIVACY}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_documented_commands_make_the_secrets(tmp_path: Path) -> None:
    """The commands of the README make the secrets, except the list of keys."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", (FOLDER / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = [one for one in blocks if "openssl" in one]
    *commands, web, operator = [line.strip() for line in block.splitlines()]
    assert web == "jay-tracking keys new web-player"
    assert operator == "jay-tracking keys new operator --scope analytics --scope privacy"
    subprocess.run(["sh", "-euc", "\n".join(commands)], cwd=tmp_path, check=True, env={"PATH": os.environ["PATH"]})
    assert {file.name for file in (tmp_path / "secrets").iterdir()} == SECRETS - {"api_keys.json"}
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
