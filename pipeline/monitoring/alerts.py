"""Alerts for people: failed tasks, and reviews that call for a training or a look."""

import json
import logging
import urllib.request

log = logging.getLogger("recur.alerts")
SECONDS = 10


def alert(address: str | None, message: str) -> bool:
    """Logs `message` and, where `addresses.alerts` is set, posts it as JSON, `{"text": message}`; returns whether it
    was posted. An address that does not answer is logged and raises nothing: an alert must not become the accident.
    """
    log.warning("%s", message)
    if address is None:
        return False
    request = urllib.request.Request(
        address, json.dumps({"text": message}).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):
            return True
    except (OSError, ValueError) as error:
        log.warning("addresses.alerts did not take it: %s", error)
        return False
