"""Apache Spark as the engine of feature work: the extra `spark` and Java 17 on this machine, the cluster's address in
`addresses.spark`. Whatever else a cluster asks for, Spark reads from its own `spark-defaults.conf`.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis.backends.pyspark import Backend
from ibis.formats.pyarrow import PyArrowSchema
from pyspark.sql import SparkSession

from pipeline.config.settings import Settings
from pipeline.runtime.engine import memory_limit, spill_folder
from pipeline.runtime.errors import RecurError

OLDEST_JAVA = 17


class Spark(Backend):
    """Ibis on one Spark session of its own; the process keeps its connection to the cluster, which takes seconds."""

    def to_pyarrow(
        self,
        expr: ir.Expr,
        /,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        limit: int | str | None = None,
        **_: Any,
    ) -> Any:
        """By Arrow all the way, times in UTC. Ibis goes through pandas, where integers beside nulls become floats, and
        gives times without a zone.
        """
        table = expr.as_table()
        self._run_pre_execute_hooks(table)
        found = self._session.sql(self.compile(table, params=params, limit=limit)).toArrow()
        return expr.__pyarrow_result__(found, schema=PyArrowSchema.to_ibis(found.schema))

    def read_parquet(self, path: str | list[str], /, *, table_name: str | None = None, **options: Any) -> ir.Table:
        """The rows of one Parquet file or several, which driver and workers must be able to read alike."""
        name = table_name or ibis.util.gen_name("read_parquet")
        paths = [path] if isinstance(path, str) else path
        self._session.read.parquet(*paths, **options).createTempView(name)
        return self.table(name)

    def disconnect(self) -> None:
        """Lets go of what was cached. Temporary views go with the session."""
        self._session.catalog.clearCache()


def connect(settings: Settings) -> Spark:
    """A new session at `addresses.spark`. Raises RecurError where there is no Java, or no answer at the address."""
    require_java()
    address = settings.spark
    builder = SparkSession.builder.master(address).appName("recur")
    for key, value in (_common() | (_local(settings) if address.startswith("local") else {})).items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise RecurError(
            f"Spark at {address} does not start: {first}: check addresses.spark and that it runs"
        ) from None
    session.sparkContext.setLogLevel("ERROR")
    ibis.pyspark  # noqa: B018  # the attribute registers the backend's options, which its compiler reads
    backend = Spark()
    backend.do_connect(session.newSession())
    return backend


def require_java() -> None:
    """Raises RecurError where there is no Java, or one that Spark 4 does not run on."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    mend = f"install Java {OLDEST_JAVA} (on Debian and Ubuntu: apt install default-jre-headless) or set JAVA_HOME to it"
    if java is None or not Path(java).exists():
        where = f"in JAVA_HOME, {home}" if home else "on PATH"
        raise RecurError(f'engine = "spark" needs Java, and there is none {where}: {mend}')
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < OLDEST_JAVA:
        words = next((line for line in told.splitlines() if "version" in line), "no version")
        raise RecurError(f'engine = "spark" needs Java {OLDEST_JAVA} or later, and {java} says {words}: {mend}')


def _common() -> dict[str, str]:
    return {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.ui.showConsoleProgress": "false",
    }


def _local(settings: Settings) -> dict[str, str]:
    """On this machine alone: its memory and cores, loopback, and a place to spill to under `paths.var`."""
    spill = spill_folder(settings.state)
    return {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": f"{memory_limit() >> 20}m",
        "spark.local.dir": str(spill),
        "spark.sql.shuffle.partitions": str(os.cpu_count() or 1),
        "spark.sql.warehouse.dir": str(spill / "warehouse"),
        "spark.ui.enabled": "false",
    }
