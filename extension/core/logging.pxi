# Log lines of the engine and the CRT, handed to Python's `logging` by a thread that exists only while that is wanted.

cdef object _log_thread = None


class _LogThread(threading.Thread):
    def __init__(self, int level, logger):
        super().__init__(name="cumulo-log", daemon=True)
        self.queue = Queue()
        self.logger = logger
        self.stopping = False
        _set_log_reader(level, self.queue)

    def run(self):
        while not self.stopping:
            (<Queue>self.queue).wait_poke(500)
            _forward_lines(self.logger)
        _forward_lines(self.logger)


cdef int _set_log_reader(int level, Queue queue) except -1:
    cml_log_set(level, queue.c if queue is not None else NULL)
    return 0


cdef int _forward_lines(logger) except -1:
    cdef cml_log_line line
    cdef uint64_t dropped = 0
    while cml_log_take(&line, &dropped):
        logger.log(40 if line.level <= 2 else 30 if line.level == 3 else 20 if line.level == 4 else 10, "%s",
                   (<bytes>line.text).decode("utf-8", "replace"))
    if dropped:
        logger.warning("%d log lines were dropped: they came faster than they could be handled", dropped)
    return 0


def enable_logging(int level, logger):
    """Forward lines of `logging` level `level` and above to `logger`; a level of 0 stops it."""
    global _log_thread
    old, _log_thread = _log_thread, None
    if old is not None:
        _set_log_reader(0, None)
        old.stopping = True
        old.queue.poke()
        if old.is_alive() and old is not threading.current_thread():
            old.join(2)
    if level > 0:
        _log_thread = _LogThread(2 if level >= 40 else 3 if level >= 30 else 4 if level >= 20 else 5, logger)
        _log_thread.start()


def _forget_log_thread():
    global _log_thread
    _log_thread = None  # in a forked child it is the parent's; logging there has to be enabled anew
