"""Log records as JSON: one object a line, whatever is logged."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """time (UTC, ISO 8601), level, logger and message; a request's line has its fields instead of a message."""

    def format(self, record: logging.LogRecord) -> str:
        shown: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        # Lines that have fields of their own, as those of requests, say so by a method.
        args = record.args if isinstance(record.args, tuple) else ()
        fields = getattr(args[0], "fields", None) if len(args) == 1 and record.msg == "%s" else None
        if callable(fields):
            shown |= fields()
        else:
            shown["message"] = record.getMessage()
        if record.exc_info:
            shown["traceback"] = self.formatException(record.exc_info)
        return json.dumps(shown, default=str)
