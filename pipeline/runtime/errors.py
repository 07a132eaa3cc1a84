"""Errors that are meant for people: one line that says what is wrong, where, and the mend."""


class RecurError(Exception):
    """A job failed for a reason that its user can mend. The command line prints the message and exits with `status`."""

    status = 1


class ConfigurationError(RecurError):
    """Unusable arguments or configuration."""

    status = 2


class NothingToDo(RecurError):
    """A step has, rightly, nothing to do, and says why. Airflow marks its task skipped; in process it is a message."""

    status = 0
