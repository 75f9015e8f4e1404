"""Fuzzes the parsers with atheris, which looks for inputs that reach new code.

Each parser runs in its own process, because atheris ends its process at once. The
command is `python -m tests.attacks.fuzzing.coverage_guided NUMBER`, with the number of
inputs over all parsers. Names of parsers after it choose some of them.
"""

import subprocess
import sys
import time
from pathlib import Path

MAX_INPUT_BYTES = 400
MAX_SECONDS = 300
MODULE = "tests.attacks.fuzzing.coverage_guided"


def fuzz_one(name: str, count: int, redis_url: str, folder: Path) -> None:
    """Run one parser. The process ends afterwards, with status 0 after success."""
    import atheris

    with atheris.instrument_imports(include=["service"]):
        from tests.attacks.fuzzing.corpus import parsers_with
    parser = parsers_with(redis_url, folder)[name]
    corpus = folder / f"corpus-{name}"
    corpus.mkdir()
    for number, example in enumerate(parser.examples):
        (corpus / str(number)).write_bytes(example)
    words = folder / "words"
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in parser.words)
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    options = [
        f"-runs={count}",
        f"-max_total_time={MAX_SECONDS}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-dict={words}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], parser.check)
    atheris.Fuzz()


def main(count: int, names: list[str]) -> int:
    """Run the parsers, print a line for each, and return the number of failures."""
    from tests.attacks.fuzzing.corpus import parsers_with, resources

    failures = total = 0
    with resources() as (redis_url, folder):
        names = names or list(parsers_with(redis_url, folder))
        for name in names:
            started = time.monotonic()
            arguments = ["--one", name, str(count // len(names)), redis_url, str(folder)]
            command = [sys.executable, "-m", MODULE, *arguments]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
            total += int(runs[0]) if runs else 0
            failures += done.returncode != 0
            print(f"{name}: {runs[0] if runs else 'no'} inputs, {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
            if done.returncode != 0:
                print(done.stdout[-2000:], done.stderr[-800:], flush=True)  # noqa: T201
    print(f"atheris: {total} inputs, {len(names)} parsers, {failures} failures")  # noqa: T201
    return failures


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        fuzz_one(sys.argv[2], int(sys.argv[3]), sys.argv[4], Path(sys.argv[5]))
    else:
        sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
