"""Files at other addresses than this machine's own: fetched once, and named where they cannot be."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.runtime.errors import RecurError
from tests.support.worlds.csv_nights import day, ingest, last_closed

TOML = '[source]\nkind = "csv"\npath = "{}"\n[source.columns]\ncustomer_id = "who"\nevent_time = "when"\n'
FIRST, SECOND = "who,when\na,2020-01-01 10:00\n", "who,when\nb,2020-01-02 10:00\nz,2020-01-09 10:00\n"


def configure(folder, path: str) -> Settings:
    (folder / "recur.toml").write_text(TOML.format(path))
    return load_settings(folder / "recur.toml")


def test_a_folder_in_memory_grows(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/shop/one.csv", FIRST.encode())
    settings = configure(tmp_path, "memory://shop/*.csv")
    assert last_closed(settings) == day("2020-01-01")
    memory.pipe("/shop/two.csv", SECOND.encode())
    assert ingest(settings, "2020-01-02")["rows_accepted"] == 1
    assert ingest(settings, "2020-01-03")["rows_accepted"] == 1
    memory.rm("/shop", recursive=True)
    assert not list((tmp_path / "var" / "source").rglob("fetched*"))


def test_a_web_server(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "events.csv").write_text(FIRST + SECOND.partition("\n")[2])
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = configure(tmp_path, f"http://127.0.0.1:{server.server_address[1]}/events.csv")
        assert ingest(settings, "2020-01-03")["rows_accepted"] == 2
        server.shutdown()
    with pytest.raises(RecurError, match=r"events.csv (does not exist|cannot be read)"):
        last_closed(settings)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("memory://nowhere/*.csv", "no file fits memory://nowhere/"),
        ("memory://nowhere/one.csv", "memory://nowhere/one.csv does not exist: set source.path"),
        ("shop://a/b.csv", "shop://a/b.csv cannot be read: Protocol not known: shop"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, path, words):
    with pytest.raises(RecurError, match=words):
        last_closed(configure(tmp_path, path))
