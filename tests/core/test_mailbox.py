"""Plans that wait for notes, which any thread may leave: they go on where they run."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from cumulo._drivers import run_async, run_in_background
from cumulo._drivers.effects import Mailbox, Plan, Receive


class _Waiting:
    """A plan that waits for a note, and says on which thread it went on."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.began = threading.Event()

    def plan(self) -> Plan[int]:
        yield Receive(self.mailbox, wait=False)
        self.began.set()
        while not self.mailbox.notes:
            yield Receive(self.mailbox)
        return threading.get_ident()

    def leave_a_note(self) -> None:
        thread = threading.Thread(target=self.mailbox.put, args=("note",))
        thread.start()
        thread.join()


def test_on_an_event_loop() -> None:
    waiting = _Waiting()

    async def main() -> int:
        future = run_async(waiting.plan())
        waiting.leave_a_note()
        return await asyncio.wait_for(future, 10)

    assert asyncio.run(main()) == threading.get_ident()


def test_in_the_background() -> None:
    waiting = _Waiting()
    future = run_in_background(waiting.plan())
    assert waiting.began.wait(10)
    waiting.leave_a_note()
    thread = future.result(10)
    assert {each.ident: each.name for each in threading.enumerate()}[thread] == "cumulo-futures"


class _Late(deque[str]):
    """Notes of which another thread leaves the first just after a driver has seen that there is none."""

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__()
        self._mailbox: Mailbox | None = mailbox

    def __bool__(self) -> bool:
        any_yet = len(self) > 0
        mailbox, self._mailbox = self._mailbox, None
        if mailbox is not None:
            thread = threading.Thread(target=mailbox.put, args=("note",))
            thread.start()
            thread.join()
        return any_yet


def test_a_note_in_the_moment_in_which_a_plan_comes_to_wait() -> None:
    mailbox = Mailbox()
    mailbox.notes = _Late(mailbox)

    def plan() -> Plan[int]:
        yield Receive(mailbox)
        return len(mailbox.notes)

    async def main() -> int:
        return await asyncio.wait_for(run_async(plan()), 10)

    assert asyncio.run(main()) == 1
    mailbox.notes = _Late(mailbox)
    assert run_in_background(plan()).result(10) == 1
