# How news of requests reaches Python: one queue a waiting context. Everything here runs under the GIL.
#
# - A thread that waits synchronously has a condition queue of its own and drains it itself.
# - An event loop has a descriptor queue; the loop's reader drains it in one go (asyncio and uvloop alike).
# - Futures share one condition queue, drained by one dispatcher thread.
#
# A request under way is pinned (in `_pinned`) until its end has been drained, since the engine still uses its memory.
# When the reader of a queue goes away first (a loop that was closed, a thread that ended), its requests are pointed to
# `_orphanage`, a queue that is drained along with any other: that ends them, but nobody is told of it any more.

cdef set _pinned = set()
cdef Queue _orphanage = None
cdef list _loops = []  # (weak reference, queue); a loop is asked if it is closed, since its requests keep it alive
cdef object _threads = threading.local()


cdef class Queue:
    cdef cml_queue *c
    cdef readonly uint64_t generation
    cdef bint abandoned  # its reader is gone
    cdef readonly set calls  # what runs in its reader's context, and has a `leave` for when that is gone
    cdef object __weakref__

    def __cinit__(self, bint with_descriptor=False):
        self.c = cml_queue_new_fd() if with_descriptor else cml_queue_new_cond()
        if self.c == NULL:
            raise OSError(errno, f"cannot make a wake-up descriptor: {os.strerror(errno)}")
        self.generation = cml_runtime_generation()
        self.calls = set()

    def __dealloc__(self):
        cml_queue_release(self.c)

    def fileno(self):
        return cml_queue_fd(self.c)

    def poke(self):
        """Wake the reader."""
        if self.generation == cml_runtime_generation():  # else a thread of the parent's may hold its lock for ever
            cml_queue_poke(self.c)

    def drain(self):
        """Hand out all news that has come. Then raise what a signal's handler may have raised meanwhile."""
        error = _hand_out(self)
        _find_orphans(1)
        if _orphanage is not None:
            told = _hand_out(_orphanage)
            error = told if error is None else error
        if error is not None:
            raise error

    cdef bint is_deaf(self):
        # At exit, the event loop of a daemon thread: see core/runtime.pxi.
        return cml_queue_fd(self.c) >= 0 and _in_daemon()

    cdef bint wait(self, int timeout_ms) except -1:
        # Signals that came meanwhile are seen to now: else their handlers would run in the callbacks of the news.
        cdef bint ready
        with nogil:
            ready = cml_queue_wait_in_turn(self.c, timeout_ms)
        cml_queue_awake(self.c)
        PyErr_CheckSignals()
        return ready

    def wait_poke(self, int timeout_ms):
        """Sleep until the queue is poked, or for as long as that."""
        self.wait(timeout_ms)

    def wait_and_drain(self, int timeout_ms):
        """For a dispatcher thread: sleep until there is news, then hand it out."""
        if self.wait(timeout_ms):
            self.drain()


cdef object _hand_out(Queue queue):
    # None, or what a signal's handler has raised in a callback.
    cdef cml_node *node = cml_queue_take_all(queue.c)
    cdef cml_node *following
    cdef cml_request *c
    cdef cbool last = False
    error = None
    while node != NULL:
        following = node.next
        c = cml_request_of_node(node, &last)
        if c != NULL:
            told = _news_of(c, last)
            error = told if error is None else error
            cml_request_release(c)
        node = following
    return error


cdef object _news_of(cml_request *c, bint last):
    # Python runs the handlers of signals in whatever the main thread does. What one raises is no business of the
    # callback that it happened to meet, and somebody may wait for ever for what that had to say: so it is told again,
    # and the error goes to whoever hands out the news. On another thread it can only be a mistake of the callback's.
    cdef Request request = <Request>cml_request_user_data(c)
    error = None
    while True:
        try:
            request.on_news(last)
            return error
        except BaseException as failure:
            if error is not None or PyThread_get_thread_ident() != _main_thread:
                PyErr_WriteUnraisable(request)
                return error
            error = failure


cdef unsigned long _main_thread = threading.main_thread().ident


class _Owner:
    # Lives and dies with the thread that drains a queue.

    __slots__ = ("queue",)

    def __init__(self, queue):
        self.queue = queue

    def __del__(self):
        _abandon(self.queue)


cdef int _abandon(Queue queue) except -1:
    cdef Request request
    queue.abandoned = True
    if queue.generation == cml_runtime_generation():
        for request in list(_pinned):
            if request.queue is queue:
                request.orphan()
        calls, queue.calls = queue.calls, set()
        for call in calls:
            call.leave()
    return 0


cdef Queue _read_queue(Queue queue):
    # The queue, or where its news goes now that nobody reads it any more.
    global _orphanage
    cdef Queue fresh
    if not queue.abandoned:
        return queue
    if _orphanage is None:
        fresh = Queue()
        fresh.abandoned = True
        if _orphanage is None:  # still: making one may collect garbage, and that abandon a queue
            _orphanage = fresh
    return _orphanage


cdef int _find_orphans(Py_ssize_t most) except -1:
    # Asks so many loops if they were closed; they take turns.
    while most > 0 and _loops:
        most -= 1
        entry = _loops.pop(0)
        loop = entry[0]()
        if loop is None or loop.is_closed():
            _abandon(entry[1])
        else:
            _loops.append(entry)
    return 0


cdef Queue _thread_queue():
    cdef Queue queue = getattr(_threads, "queue", None)
    if queue is None or queue.generation != cml_runtime_generation():
        _find_orphans(len(_loops))
        queue = Queue()
        _threads.queue = queue
        _threads.owner = _Owner(queue)
    return queue


def thread_queue():
    """The queue whose news this thread hands out while it waits."""
    return _thread_queue()


cdef Queue _loop_queue(loop):
    # The loop has its queue as an attribute: nothing to look up, and no reference back to the loop.
    cdef Queue queue = getattr(loop, "_cumulo_queue", None)
    if queue is None or queue.generation != cml_runtime_generation():
        _find_orphans(len(_loops))
        queue = Queue(True)
        loop.add_reader(queue.fileno(), queue.drain)
        loop._cumulo_queue = queue
        _loops.append((weakref.ref(loop), queue))
    return queue


def loop_queue(loop):
    """The queue whose news the running event loop hands out."""
    return _loop_queue(loop)


def leave_loops():
    """At exit: abandon the loops that do not run, and will not any more."""
    for entry in list(_loops):
        loop = entry[0]()
        if loop is None or not loop.is_running():
            if entry in _loops:
                _loops.remove(entry)
                _abandon(entry[1])


def _fail_inherited():
    # In a forked child: what was under way belongs to the parent; whoever waits for it here is told so.
    global _orphanage, _main_thread
    _main_thread = PyThread_get_thread_ident()
    inherited = list(_pinned)
    _pinned.clear()
    _orphanage = None
    _loops.clear()
    _threads.__dict__.clear()
    for request in inherited:
        try:
            (<Request>request).forked()
        except Exception:  # a loop in debug mode refuses what comes from another thread; its own is gone here
            pass
