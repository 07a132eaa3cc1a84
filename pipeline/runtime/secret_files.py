"""Secrets that this project makes for itself: one a purpose, each in a file of its own under `paths.var`, readable by
this user alone. What others give it, as a database's password, comes from the environment and is not kept.
"""

import os
import secrets
from pathlib import Path
from typing import Literal

from pipeline.runtime.paths import StateFolder, atomically

Purpose = Literal[
    "airflow_api",  # signs the sessions of Airflow's page
    "airflow_jwt",  # signs what Airflow's services tell each other
    "airflow_admin",  # the password of Airflow's user admin
    "mlflow_admin",  # the password of MLflow's user admin
    "mlflow_session",  # signs the forms of MLflow's page
    "pages",  # the password of the analysts' pages
    "erasure",  # the key of the digests of erased customers' ids
]
PRIVATE = 0o077
"""The mask under which every process of this project makes its files: nobody else reads or writes them."""
LEAST = 24  # characters; what is shorter is what a kill or a full disk left


def secret(state: StateFolder, purpose: Purpose) -> str:
    """The secret, made where there is none yet, or where its file is empty or cut short."""
    file = _file(state, purpose)
    with state.alone("secrets"):
        content = file.read_text("utf-8").strip() if file.exists() else ""
        if len(content) < LEAST:
            content = secrets.token_urlsafe(36)
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomically(file) as temporary:
                temporary.touch(mode=0o600)
                temporary.write_text(content, "utf-8")
    return content


def make_private(folder: Path) -> None:
    """From now on this process makes files for this user alone; `folder`, where it is there, is closed to others."""
    os.umask(PRIVATE)
    if folder.is_dir() and folder.stat().st_uid == os.getuid() and folder.stat().st_mode & PRIVATE:
        folder.chmod(0o700)


def _file(state: StateFolder, purpose: Purpose) -> Path:
    return state.path / "secrets" / purpose
