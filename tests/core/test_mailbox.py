"""Plans that wait for notes, which any thread may leave: they go on where they run."""

from __future__ import annotations

import asyncio
import threading

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
