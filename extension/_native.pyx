# cython: language_level=3, initializedcheck=False, auto_pickle=False
"""The native core of cumulo. Private: use the names in `cumulo`."""

cimport cython
from cpython.buffer cimport (PyBUF_C_CONTIGUOUS, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release,
                             PyObject_CheckBuffer, PyObject_GetBuffer)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals, PyErr_WriteUnraisable
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.number cimport PyNumber_AsSsize_t
from cpython.pythread cimport PyThread_get_thread_ident
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset, strcmp, strlen
from posix.strings cimport strcasecmp

from engine cimport *

import atexit
import binascii
import collections
import os
import resource
import sys
import threading
import weakref


cdef class Request

include "core/buffers.pxi"
include "core/runtime.pxi"
include "core/completions.pxi"
include "core/futures.pxi"
include "core/files.pxi"
include "core/pieces.pxi"
include "core/extents.pxi"
include "core/checksum.pxi"
include "core/logging.pxi"
include "http/credentials.pxi"
include "http/client.pxi"
include "http/response.pxi"
include "http/request.pxi"
include "http/get_range.pxi"
include "http/short_reads.pxi"
include "s3/bulk.pxi"
include "parse/dates.pxi"
include "parse/columns.pxi"
include "parse/reader.pxi"
include "parse/listing.pxi"
include "parse/blobs.pxi"
include "parse/versions.pxi"

cml_runtime_watch_forks()
os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
