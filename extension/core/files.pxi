# Files on local disks: read straight into pooled memory, and moved without overwriting. Any thread; the GIL is given up
# while the kernel works. Nothing here outlives its call.

from posix.unistd cimport pread

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <stdio.h>
    #include <unistd.h>
    #if defined(__linux__)
    #include <sys/syscall.h>
    #endif

    static int cml_rename_new(int from_dir, const char *from, int to_dir, const char *to) {
    #if defined(__linux__) && defined(SYS_renameat2)
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 1u); /* RENAME_NOREPLACE */
    #elif defined(__APPLE__)
        return renameatx_np(from_dir, from, to_dir, to, 4u); /* RENAME_EXCL */
    #else
        (void)from_dir; (void)from; (void)to_dir; (void)to;
        errno = ENOSYS;
        return -1;
    #endif
    }

    """
    int cml_rename_new(int from_dir, const char *source, int to_dir, const char *target) nogil

cdef enum:
    _READ_STEP_BYTES = 16 << 20  # signals are looked at after each: a few milliseconds


def read_file(int fd, int64_t offset, Py_ssize_t length):
    """Bytes `offset` to `offset + length` of a file, fewer where it ends before. Raises `OSError`."""
    cdef cml_buffer *buffer
    cdef size_t got = 0
    cdef ssize_t step
    cdef int failure = 0
    if length <= 0:
        return Bytes(b"")
    buffer = _new_buffer(length)
    try:
        while got < <size_t>length:
            with nogil:
                step = pread(fd, buffer.data + got, min(<size_t>length - got, <size_t>_READ_STEP_BYTES), offset + got)
                failure = errno if step < 0 else 0
            PyErr_CheckSignals()
            if failure and failure != EINTR:
                raise OSError(failure, os.strerror(failure))
            if step == 0:
                break
            got += step if step > 0 else 0
    except BaseException:
        cml_buffer_release(buffer)
        raise
    return _bytes_of_buffer(buffer, got)


def rename_new(int from_dir, bytes source, int to_dir, bytes target):
    """Rename, unless there is a target: in one step. Raises `OSError`: `EEXIST`, or `ENOSYS` or `EINVAL` where the
    system or file system can't."""
    cdef const char *from_name = source
    cdef const char *to_name = target
    cdef int failure
    with nogil:
        failure = errno if cml_rename_new(from_dir, from_name, to_dir, to_name) != 0 else 0
    if failure:
        raise OSError(failure, os.strerror(failure))
