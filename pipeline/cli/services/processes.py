"""Processes that are kept running side by side: started, awaited, each started again alone where it ends, stopped."""

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.runtime.errors import RecurError

READY_SECONDS, STOP_SECONDS = 180, 15
FIRST_PAUSE, LONGEST_PAUSE, SETTLED_SECONDS = 1.0, 60.0, 300.0


@dataclass(frozen=True)
class Service:
    """A process to keep running, and the address at which it answers (None for one that nobody calls)."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    address: str | None = None


@dataclass
class Supervisor:
    """The processes of some services. `say` gets a line where one ends or is started again. One that ends again and
    again is started after longer and longer pauses; the others never notice.
    """

    services: Sequence[Service]
    logs: Path
    folder: Path
    say: Callable[[str], None]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _began: dict[str, float] = field(default_factory=dict)
    _pauses: dict[str, float] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        """Starts all, and returns when each answers. Raises RecurError, which names the log, where one does not."""
        for service in self.services:
            self._start(service)
        for service in self.services:
            self._await(service)

    def look(self) -> None:
        """Notices those that have ended, and starts those whose pause is over. To be called again and again."""
        now = time.monotonic()
        for service in self.services:
            name, process = service.name, self.running[service.name]
            if name in self._due:
                if now >= self._due[name]:
                    del self._due[name]
                    self._start(service)
                    self.say(f"{name} is started again")
            elif process.poll() is not None:
                lasted = now - self._began[name]
                before = self._pauses.get(name)
                pause = FIRST_PAUSE if before is None or lasted > SETTLED_SECONDS else min(2 * before, LONGEST_PAUSE)
                self._pauses[name], self._due[name] = pause, now + pause
                status = f"with status {process.returncode}: see {self.logs / name}.log"
                self.say(f"{name} ended by itself, {status}; the others go on, and it starts again in {pause:.0f} s")

    def stop(self) -> None:
        """Ask every process and its descendants to end, then make them: some put themselves into their own groups."""
        family: list[psutil.Process] = []
        for process in self.running.values():
            with suppress(psutil.NoSuchProcess):
                parent = psutil.Process(process.pid)
                family += [parent, *parent.children(recursive=True)]
        for act, patience in ((psutil.Process.terminate, STOP_SECONDS), (psutil.Process.kill, 5)):
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    act(member)
            _, family = psutil.wait_procs(family, timeout=patience)
        for process in self.running.values():
            process.wait()

    def _start(self, service: Service) -> None:
        """In a session of its own, so that a Ctrl-C reaches it through `stop` alone."""
        with (self.logs / f"{service.name}.log").open("ab") as log:
            self.running[service.name] = subprocess.Popen(
                service.command,
                env=service.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._began[service.name] = time.monotonic()

    def _await(self, service: Service) -> None:
        """Until `service` answers at its address, whatever it answers."""
        deadline = time.monotonic() + READY_SECONDS
        while service.address and time.monotonic() < deadline:
            self._require_all()
            try:
                with urllib.request.urlopen(service.address, timeout=5):
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.3)
        if service.address:
            log = self.logs / service.name
            raise RecurError(f"{service.name} does not answer at {service.address}: see {log}.log")

    def _require_all(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None:
                log = self.logs / name
                raise RecurError(f"{name} ended by itself, with status {process.returncode}: see {log}.log")
