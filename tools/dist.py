"""Builds the files of a release from a commit: `make dist`.

The files are the wheels and source distributions of the service and of the Python
client, the npm package of the JavaScript client, the locks with and without traces, a
bill of materials, and SHA256SUMS. Files that are not in the commit are not used. All
times in the files are that of the commit, so two builds are equal.
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
    """Build the release of a commit into a new folder."""
    parser = argparse.ArgumentParser(prog="python -m tools.dist", description="Builds the files of a release.")
    parser.add_argument("--commit", default="HEAD", help="the commit or tag to build (default: HEAD)")
    parser.add_argument(
        "--folder", default=ROOT / "dist", type=Path, help="a new folder for the files (default: dist)"
    )
    options = parser.parse_args()
    missing = [name for name in ("git", "npm") if not shutil.which(name)]
    if missing:
        sys.exit(f"{' and '.join(missing)} not found. Install git, and Node.js with npm. A release needs both.")
    if options.folder.exists():
        sys.exit(f"{options.folder} exists. Remove it, or name another folder with --folder.")
    try:
        commit = release(options.commit, options.folder)
    except (sbom.LockError, subprocess.CalledProcessError) as error:
        sys.exit(f"{error}.")
    print(f"Built {options.folder} from commit {commit}")


def release(name: str, folder: Path) -> str:
    """Build all files of a commit, and return its full id."""
    commit = _git("rev-parse", "--verify", f"{name}^{{commit}}").decode().strip()
    os.umask(0o022)  # npm packs the modes of the files
    with TemporaryDirectory() as scratch:
        source, built = Path(scratch, "source"), Path(scratch, "built")
        zipfile.ZipFile(io.BytesIO(_git("archive", "--format=zip", commit))).extractall(source)
        build(source, built, int(_git("log", "-1", "--format=%ct", commit)))
        shutil.copytree(built, folder)
    return commit


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
    npm = ["npm", "pack", "--loglevel=error", "--ignore-scripts", "--pack-destination", str(folder)]
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
