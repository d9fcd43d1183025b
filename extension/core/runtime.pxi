# The runtime as Python sees it: settings, lazy start, fork and exit. All under the GIL.
#
# Fork: the child forgets the parent's runtime and whatever was under way on it; requests that were pending there fail
# in the child (the parent goes on with its own). Exit: requests under way are ended, and we wait at most a second.
# Threads that are left then are daemons, and what goes wrong in them would be printed while the interpreter goes away:
# their calls end them with SystemExit, which threading ignores, and their event loops hear nothing more.

cdef dict _settings = {"threads": 0, "connections": 0, "memory_bytes": 0}
cdef bint _exiting = False


cdef int _ensure_runtime() except -1:
    cdef cml_runtime_options options
    cdef int error
    if cml_runtime_running():
        return 0
    _refuse_at_exit()
    options.threads = _settings["threads"] or _default_threads()
    options.max_connections = _settings["connections"] or _default_connections()
    if _settings["memory_bytes"]:
        cml_pool_set_limit(_settings["memory_bytes"])
    error = cml_runtime_start(&options)
    if error != 0:
        raise OSError(f"cannot start the event loops: {aws_error_str(error).decode()} "
                      f"(most often: too many open files; see `ulimit -n`)")
    return 0


cdef int _default_threads():
    # One loop moves several GB/s and tens of thousands of small requests a second; a second helps TLS.
    return max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


cdef int _default_connections():
    # Half of what the process may open: files, the caller's own sockets and the loops need theirs.
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return 1024
    return max(8, min(1024, soft // 2))


def configure(*, threads=None, connections=None, memory_bytes=None):
    """Set the process's budget. See `cumulo.runtime.configure`."""
    cdef dict given = {"threads": threads, "connections": connections, "memory_bytes": memory_bytes}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive integer, not {value!r}")
        if value > (sys.maxsize if name == "memory_bytes" else 0x7fffffff):
            raise ValueError(f"{name} is larger than anything it could count: {value}")
    if cml_runtime_running() and (threads is not None or connections is not None):
        raise RuntimeError("threads and connections can only be set before the first transfer")
    _settings.update(given)
    if memory_bytes is not None:
        cml_pool_set_limit(memory_bytes)


def runtime_stats():
    """What the runtime holds now: threads, connections, buffer bytes."""
    cdef cml_pool_stats_t pool
    cdef cml_lane_stats pace
    cml_pool_stats(&pool)
    cml_runtime_pace(&pace)
    return {
        "threads": cml_runtime_threads(),
        "connections": cml_runtime_connections(),
        "requests": cml_live_get(CML_LIVE_REQUESTS),
        "in_flight": pace.in_flight,
        "paced": pace.waiting,
        "windows": pace.window,
        "buffer_bytes": pool.in_use_bytes,
        "idle_buffer_bytes": pool.idle_bytes,
        "memory_bytes": pool.limit_bytes,
    }


def live_objects():
    """Counts of native objects that are alive, for leak checks. What has ended unseen on this thread is not."""
    _find_orphans(len(_loops))
    _thread_queue().drain()
    return {
        "requests": cml_live_get(CML_LIVE_REQUESTS),
        "buffers": cml_live_get(CML_LIVE_BUFFERS),
        "columns": cml_live_get(CML_LIVE_COLUMNS),
        "arrays": cml_live_get(CML_LIVE_ARRAYS),
    }


def generation():
    """A number that changes in a forked child."""
    return cml_runtime_generation()


cdef list _fork_hooks = []


def after_fork(hook):
    """Call this in forked children, before anybody there is told that a request was the parent's."""
    _fork_hooks.append(hook)


def _after_fork_in_child():
    _forget_log_thread()
    for hook in _fork_hooks:
        hook()
    _fail_inherited()


cdef int _refuse_at_exit() except -1:
    if _exiting:
        _end_daemon()
        raise RuntimeError("the interpreter is exiting: no new transfers")
    return 0


cdef bint _in_daemon():
    return threading.get_ident() != threading.main_thread().ident


cdef int _end_daemon() except -1:
    if _in_daemon():
        raise SystemExit("the interpreter is exiting")
    return 0


def _at_exit():
    global _exiting
    _exiting = True
    if cml_runtime_running():
        with nogil:
            cml_runtime_quiesce(1000)
