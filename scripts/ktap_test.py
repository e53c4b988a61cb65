# SPDX-License-Identifier: GPL-2.0
"""Tests of ktap.py: above all that no broken report passes."""

import unittest

from ktap import parse


def count(text):
    leaves = parse(text.splitlines())
    return tuple(sum(leaf.status == status for leaf in leaves) for status in ("passed", "failed", "skipped"))


class Whole(unittest.TestCase):
    def test_flat(self):
        self.assertEqual(count("KTAP version 1\n1..3\nok 1 a\nnot ok 2 b\nok 3 - c # SKIP no IOMMU\n"), (1, 1, 1))

    def test_leaves_are_counted_and_their_parents_are_not(self):
        text = "KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n  ok 1 a\n  ok 2 b\nok 1 first\nok 2 second\n"
        self.assertEqual(count(text), (3, 0, 0))

    def test_nested_twice(self):
        text = (
            "KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n    KTAP version 1\n    1..1\n"
            "    not ok 1 deep\n  not ok 1 middle\nnot ok 1 top\n"
        )
        self.assertEqual(count(text), (0, 1, 0))
        self.assertEqual(parse(text.splitlines())[0].name, "top: middle: deep")

    def test_two_reports_in_a_row(self):
        self.assertEqual(count("KTAP version 1\n1..1\nok 1 a\nKTAP version 1\n1..1\nok 1 b\n"), (2, 0, 0))

    def test_other_lines_are_notes_of_the_next_result(self):
        leaves = parse("boot\nKTAP version 1\n1..1\n# expected 2, got 3\nnot ok 1 a\n".splitlines())
        self.assertEqual(leaves[0].notes, ["# expected 2, got 3"])


class Broken(unittest.TestCase):
    def assertBroken(self, text):
        self.assertGreater(count(text)[1], 0, text)

    def test_nothing(self):
        self.assertBroken("")
        self.assertBroken("all is well\n")

    def test_no_version(self):
        self.assertBroken("1..1\nok 1 a\n")

    def test_no_plan(self):
        self.assertBroken("KTAP version 1\nok 1 a\n")

    def test_empty_plan(self):
        self.assertBroken("KTAP version 1\n1..0\n")

    def test_too_few(self):
        self.assertBroken("KTAP version 1\n1..2\nok 1 a\n")

    def test_too_many(self):
        self.assertBroken("KTAP version 1\n1..1\nok 1 a\nok 2 b\n")

    def test_a_number_twice_and_one_left_out(self):
        self.assertBroken("KTAP version 1\n1..2\nok 1 a\nok 1 b\n")
        self.assertBroken("KTAP version 1\n1..2\nok 1 a\nok 3 b\n")

    def test_cut_off_in_a_nested_report(self):
        self.assertBroken("KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n  ok 1 a\n")
        self.assertBroken("KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  ok 1 a\n")

    def test_a_nested_report_that_is_short(self):
        self.assertBroken("KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 a\nok 1 parent\n")

    def test_parent_hides_child(self):
        self.assertBroken("KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  not ok 1 a\nok 1 parent\n")

    def test_skipped_parent_hides_child(self):
        self.assertBroken("KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  not ok 1 a\nok 1 parent # SKIP\n")

    def test_two_nested_reports_for_one_parent(self):
        nested = "  KTAP version 1\n  1..1\n  ok 1 a\n"
        self.assertBroken("KTAP version 1\n1..1\n" + nested + nested + "ok 1 parent\n")

    def test_a_nested_report_after_the_last_result(self):
        self.assertBroken("KTAP version 1\n1..1\nok 1 a\n  KTAP version 1\n  1..1\n  not ok 1 b\n")
        self.assertBroken("KTAP version 1\n1..1\nok 1 a\n  KTAP version 1\n  1..1\n  ok 1 b\n")

    def test_two_reports_and_the_first_is_short(self):
        self.assertBroken("KTAP version 1\n1..2\nok 1 a\nKTAP version 1\n1..1\nok 1 b\n")

    def test_odd_indentation(self):
        self.assertBroken("KTAP version 1\n1..1\n    KTAP version 1\n    1..1\n    ok 1 a\n  ok 1 b\nok 1 parent\n")


if __name__ == "__main__":
    unittest.main()
