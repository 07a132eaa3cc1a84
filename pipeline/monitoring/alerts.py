"""Tells people what cannot wait for the next look at a page: failed tasks, and reviews that ask for something."""

import json
import logging
import urllib.request

from pipeline.config.settings import Settings

log = logging.getLogger("recur.alerts")
SECONDS = 10


def tell(settings: Settings, words: str) -> bool:
    """Logs `words`, and posts them as JSON, `{"text": words}`, to `addresses.alerts` where it is set; whether they were
    posted. An address that does not answer is logged and fails nothing: the alert must not become the accident.
    """
    log.warning("%s", words)
    if (address := settings.alerts) is None:
        return False
    request = urllib.request.Request(
        address, json.dumps({"text": words}).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):
            return True
    except (OSError, ValueError) as error:
        log.warning("addresses.alerts did not take it: %s", error)
        return False
