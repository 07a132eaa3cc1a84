"""One module for time. Instants in arrays are microseconds since 1970 in UTC; a cutoff is a midnight in UTC."""

from datetime import UTC, datetime, timedelta

MICROSECONDS_A_SECOND = 1_000_000
SECONDS_A_DAY = 86_400
MICROSECONDS_A_DAY = SECONDS_A_DAY * MICROSECONDS_A_SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = -(1 << 63)  # microseconds: the time of the event before the first


def microseconds(moment: datetime) -> int:
    """Microseconds from 1970 to `moment`; a naive one is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def instant(microseconds: int) -> datetime:
    """The inverse of `microseconds`, in UTC."""
    return EPOCH + timedelta(microseconds=int(microseconds))


def day_number(midnight: datetime) -> int:
    """Days from 1970 to `midnight`. Raises ValueError where it is no midnight in UTC."""
    days, rest = divmod(microseconds(midnight), MICROSECONDS_A_DAY)
    if rest:
        raise ValueError(f"{midnight} is no midnight in UTC: windows would not be whole days")
    return days
