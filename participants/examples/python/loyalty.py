"""What this participant does, whatever it is reached by: it gives points for what an order costs."""

import argparse
import signal
import threading

from barrier import Barrier, Refused

SCHEMA = """
CREATE TABLE IF NOT EXISTS points (
    entry INTEGER PRIMARY KEY, user_id TEXT NOT NULL, points INTEGER NOT NULL, command_id TEXT NOT NULL
);
"""
MINOR_UNITS_PER_POINT = 100
GUEST = "guest"


def award(db, command, order):
    try:
        user, total = str(order["user_id"]), int(order.get("total", 0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused("INVALID_INPUT", f"an order has a user_id, and a total in minor units: {error!r}") from error
    if total < 0:
        raise Refused("NEGATIVE_TOTAL", f"no points for a total of {total}")
    if user.startswith(GUEST):
        raise Refused("NO_ACCOUNT", f"{user} has no account to put points on")
    points = total // MINOR_UNITS_PER_POINT
    db.execute("INSERT INTO points (user_id, points, command_id) VALUES (?, ?, ?)", (user, points, command.id))
    return {"user_id": user, "points": points}


def take_back(db, command, order, awarded):
    db.execute("INSERT INTO points (user_id, points, command_id) VALUES (?, ?, ?)",
               (awarded["user_id"], -awarded["points"], command.id))


def arguments(about):
    """The command line that both transports share."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--command", default="loyalty.award", help="the command that it answers to")
    parser.add_argument("--participant", help="its name; by default what stands before the command's dot")
    parser.add_argument("--db", default="loyalty.db", help="its database, a file of SQLite")
    parser.add_argument("--reply-after", type=float, default=0, metavar="SECONDS",
                        help="wait between commit and reply: time to kill it there, and to see that nothing comes twice")
    return parser


def start(args):
    """Opens the database; returns the barrier in front of the step, and an event that SIGTERM and Ctrl-C set."""
    args.participant = args.participant or args.command.split(".")[0]
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    return Barrier(args.db, SCHEMA, {args.command: (award, take_back)}), ended
