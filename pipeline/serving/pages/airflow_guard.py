"""What every request to Airflow passes first, and what every answer of it bears."""

from pipeline.serving.pages.application import Application
from pipeline.serving.pages.protection import called_by_name, with_headers

HOSTS = "RECUR_AIRFLOW_HOSTS"
"""The variable with further names by which Airflow is called, as that of the proxy before it; by commas."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
    "referrer-policy": "same-origin",
}


def guarded(app: Application) -> Application:
    """`app` behind both guards. Airflow's pages load scripts of their own, so the policy speaks of frames alone."""
    return with_headers(called_by_name(app, HOSTS), HEADERS)
