"""Builds the files of a release from a commit: `make dist`.

The files are the wheels and source distributions of the service and of the Python
client, the npm package of the JavaScript client, the locks with and without traces, a
bill of materials, and SHA256SUMS.
Files that are not in the commit are not used. All times in the files are that of the
commit, so two builds are equal.
"""

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tools import sbom

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Build the release of a commit into a folder, whose contents are replaced."""
    parser = argparse.ArgumentParser(prog="python -m tools.dist", description="Builds the files of a release.")
    parser.add_argument("--commit", default="HEAD", help="the commit or tag to build (default: HEAD)")
    parser.add_argument("--folder", default=ROOT / "dist", type=Path, help="where the files go (default: dist)")
    options = parser.parse_args()
    missing = [name for name in ("git", "npm") if not shutil.which(name)]
    if missing:
        sys.exit(f"{' and '.join(missing)} not found. Install git, and Node.js with npm. A release needs both.")
    commit = _git("rev-parse", "--verify", f"{options.commit}^{{commit}}").decode().strip()
    os.umask(0o022)  # npm packs the modes of the files
    with TemporaryDirectory() as scratch:
        source, built = Path(scratch, "source"), Path(scratch, "built")
        zipfile.ZipFile(io.BytesIO(_git("archive", "--format=zip", commit))).extractall(source)
        try:
            build(source, built, int(_git("log", "-1", "--format=%ct", commit)))
        except sbom.LockError as error:
            sys.exit(f"{error}.")
        shutil.rmtree(options.folder, ignore_errors=True)
        shutil.copytree(built, options.folder)
    print(f"Built {options.folder} from commit {commit}")


def build(source: Path, folder: Path, epoch: int) -> None:
    """Build all files from the project in `source`, with `epoch` as their time.

    Raises:
        sbom.LockError: the environment has other packages than the lock.

    """
    folder.mkdir()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    # The wheel is built from the source distribution, so that this one is complete.
    uv = [str(Path(sys.executable).with_name("uv")), "build", "--quiet", "--offline", "--python", sys.executable]
    options = ["--no-build-isolation", "--no-create-gitignore", "--out-dir", str(folder)]
    for project in (source, source / "clients/python"):
        subprocess.run([*uv, *options], cwd=project, env=environment, check=True)
    npm = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    subprocess.run(npm, cwd=source / "clients/js", env=environment, stdout=subprocess.DEVNULL, check=True)
    version = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    for lock in ("runtime", "otel"):
        shutil.copyfile(source / f"requirements/{lock}.txt", folder / f"jay_tracking-{version}-{lock}.txt")
    sbom.write(source, folder / f"jay_tracking-{version}.cdx.json", epoch)
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(sums), "utf-8")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    main()
