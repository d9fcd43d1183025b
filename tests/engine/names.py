"""Names for a child process, without root or a change of the machine: a `getaddrinfo` that reads them in a file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*resolve_fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* A line of the file: a name, then its addresses in order. Each is resolved by libc and the lists are joined;
 * freeaddrinfo copes, since it frees one element after the other. */
static int join(resolve_fn libc, char *addresses, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    struct addrinfo **end = out;
    char *rest = NULL;
    *out = NULL;
    for (char *one = strtok_r(addresses, " \n", &rest); one != NULL; one = strtok_r(NULL, " \n", &rest)) {
        int error = libc(one, service, hints, end);
        if (error != 0) {
            return error;
        }
        while (*end != NULL) {
            end = &(*end)->ai_next;
        }
    }
    return *out != NULL ? 0 : EAI_NONAME;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
    resolve_fn libc = (resolve_fn)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *path = getenv("TEST_NAMES");
    FILE *file = name != NULL && path != NULL ? fopen(path, "r") : NULL;
    char line[1024];
    int result = 1;
    while (result == 1 && file != NULL && fgets(line, sizeof(line), file) != NULL) {
        size_t length = strcspn(line, " ");
        if (strlen(name) == length && memcmp(line, name, length) == 0) {
            result = join(libc, line + length, service, hints, out);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return result == 1 ? libc(name, service, hints, out) : result;
}
"""


class Names:
    """What names mean to processes that are started with `environment`; `set` can change it while they run."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "names"
        self._library = directory / "names.so"
        source = directory / "names.c"
        source.write_text(_SOURCE)
        command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source), "-ldl"]
        subprocess.run(command, check=True)
        self.set({})

    def set(self, names: Mapping[str, Sequence[str]]) -> None:
        """From here on each name has these addresses, in this order."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text("".join(f"{name} {' '.join(addresses)}\n" for name, addresses in names.items()))
        fresh.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of such a process."""
        return {**os.environ, "LD_PRELOAD": str(self._library), "TEST_NAMES": str(self._file)}
