"""Frames that wait for the line: which of them leave together."""

from __future__ import annotations

from ztpd.serialport.output import FrameQueue


def queue(*frames: bytes) -> tuple[FrameQueue, list[bytes]]:
    """With ``frames`` put in a second apart; and those that are done, dropped ones behind a "-"."""
    waiting, done = FrameQueue(1000, max_age_s=10.0), list[bytes]()

    def put(data: bytes, at_s: float) -> None:
        waiting.put(data, at_s, lambda sent: done.append(data if sent else b"-" + data))

    for number, data in enumerate(frames):
        put(data, float(number))
    return waiting, done


def test_frames_leave_together_as_far_as_the_line_has_room() -> None:
    waiting, done = queue(b"one", b"two", b"three")
    parts = waiting.next(3.0, 7)
    assert [bytes(part) for part in parts] == [b"one", b"two"], "three would be torn"

    waiting.sent(6)

    assert done == [b"one", b"two"]
    assert waiting.queued_bytes == 5
    assert [bytes(part) for part in waiting.next(3.0)] == [b"three"]


def test_a_frame_that_the_kernel_took_in_part_goes_on_where_it_was() -> None:
    waiting, done = queue(b"one", b"two", b"three")
    waiting.next(3.0)

    waiting.sent(4)

    assert done == [b"one"]
    assert [bytes(part) for part in waiting.next(3.0)] == [b"wo", b"three"]
    assert [bytes(part) for part in waiting.next(3.0, 1)] == [b"w"]


def test_a_frame_begun_leaves_whole_and_a_stale_one_behind_it_not_at_all() -> None:
    waiting, done = queue(b"one", b"two", b"three")
    waiting.next(3.0)
    waiting.sent(1)
    assert [bytes(part) for part in waiting.next(11.5)] == [b"ne"], "the others wait for a look"

    waiting.sent(2)

    assert [bytes(part) for part in waiting.next(11.5)] == [b"three"]
    assert done == [b"one", b"-two"], "each is done once"


def test_a_question_of_ztpd_passes_the_corrections_that_wait() -> None:
    waiting, done = queue(b"one", b"two", b"three")
    waiting.next(3.0)
    waiting.sent(1)

    waiting.put(b"first?", 3.0)
    waiting.put(b"second?", 3.0)

    parts = waiting.next(3.0)
    assert [bytes(part) for part in parts] == [b"ne", b"first?", b"second?", b"two", b"three"]
    waiting.sent(9)
    waiting.put(b"third?", 3.0)
    parts = waiting.next(3.0)
    assert [bytes(part) for part in parts] == [b"econd?", b"third?", b"two", b"three"]
    assert done == [b"one"]


def test_a_full_queue_loses_corrections_before_questions_and_never_the_newest_frame() -> None:
    waiting, done = queue(*(b"%d" % number * 300 for number in (1, 2, 3)))
    waiting.put(b"?" * 300, 3.0)
    assert done == [b"-" + b"1" * 300]

    waiting.put(b"4" * 900, 4.0, lambda _: None)
    assert done == [b"-" + b"%d" % number * 300 for number in (1, 2, 3)]
    assert [bytes(part) for part in waiting.next(4.0)] == [b"4" * 900]
    assert waiting.queued_bytes == 900
