"""The objects in deploy/kubernetes, as files and as kustomize renders them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("development", "production")
SECRETS = {"user_secret", "redis_url", "api_keys.json"}
# The oldest version that the README names, and the newest with published schemas.
VERSIONS = ("1.29", kubernetes_validate.latest_version())
_WITHOUT_SCHEMA = {"ServiceMonitor", "Kustomization", "Component"}

Object = dict[str, Any]


def _kustomize() -> list[str] | None:
    """Return the command of kustomize 5 or newer."""
    if kustomize := shutil.which("kustomize"):
        return [kustomize, "build"]
    if kubectl := shutil.which("kubectl"):
        shown = subprocess.run([kubectl, "version", "--client"], check=False, capture_output=True, text=True).stdout
        if re.search(r"Kustomize Version: v([5-9]|\d\d)\.", shown):
            return [kubectl, "kustomize"]
    return None


KUSTOMIZE = _kustomize()


def render(folder: Path) -> list[Object]:
    """Return the objects of an overlay."""
    assert KUSTOMIZE
    done = subprocess.run([*KUSTOMIZE, str(folder)], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(done.stdout))


def read(file: Path) -> list[Object]:
    """Return the objects in a file."""
    return [one for one in yaml.safe_load_all(file.read_text("utf-8")) if one]


def the(kind: str, objects: list[Object], name: str = "jay-tracking") -> Object:
    """Return the object of a kind and a name."""
    (found,) = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def base() -> list[Object]:
    """Return the objects of the base."""
    kustomization = kustomizations()[FOLDER / "base"]
    return [one for name in kustomization["resources"] for one in read(FOLDER / "base" / name)]


def kustomizations() -> dict[Path, Object]:
    """Return each kustomization by its folder."""
    return {file.parent: read(file)[0] for file in FOLDER.rglob("kustomization.yaml")}


def named_files(kustomization: Object) -> Iterator[str]:
    """Yield the files and folders that a kustomization names."""
    yield from kustomization.get("resources", [])
    yield from (patch["path"] for patch in kustomization.get("patches", []))
    for generator in ("configMapGenerator", "secretGenerator"):
        for one in kustomization.get(generator, []):
            yield from one.get("files", [])


def validate(one: Object, version: str) -> None:
    """Check an object strictly against the schema of its kind."""
    if one["kind"] not in _WITHOUT_SCHEMA:
        kubernetes_validate.validate(one, version, strict=True)
