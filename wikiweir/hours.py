"""An hour and a day of UTC, half open: what a batch run is about; written `2026-11-23T09` and `2026-11-23`."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

LENGTH = timedelta(hours=1)


@dataclass(frozen=True, slots=True, order=True)
class Hour:
    """One hour, named by its start (timezone-aware UTC, on the hour)."""

    start: datetime

    def __post_init__(self) -> None:
        is_full = self.start == self.start.replace(minute=0, second=0, microsecond=0)
        if self.start.utcoffset() != timedelta(0) or not is_full:
            raise ValueError(f"expected the start of an hour in UTC, found {self.start!r}")

    @classmethod
    def parse(cls, text: str) -> "Hour":
        """`2026-11-23T09`; ValueError says what was expected."""
        try:
            return cls(datetime.strptime(text, "%Y-%m-%dT%H").replace(tzinfo=UTC))
        except ValueError:
            raise ValueError(f"expected an hour of UTC like 2026-11-23T09, found {text!r}") from None

    @classmethod
    def of(cls, instant: datetime) -> "Hour":
        """The hour that an instant (timezone-aware) is in."""
        return cls(instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0))

    @property
    def end(self) -> datetime:
        return self.start + LENGTH

    def __str__(self) -> str:
        return self.start.replace(tzinfo=None).isoformat(timespec="hours")


@dataclass(frozen=True, slots=True, order=True)
class Day:
    """One day, named by its start (timezone-aware UTC)."""

    start: datetime

    @classmethod
    def of(cls, instant: datetime) -> "Day":
        """The day that an instant (timezone-aware) is in."""
        return cls(instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0))

    @property
    def end(self) -> datetime:
        return self.start + timedelta(days=1)

    def __str__(self) -> str:
        return self.start.date().isoformat()
