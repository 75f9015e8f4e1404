"""LICENSES.md names the licenses that are not MIT, BSD or Apache-2.0."""

import re
from importlib import metadata

from tests.documents.blocks import ROOT

_LOCKED = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==", re.MULTILINE)
_OTHER = re.compile(r"MPL|Mozilla|PSF|Python Software|GPL|GNU")


def licenses_of(package: str) -> str:
    found = metadata.metadata(package)
    classifiers = [one for one in found.get_all("Classifier", []) if one.startswith("License")]
    return " ".join([*found.get_all("License-Expression", []), *classifiers])


def test_other_licenses_of_dependencies_are_named() -> None:
    """A dependency of the service with another license is in the list."""
    named = set(re.findall(r"\*\*([\w.-]+)\*\*", (ROOT / "LICENSES.md").read_text("utf-8")))
    installed = {distribution.name.lower().replace("_", "-") for distribution in metadata.distributions()}
    packages = installed.intersection(_LOCKED.findall((ROOT / "requirements/otel.txt").read_text("utf-8")))
    others = {package for package in packages if _OTHER.search(licenses_of(package))}
    assert {"aiohappyeyeballs", "orjson"} <= others <= named
