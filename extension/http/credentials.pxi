# `Credentials`: where a client's requests find the keys they are signed with. A refresher
# publishes; requests read.
#
# The engine asks for fresh keys by pushing a source's node onto the refresher's queue. It may do so
# at any time while a request is under way, so a client keeps its `Credentials`; and the node names
# its source by number, not by address: a wish that comes late is nobody's. All under the GIL.

cdef object _sources = weakref.WeakValueDictionary()  # number -> Credentials
cdef size_t _last_source = 0


cdef class Credentials:
    """Where a client's requests find the keys they are signed with.

    With a queue, the engine asks there for keys when it has none, or old ones (see `take_wanted`).
    A forked child makes its own: a thread of its parent may have held the lock inside.
    """

    cdef cml_credentials *c
    cdef readonly uint64_t generation
    cdef public object owner  # what the refresher keeps with it
    cdef object __weakref__

    def __cinit__(self, Queue wanted=None):
        global _last_source
        self.generation = cml_runtime_generation()
        _last_source += 1
        self.c = cml_credentials_new(wanted.c if wanted is not None else NULL, <void *>_last_source)
        if self.c == NULL:
            raise MemoryError()
        _sources[_last_source] = self

    def __dealloc__(self):
        cml_credentials_release(self.c)

    cdef int check_generation(self) except -1:
        if self.generation != cml_runtime_generation():
            raise RuntimeError("these credentials were made before a fork")
        return 0

    def publish(self, access_key_id, secret_access_key="", session_token=None, *, expires_ms=0,
                refresh_ms=0):
        """New keys; an access key of None means anonymous. Times are Unix ms, 0 for never."""
        cdef list kept = []
        self.check_generation()
        cml_credentials_publish(self.c, _text(access_key_id, kept), _text(secret_access_key, kept),
                                _text(session_token, kept), expires_ms, refresh_ms)

    def publish_token(self, token not None, *, expires_ms=0, refresh_ms=0):
        """A new bearer token, or a query that carries the right itself."""
        self.publish("-", "-", token, expires_ms=expires_ms, refresh_ms=refresh_ms)

    def publish_failure(self, message):
        """No keys could be had: what waits fails with this message."""
        cdef list kept = []
        self.check_generation()
        cml_credentials_publish_failure(self.c, _text(message, kept))

    def failure(self):
        """The message of the last failure."""
        cdef char text[512]
        if self.generation != cml_runtime_generation():
            return ""
        cml_credentials_failure(self.c, text, sizeof(text))
        return text.decode("utf-8", "replace")


def take_wanted(Queue queue not None):
    """The sources that ask for fresh keys, each once: for the refresher when its queue wakes it."""
    cdef cml_node *node = cml_queue_take_all(queue.c)
    cdef cml_node *following
    cdef list numbers = []
    while node != NULL:
        following = node.next
        numbers.append(<size_t>cml_credentials_user_data_of_node(node))  # gives up its reference
        node = following
    found = [_sources.get(number) for number in numbers]
    return [source for source in found
            if source is not None and (<Credentials>source).generation == cml_runtime_generation()]
