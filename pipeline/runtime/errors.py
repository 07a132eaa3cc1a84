"""Errors that are meant for people: one line that says what is wrong, where, and how to fix it."""


class RecurError(Exception):
    """A job failed for a reason that its user can fix. The command line prints the message and exits with `status`."""

    status = 1


class ConfigurationError(RecurError):
    """Unusable arguments or configuration."""

    status = 2


class NothingToDo(RecurError):
    """A step rightly has nothing to do; the message says why. Airflow marks its task skipped."""

    status = 0


def way_out(reason: str, otherwise: str) -> str:
    """What to do about an error of a database: a damaged file of SQLite is put back, whatever advice is good
    `otherwise`.
    """
    damaged = "is not a database" in reason or "malformed" in reason
    return "it is damaged: put it back from a backup" if damaged else otherwise
