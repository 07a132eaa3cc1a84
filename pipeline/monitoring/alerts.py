"""Alerts for people: failed tasks, and reviews that call for a training or a look."""

import json
import logging
import urllib.request

log = logging.getLogger("recur.alerts")
SECONDS = 10


def alert(address: str | None, message: str) -> None:
    """Logs `message` and, where `addresses.alerts` is set, posts it as JSON, `{"text": message}`. An address that
    does not answer is logged and raises nothing: an alert must not become the accident.
    """
    log.warning("%s", message)
    if address is None:
        return
    request = urllib.request.Request(
        address, json.dumps({"text": message}).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        urllib.request.urlopen(request, timeout=SECONDS).close()
    except (OSError, ValueError) as error:
        log.warning("addresses.alerts did not take it: %s", error)
