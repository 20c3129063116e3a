"""What is shown of a log holds the cause."""

from __future__ import annotations

from deploy.embedded.excerpt import ERROR_LINES, TAIL_LINES, excerpt


def test_a_short_log_is_shown_whole() -> None:
    assert excerpt("one\ntwo\n") == "one\ntwo"
    assert excerpt("") == ""


def test_stack_frames_are_left_out() -> None:
    log = "ERROR it broke\n\tat some.Class.method(Class.java:1)\nCaused by: fire\n\t... 7 more\n"
    assert excerpt(log) == "ERROR it broke\nCaused by: fire"


def test_the_first_errors_are_shown_before_the_end() -> None:
    errors = [f"ERROR number {number}" for number in range(ERROR_LINES + 5)]
    end = [f"INFO shutting down {number}" for number in range(TAIL_LINES)]
    assert excerpt("\n".join(["INFO before", *errors, *end])) == "\n".join([*errors[:ERROR_LINES], "...", *end])


def test_without_earlier_errors_only_the_end_is_shown() -> None:
    lines = [f"INFO {number}" for number in range(TAIL_LINES + 5)]
    assert excerpt("\n".join(lines)) == "\n".join(lines[5:])
