"""Apache Spark as the engine of feature work: the extra `spark` and Java 17 on this machine, the cluster's address in
`addresses.spark`. Executors read the event store, cut and sort it, run the same function as DuckDB's threads do, and
write its shards to an address that they share with this machine. Nothing but counts comes back.

Whatever else a cluster asks for, Spark reads from its own `spark-defaults.conf`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

import features
import pipeline.datasets.shard_files
from features.examples.request import BuildRequest
from features.examples.revisions import ORDER
from features.examples.shard import ShardExamples, build_shard
from pipeline.datasets.cut import COLUMNS, first_customers
from pipeline.datasets.dataset_files import shards_of
from pipeline.datasets.shard_files import ShardWriter, read_shard, shard_folder, write_shard
from pipeline.event_store.objects import whole
from pipeline.event_store.store import TIME, AsOf, event_schema
from pipeline.runtime.engine import literal, memory_limit, spill_folder
from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import StateFolder

OLDEST_JAVA = 17
SENT = "recur.functions"  # a property of the process that has sent them
CONFIGURATION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
}


@dataclass(frozen=True)
class Spark:
    """One session at `address`, which takes seconds to start and is kept by the process."""

    session: SparkSession
    address: str
    state: StateFolder
    events_a_shard: int | None = None

    @property
    def name(self) -> str:
        return f"spark {self.session.version} at {self.address}"

    def write(self, events: AsOf, request: BuildRequest, folder: Path) -> None:
        """Builds the examples of `events` and writes them below `folder`, which driver and executors share."""
        shutil.rmtree(folder / "shards", ignore_errors=True)
        relation = self._relation(events)
        firsts = first_customers(lambda query: self.session.sql(query).toArrow(), relation, self.events_a_shard)
        columns = ", ".join(f"`{name}`" for name in (*COLUMNS, *events.attributes))
        shards = self.session.sql(f"select {_shard_of(firsts)} as shard, event_id, {columns} from {relation}")
        in_order = shards.repartitionByRange(len(firsts) + 1, "shard").sortWithinPartitions("shard", *ORDER)
        work = ShardWriter(request, str(folder.resolve()))
        written = in_order.drop("event_id").mapInArrow(work, "shard long, examples long").toArrow()
        if not len(written):  # there is always a shard, if an empty one
            schema = event_schema(events.attributes).append(pa.field("superseded_time", TIME))
            write_shard(shard_folder(folder, 0), build_shard(schema.empty_table(), request), request.spec.horizons)

    def shards(self, events: AsOf, request: BuildRequest) -> list[ShardExamples]:
        """The same in memory, by way of files in the state folder, which must be shared."""
        self.state.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.state.path, prefix="built-") as scratch:
            self.write(events, request, Path(scratch))
            return [read_shard(shard) for shard in shards_of(Path(scratch))]

    def _relation(self, events: AsOf) -> str:
        view = f"events_{uuid.uuid4().hex}"
        self.session.read.parquet(*(str(whole(file)) for file in events.files)).createTempView(view)
        return f"({events.sql(view, instant='timestamp')})"


def connect(address: str, state: StateFolder) -> Spark:
    """A session whose executors have the functions they run. Raises RecurError without Java, or without an answer."""
    require_java()
    if address.startswith("local"):
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else what `python3` names
    builder = SparkSession.builder.master(address).appName("recur")
    for key, value in (CONFIGURATION | (_local(state) if address.startswith("local") else {})).items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise RecurError(
            f"Spark at {address} does not start: {first}: check addresses.spark and that it runs"
        ) from None
    session.sparkContext.setLogLevel("ERROR")
    if not session.sparkContext.getLocalProperty(SENT):
        session.sparkContext.addPyFile(str(_functions(spill_folder(state))))
        session.sparkContext.setLocalProperty(SENT, "yes")
    return Spark(session.newSession(), address, state)


def _functions(folder: Path) -> Path:
    """What executors run, as an archive: `features`, and how a shard is written."""
    folder.mkdir(parents=True, exist_ok=True)
    archive, root = folder / "recur_functions.zip", Path(features.__file__).parents[1]
    files = [*Path(features.__file__).parent.rglob("*.py")]
    files += [root / "pipeline" / "__init__.py", root / "pipeline" / "datasets" / "__init__.py"]
    files.append(Path(pipeline.datasets.shard_files.__file__))
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in sorted(files):
            zipped.write(file, file.relative_to(root))
    return archive


def _shard_of(firsts: list[str]) -> str:
    """An SQL expression of an event's shard: a balanced tree of comparisons of its customer."""

    def between(low: int, high: int) -> str:
        if low == high:
            return str(low)
        middle = (low + high) // 2
        earlier, later = between(low, middle), between(middle + 1, high)
        return f"case when customer_id < {_text(firsts[middle])} then {earlier} else {later} end"

    return f"cast({between(0, len(firsts))} as long)"


def _text(value: str) -> str:
    """`value` as a string of Spark's SQL, which reads backslashes as escapes."""
    return literal(value.replace("\\", "\\\\")).replace("''", "\\'")


def require_java() -> None:
    """Raises RecurError where there is no Java, or one that Spark 4 does not run on."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    fix = f"install Java {OLDEST_JAVA} (on Debian and Ubuntu: apt install default-jre-headless) or set JAVA_HOME to it"
    if java is None or not Path(java).exists():
        where = f"in JAVA_HOME, {home}" if home else "on PATH"
        raise RecurError(f'engine = "spark" needs Java, and there is none {where}: {fix}')
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', answer)
    if version is None or int(version[1]) < OLDEST_JAVA:
        words = next((line for line in answer.splitlines() if "version" in line), "no version")
        raise RecurError(f'engine = "spark" needs Java {OLDEST_JAVA} or later, and {java} says {words}: {fix}')


def _local(state: StateFolder) -> dict[str, str]:
    """On this machine alone: its memory and cores, loopback, and a place to spill to under `paths.var`."""
    spill = spill_folder(state)
    return {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": f"{memory_limit() >> 20}m",
        "spark.local.dir": str(spill),
        "spark.sql.shuffle.partitions": str(os.cpu_count() or 1),
        "spark.sql.warehouse.dir": str(spill / "warehouse"),
        "spark.ui.enabled": "false",
    }
