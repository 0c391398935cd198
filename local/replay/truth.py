"""The server's own account of what a loss-free client must have received, and when it was sent.

Records are written in log order, each once, from where the first client began up to the furthest any client
has come. The surprising thing: records a client *skipped* (by a lossy cursor, say) are written too, with
`sent_ms` null; an account of what was sent alone could not show a loss.
"""

import base64
import json
import re
from pathlib import Path
from typing import IO, Any

from local.replay.log import EventLog, Record

_ID = re.compile(rb'"id": ?"([^"\\]+)"')
_STEP = 2000


def meta_id(record: Record) -> str | None:
    """`meta.id` of a record; none where there is none or the line does not parse."""
    if record.tail is not None and b'"meta":{' in record.head[:200]:
        found = _ID.search(record.head)
        if found:
            return found.group(1).decode("utf-8", "replace")
    try:
        value = json.loads(record.line())["meta"]["id"]
    except (ValueError, TypeError, KeyError):
        return None
    return value if isinstance(value, str) else None


class GroundTruth:
    """Follows the log behind its readers. Files are optional; counts are always kept."""

    def __init__(self, log: EventLog, *, file: Path | None, send_file: Path | None) -> None:
        self._log = log
        self._file = _appending(file)
        self._send_file = _appending(send_file)
        self._next_seq: int | None = None
        self._furthest = 0
        self.records = 0
        """Distinct records in the account so far."""
        self.skipped = 0
        """Of these, how many no client had been sent when the account passed them."""

    def begin(self, seq: int) -> None:
        """A client starts here; the first one fixes where the account begins."""
        if self._next_seq is None:
            self._next_seq = self._furthest = seq

    def sent(self, records: list[Record], sent_ms: int, shift: int) -> None:
        """These were just written to a socket, in log order (a re-sent one may come again)."""
        new = [record for record in records if record.seq >= self._furthest]
        if not new:
            return
        if self._send_file is not None:
            lines = [f'{{"id":{json.dumps(meta_id(r))},"sent_ms":{sent_ms}}}\n' for r in new]
            self._send_file.write("".join(lines).encode())
        self._furthest = new[-1].seq + 1
        if self._next_seq is None:
            self._next_seq = new[0].seq
        by_seq = {record.seq for record in new}
        if self._next_seq == new[0].seq and len(by_seq) == new[-1].seq + 1 - new[0].seq:
            self._write(new, by_seq, sent_ms, shift)
        else:
            self._catch_up(self._furthest, by_seq, sent_ms, shift)

    def catch_up(self) -> None:
        """Takes in everything available, sent or not."""
        self._catch_up(self._log.end_seq, set(), 0, 0)
        self._furthest = max(self._furthest, self._next_seq or 0)

    def flush(self) -> None:
        """Hands what was written to the operating system."""
        for file in (self._file, self._send_file):
            if file is not None:
                file.flush()

    def close(self) -> None:
        """Flushes and closes the files."""
        for file in (self._file, self._send_file):
            if file is not None:
                file.close()

    @property
    def furthest_seq(self) -> int:
        """One past the furthest record sent to any client."""
        return self._furthest

    def _catch_up(self, end: int, sent: set[int], sent_ms: int, shift: int) -> None:
        while self._next_seq is not None and self._next_seq < end:
            records = [r for r in self._log.read(self._next_seq, min(_STEP, end - self._next_seq)) if r.seq < end]
            if not records:  # dropped by a retention cut: nobody can be held to it
                self._next_seq = end
                return
            self._write(records, sent, sent_ms, shift)

    def _write(self, records: list[Record], sent: set[int], sent_ms: int, shift: int) -> None:
        self._next_seq = records[-1].seq + 1
        self.records += len(records)
        self.skipped += sum(r.seq not in sent for r in records)
        if self._file is not None:
            lines = [_entry(r, sent_ms if r.seq in sent else None, shift) for r in records]
            self._file.write("".join(lines).encode())


def _entry(record: Record, sent_ms: int | None, shift: int) -> str:
    line = record.line(shift)
    entry: dict[str, Any] = {
        "topic": record.topic,
        "partition": 0,
        "offset": record.offset,
        "kafka_ms": record.kafka_ms,
        "id": meta_id(record),
        "sent_ms": sent_ms,
    }
    try:
        entry["data"] = line.decode()
    except UnicodeDecodeError:
        entry["data_base64"] = base64.b64encode(line).decode()
    return json.dumps(entry) + "\n"  # ASCII: a reader may split lines where U+2028 is none


def _appending(path: Path | None) -> IO[bytes] | None:
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab", buffering=1 << 20)
