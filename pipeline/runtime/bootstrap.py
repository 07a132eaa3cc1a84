"""Set up `.venv`: find a usable Python, install `requirements.lock` by its hashes, and this project in place.

It is run by whatever `python3` there is, before anything is installed: only the standard library, and a syntax that an
old Python understands, so that it can say in one line what is missing.
"""

from __future__ import print_function

import sys

sys.path.pop(0)  # this folder: its modules must not stand in for the standard library's

import ctypes
import ctypes.util
import hashlib
import os
import subprocess
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(PROJECT, ".venv")
LOCK = os.path.join(PROJECT, "requirements.lock")
STAMP = os.path.join(VENV, "recur-setup")
LOG = os.path.join(VENV, "recur-setup.log")
OLDEST, NEWEST = (3, 11), (3, 13)
PROBE = "import ctypes, ensurepip, ssl, venv, sys; print('%d.%d' % sys.version_info[:2])"


class SetupError(Exception):
    """What is missing, and the mend, in one line."""


def main():
    """Set up what is missing; give the exit status."""
    try:
        if _stamp() == _wanted():
            return 0
        began = time.time()
        python = find_python()
        require_libgomp()
        _make_environment(python)
        _install()
        with open(STAMP, "w") as stamp:
            stamp.write(_wanted())
        _say("set up in %d s" % (time.time() - began))
    except SetupError as error:
        print("setup: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def find_python(own=None):
    """The path of a Python that can make the environment: this one, else the newest fitting one on PATH."""
    own = own or sys.executable
    names = [own] + ["python3.%d" % minor for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    without_venv = None
    for name in names:
        version = _answer([name, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        if version is None or not OLDEST <= tuple(int(part) for part in version.split(".")) <= NEWEST:
            continue
        if _answer([name, "-c", PROBE]) == version:
            return name
        without_venv = without_venv or version
    if without_venv:
        raise SetupError(
            "Python %s has no venv module: install it (on Debian and Ubuntu: apt install python%s-venv)"
            % (without_venv, without_venv)
        )
    raise SetupError(
        "Python %s cannot be used: recur needs Python 3.11, 3.12 or 3.13; install one, or name it: make PYTHON=..."
        % (_answer([own, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]) or own)
    )


def require_libgomp():
    """LightGBM needs the system's OpenMP library, which no package brings."""
    if sys.platform == "darwin":
        folders = ("/opt/homebrew/opt/libomp/lib", "/usr/local/opt/libomp/lib", "/opt/local/lib/libomp")
        if not any(os.path.exists(os.path.join(folder, "libomp.dylib")) for folder in folders):
            raise SetupError("libomp is missing, which LightGBM needs: install it (brew install libomp)")
        return
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        raise SetupError(
            "libgomp is missing, which LightGBM needs: install it "
            "(Debian and Ubuntu: apt install libgomp1; Fedora: dnf install libgomp)"
        )


def _make_environment(python):
    version = _answer([_python(), "-c", PROBE.replace("ensurepip, ", "")])
    if version and OLDEST <= tuple(int(part) for part in version.split(".")) <= NEWEST:
        return
    _say("making the environment .venv with %s" % python)
    _run([python, "-m", "venv", "--clear", VENV], "the environment .venv cannot be made")


def _install():
    with open(LOCK) as lock:
        total = sum(1 for line in lock if line[:1].isalnum())
    pip = [_python(), "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--progress-bar", "off"]
    _say("installing %d packages, some minutes where they are not cached" % total)
    _run(pip + ["--no-compile", "--require-hashes", "-r", LOCK], "the packages cannot be installed", total)
    _say("compiling them")
    packages = _answer([_python(), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    # Not by pip, which compiles on one core. What some packages carry for other Pythons does not compile: no matter.
    subprocess.call([_python(), "-m", "compileall", "-q", "-q", "-j", "0", packages], env=_environment())
    in_place = pip + ["--no-build-isolation", "--no-index", "-e", PROJECT]
    _run(in_place, "the project cannot be installed in place")


def _run(command, failure, total=0):
    """Run quietly, with a line as the work goes on; the output goes to the log, its last line into the error."""
    if not os.path.isdir(VENV):
        os.makedirs(VENV)
    count, step, last = 0, max(1, total // 5), ""
    with open(LOG, "a") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            env=_environment(),
            cwd=PROJECT,
        )
        for line in process.stdout:
            log.write(line)
            last = line.strip() or last
            if line.startswith(("Collecting ", "Processing ")):
                count += 1
                if total and count % step == 0:
                    _say("  %d of %d packages fetched" % (count, total))
            elif line.startswith("Installing collected packages") and total:
                _say("  all fetched; unpacking")
        if process.wait() != 0:
            raise SetupError("%s: %s (all of it: %s)" % (failure, last, LOG))


def _environment():
    """This environment, less what would turn pip or Python from `.venv`, or keep compiled files from being stored."""
    removed = ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_USER", "PIP_PREFIX")
    return {name: value for name, value in os.environ.items() if name not in removed}


def _answer(command):
    """What a command prints, or None where it fails or is not there."""
    try:
        with open(os.devnull, "w") as nowhere:
            output = subprocess.check_output(command, stderr=nowhere, universal_newlines=True, env=_environment())
    except (OSError, subprocess.CalledProcessError):
        return None
    return output.strip()


def _python():
    return os.path.join(VENV, "bin", "python")


def _wanted():
    """What a finished set-up is made of: the lock, the project's metadata, and where the project lies."""
    digest = hashlib.sha256(PROJECT.encode("utf-8"))
    for path in (LOCK, os.path.join(PROJECT, "pyproject.toml")):
        with open(path, "rb") as content:
            digest.update(content.read())
    return digest.hexdigest()


def _stamp():
    if not os.path.exists(_python()):
        return None
    try:
        with open(STAMP) as stamp:
            return stamp.read()
    except (IOError, OSError):
        return None


def _say(line):
    print("setup: %s" % line)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
