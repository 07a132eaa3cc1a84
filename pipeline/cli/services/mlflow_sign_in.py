"""Sign-in to MLflow's server: its admins may do everything, whom they add may read.

By itself MLflow lets everybody who signs in make an experiment and says where its files go: into the folder of the
DAGs too, from which Airflow runs them.
"""

import re
from importlib import import_module
from typing import Any

READING = ("GET", "HEAD", "OPTIONS")
ASKING = re.compile(
    r"/graphql|/(ajax-)?api/\d\.\d/?mlflow/(\w[\w-]*/search(-datasets)?|registered-models/get-latest-versions"
    r"|traces/(batchGetInfos|calculate-filter-correlation|metrics))"
)
"""Where a POST only asks."""
OWN_PASSWORD = re.compile(r"/(ajax-)?api/\d\.\d/mlflow/users/update-password")


def authorize() -> Any:
    """What MLflow calls for every request, named in its sign-in's configuration: who calls, or the answer that refuses
    them.
    """
    auth: Any = import_module("mlflow.server.auth")  # which is there where this is called, and names no types
    caller = auth.authenticate_request_basic_auth()
    if isinstance(caller, auth.Response) or _only_reads(auth.request.method, auth.request.path):
        return caller
    return caller if auth.store.get_user(caller.username).is_admin else auth.make_forbidden_response()


def _only_reads(method: str, path: str) -> bool:
    if method in READING:
        return True
    return bool((method == "POST" and ASKING.fullmatch(path)) or (method == "PATCH" and OWN_PASSWORD.fullmatch(path)))
