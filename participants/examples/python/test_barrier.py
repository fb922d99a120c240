"""What the barrier promises: python -m unittest"""

import unittest

import loyalty
from barrier import Barrier, Command

EARNED = '{"user_id":"user_1","total":129999}'


class BarrierTest(unittest.TestCase):
    def setUp(self):
        self.barrier = Barrier(":memory:", loyalty.SCHEMA, {"loyalty.award": (loyalty.award, loyalty.take_back)})

    def ask(self, operation, payload=EARNED, revision=0, name="loyalty.award"):
        reply = self.barrier.answer(Command(f"{operation}-{revision}", "saga", "step", operation, name, payload, revision))
        return reply.outcome, reply.code or reply.output

    def points(self):
        return [points for (points,) in self.barrier.db.execute("SELECT points FROM points ORDER BY entry")]

    def test_a_copy_gets_the_stored_answer(self):
        first = self.ask("execute")
        self.assertEqual(first, ("done", '{"user_id": "user_1", "points": 1299}'))
        self.assertEqual(self.ask("execute"), first)
        self.assertEqual(self.points(), [1299])

    def test_the_same_command_with_another_payload_is_refused(self):
        self.ask("execute")
        self.assertEqual(self.ask("execute", '{"user_id":"user_2"}'), ("refused", "COMMAND_CONFLICT"))
        self.assertEqual(self.points(), [1299])

    def test_a_compensation_undoes_once(self):
        self.ask("execute")
        for _ in range(2):
            self.assertEqual(self.ask("compensate"), ("done", "null"))
        self.assertEqual(self.points(), [1299, -1299])

    def test_a_compensation_that_comes_first_keeps_the_command_out(self):
        self.assertEqual(self.ask("compensate"), ("done", "null"))
        self.assertEqual(self.ask("execute"), ("refused", "COMPENSATED_BEFORE"))
        self.assertEqual(self.points(), [])

    def test_a_refusal_is_remembered_and_needs_no_undoing(self):
        owed = '{"user_id":"user_1","total":-1}'
        for _ in range(2):
            self.assertEqual(self.ask("execute", owed), ("refused", "NEGATIVE_TOTAL"))
        self.assertEqual(self.ask("compensate", owed), ("done", "null"))
        self.assertEqual(self.points(), [])

    def test_a_guest_has_no_account(self):
        self.assertEqual(self.ask("execute", '{"user_id":"guest_1","total":100}'), ("refused", "NO_ACCOUNT"))
        self.assertEqual(self.points(), [])

    def test_of_two_identities_of_a_step_one_takes_effect(self):
        self.ask("execute", revision=1)
        self.assertEqual(self.ask("execute", revision=2)[0], "done")
        self.assertEqual(self.ask("execute", revision=0)[0], "done")
        self.assertEqual(self.points(), [1299])

    def test_an_old_identity_comes_too_late(self):
        self.ask("execute", '{"user_id":"user_1","total":-1}', revision=1)
        self.assertEqual(self.ask("execute", revision=0), ("refused", "SUPERSEDED"))

    def test_what_fails_changes_nothing_and_may_come_again(self):
        self.barrier.db.execute("ALTER TABLE points RENAME TO elsewhere")
        self.assertEqual(self.ask("execute"), ("try-again", "TRY_AGAIN"))
        self.barrier.db.execute("ALTER TABLE elsewhere RENAME TO points")
        self.assertEqual(self.ask("execute")[0], "done")

    def test_nonsense_is_refused(self):
        self.assertEqual(self.ask("execute", "[]"), ("refused", "INVALID_INPUT"))
        self.assertEqual(self.ask("execute", "{", revision=1), ("refused", "INVALID_INPUT"))
        self.assertEqual(self.ask("execute", name="loyalty.steal"), ("refused", "UNKNOWN_COMMAND"))
        self.assertEqual(self.ask("operation_unspecified"), ("refused", "INVALID_COMMAND"))


if __name__ == "__main__":
    unittest.main()
