"""Before Airflow's services start: its database, the training pool, and the password of its user `admin`."""

import json
import os
from pathlib import Path

from pipeline.runtime.airflow import prepare

prepare()
passwords = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
passwords.touch(mode=0o600)
passwords.write_text(json.dumps({"admin": os.environ["AIRFLOW_ADMIN_PASSWORD"]}), "utf-8")
