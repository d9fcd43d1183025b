"""The only code that waits: runs a plan on this thread, as an asyncio future, or as a `concurrent.futures.Future`.

A plan is a generator that knows no I/O. It yields effects and is sent their outcomes:

| effect | what the driver does | outcome |
| --- | --- | --- |
| a `Request` | submits it and waits for its end | the request, or its failure is thrown |
| `Start(request)` | submits it | the request |
| `Until(request, ...)` | waits for its end, its headers or filled pieces | the request, or its failure is thrown |
| `AnyOf(requests)` | waits until one of the submitted requests has ended | that request, failed or not |
| `Pull(source)` | takes the next item of the user's iterator | the item, or `END` |
| `Call(function, *args)` | calls what may block | its result, or what it raised is thrown |

A cancelled plan has `CancelledError` (Ctrl-C: `KeyboardInterrupt`) thrown in. Effects it yields after that are its
clean-up, which is not cancelled again.
"""
