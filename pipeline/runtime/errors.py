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
