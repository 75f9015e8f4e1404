"""Compiles the Kotlin client, the program for its cases and the code in its README."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients/kotlin"
FOLDER = Path(__file__).parent / "kotlin"
LIBRARIES = FOLDER / "node_modules/kotlin-compiler/lib"
COMPILER = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
TIMEOUT_SECONDS = 180


def java() -> str:
    """Return the path of Java, which runs the compiler and the program."""
    found = shutil.which("java")
    if found is None or shutil.which("npm") is None:
        pytest.skip("java or npm is not installed, and the Kotlin compiler comes from npm")
    assert LIBRARIES.exists(), "run `make kotlin-test`, which installs the Kotlin compiler"
    return found


def compiled(folder: Path) -> list[str]:
    """Compile everything with warnings as errors. Return the command of the program."""
    classes = folder / "classes"
    files = [CLIENT / "JayTracking.kt", *FOLDER.glob("*.kt")]
    for number, block in enumerate(examples()):
        file = folder / f"Example{number}.kt"
        file.write_text(f"package jay.example{number}\n\n{block}", "utf-8")
        files.append(file)
    path = f"{LIBRARIES}/kotlin-stdlib.jar:{LIBRARIES}/kotlinx-coroutines-core-jvm.jar"
    options = ["-no-stdlib", "-no-reflect", "-Werror", "-Wextra", "-jvm-target", "1.8", "-classpath", path]
    command = [java(), "-cp", str(LIBRARIES / "kotlin-compiler.jar"), COMPILER, *options, "-d", str(classes)]
    done = subprocess.run(
        [*command, *map(str, files)], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [java(), "-cp", f"{classes}:{path}", "jay.tracking.ProgramKt"]


def examples() -> list[str]:
    """Return the code blocks of the README."""
    content = (CLIENT / "README.md").read_text("utf-8")
    return re.findall(r"^```kotlin\n(.*?)^```$", content, re.MULTILINE | re.DOTALL)
