"""Commands one after the other in one process of their own, which imports only once what takes seconds: for the main
job, which Airflow takes part in, so that the tests' own process cannot do it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.runtime.airflow import PROJECT


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote to its standard output and error."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class OneProcess:
    process: "subprocess.Popen[str]"
    folder: Path

    def recur(self, *arguments: str) -> Done:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(arguments) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, f"the process ended: {self.process.wait()}"
        return Done(int(line), *(_file(self.folder, number).read_text("utf-8") for number in (1, 2)))


@contextmanager
def one_process(folder: Path) -> Iterator[OneProcess]:
    """`folder` gets what the last command wrote."""
    program = [sys.executable, "-m", "tests.support.servers.one_process", str(folder)]
    with subprocess.Popen(
        program, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        yield OneProcess(process, folder)
        assert process.stdin is not None
        process.stdin.close()


def _file(folder: Path, number: int) -> Path:
    return folder / {1: "stdout.txt", 2: "stderr.txt"}[number]


def _work(folder: Path, answers: IO[str]) -> None:
    """Each command's output, that of libraries in other languages too, to its files; its status to `answers`."""
    from pipeline.cli.app import main

    for line in sys.stdin:
        for number in (1, 2):
            with _file(folder, number).open("w") as file:
                os.dup2(file.fileno(), number)
        try:
            main(json.loads(line))
        except SystemExit as ended:
            sys.stdout.flush()
            sys.stderr.flush()
            print(ended.code, file=answers, flush=True)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), os.fdopen(os.dup(1), "w"))
