# What async calls return: a future of the running event loop that is a coroutine too, as `asyncio.create_task`,
# `TaskGroup.create_task` and `asyncio.run` ask for one (PEP 492; asyncio looks for `send`, `throw` and `close`). The
# call is under way from the start; who only awaits it never comes here. Under the GIL.

cdef object _call_future = None  # the class, made when asyncio is first used: it takes long to import
cdef object _running_loop = None


cdef object _prepare_asyncio():
    global _call_future, _running_loop
    import asyncio

    class CallFuture(asyncio.Future):
        _steps = None

        def send(self, value):
            if self._steps is None:
                self._steps = self.__await__()
            return self._steps.send(value)

        def throw(self, kind, value=None, traceback=None):
            # Whoever drives this gives it up: the transfer stops.
            self.cancel()
            if self._steps is None:
                self._steps = self.__await__()
            return self._steps.throw(value if isinstance(value, BaseException) else kind)

        def close(self):
            self.cancel()

    _running_loop = asyncio._get_running_loop
    _call_future = CallFuture
    return CallFuture


def call_future():
    """The class of the futures that async calls return."""
    return _prepare_asyncio() if _call_future is None else _call_future
