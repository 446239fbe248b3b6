"""When a schedule of five cron fields comes round: the one place that loads the library which reads them."""

from datetime import UTC, datetime

from sartor.core.errors import AskError, missing_extra

FIELDS = 5


def next_time(schedule: str, after: float) -> float:
    """The first moment behind `after` that a schedule names, in seconds since 1970.

    Args:
        schedule: minute, hour, day of the month, month, day of the week; UTC.

    Raises:
        AskError: it can't be parsed, or names no moment that ever comes.
        MissingExtraError: the extra `worker` is not installed.
    """
    try:
        from croniter import CroniterBadDateError, croniter
    except ModuleNotFoundError as error:
        raise missing_extra("croniter", "a schedule") from error
    if len(schedule.split()) != FIELDS or not croniter.is_valid(schedule):
        raise _bad(schedule, "can't be read")
    try:
        return float(croniter(schedule, datetime.fromtimestamp(after, UTC)).get_next(float))
    except CroniterBadDateError as error:
        raise _bad(schedule, "names no day that ever comes") from error


def _bad(schedule: str, what: str) -> AskError:
    return AskError(
        f"The schedule {schedule[:60]!r} {what}. Write five fields (minute, hour, day, month, weekday), in UTC, e.g. "
        "'0 3 * * *' for three in the morning or '*/15 8-18 * * mon-fri'.",
        param="schedule",
        code="bad_schedule",
    )
