"""At most one effect per command, and none after its compensation, however often and in whatever order commands arrive.

The effect, the answer and the key under which both are found again are committed in one transaction.
"""

import json
import sqlite3
import threading
from dataclasses import dataclass

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS barrier (
    saga_id TEXT NOT NULL, step TEXT NOT NULL, operation TEXT NOT NULL, revision INTEGER NOT NULL,
    payload TEXT NOT NULL, outcome TEXT NOT NULL, output TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,
    PRIMARY KEY (saga_id, step, operation, revision)
);
"""


@dataclass
class Command:
    """What both transports know of a command."""

    id: str
    saga_id: str
    step: str
    operation: str  # "execute" or "compensate"
    name: str  # e.g. "loyalty.award"
    payload: str  # JSON
    revision: int = 0
    attempt: int = 1
    trace: str = ""


@dataclass
class Reply:
    """The outcome is "done", "refused" or "try-again"; `output` is the JSON of what is done."""

    outcome: str
    output: str = "null"
    code: str = ""
    message: str = ""


class Refused(Exception):
    """A business no: nothing has changed, it is remembered, and never tried again."""

    def __init__(self, code, message):
        super().__init__(message)
        self.reply = Reply("refused", code=code, message=message)


class Barrier:
    """Runs `steps`, functions by the name of their command: `execute(db, command, given) -> output` and
    `compensate(db, command, given, output)`. They write through `db` only, and neither begin nor commit."""

    def __init__(self, path, schema, steps):
        self.steps = steps
        self.one_at_a_time = threading.Lock()
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.executescript(SCHEMA + schema)

    def answer(self, command):
        """Answers a command; what the answer says is durable when this returns."""
        with self.one_at_a_time:
            try:
                self.db.execute("BEGIN IMMEDIATE")
                reply = self._judge(command)
                self.db.execute("COMMIT")
                return reply
            except Exception as error:  # Nothing has changed, or it is not known: either way it may come again.
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                return Reply("try-again", code="TRY_AGAIN", message=f"{type(error).__name__}: {error}")

    def _judge(self, command):
        if command.name not in self.steps:
            return Reply("refused", code="UNKNOWN_COMMAND", message=f"no step answers to {command.name} here")
        if command.operation not in ("execute", "compensate"):
            return Reply("refused", code="INVALID_COMMAND", message=f"unknown operation {command.operation}")
        rows = self.db.execute(
            "SELECT operation, revision, payload, outcome, output, code, message FROM barrier "
            "WHERE saga_id = ? AND step = ? ORDER BY revision", (command.saga_id, command.step)).fetchall()
        stored = {(row[0], row[1]): (row[2], Reply(*row[3:])) for row in rows}
        own = stored.get((command.operation, command.revision))
        if own:
            payload, reply = own
            same = payload == command.payload
            return reply if same else Reply("refused", code="COMMAND_CONFLICT", message="seen with another payload")
        # With one writer a compensation's own row is the tombstone that keeps a late command out.
        compensated = any(operation == "compensate" for operation, _ in stored)
        outputs = [reply.output for _, reply in stored.values() if reply.outcome == "done"]
        execute, compensate = self.steps[command.name]
        if command.operation == "compensate":
            if outputs and not compensated:
                compensate(self.db, command, json.loads(command.payload), json.loads(outputs[-1]))
            return self._store(command, Reply("done"))
        if compensated:
            return Reply("refused", code="COMPENSATED_BEFORE", message="too late: the step was compensated before")
        if outputs:  # Done under another identity, which an operator gave the step meanwhile.
            return Reply("done", outputs[-1])
        if any(revision > command.revision for _, revision in stored):
            return Reply("refused", code="SUPERSEDED", message="too late: the step was run anew since")
        return self._store(command, self._execute(execute, command))

    def _execute(self, execute, command):
        self.db.execute("SAVEPOINT step")
        try:
            given = json.loads(command.payload)
        except ValueError as error:
            return Reply("refused", code="INVALID_INPUT", message=str(error))
        try:
            return Reply("done", json.dumps(execute(self.db, command, given)))
        except Refused as refused:
            self.db.execute("ROLLBACK TO step")
            return refused.reply

    def _store(self, command, reply):
        self.db.execute(
            "INSERT INTO barrier VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (command.saga_id, command.step, command.operation, command.revision, command.payload,
             reply.outcome, reply.output, reply.code, reply.message))
        return reply
