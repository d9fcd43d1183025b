/* The life of a request as a table: in each state, what each event does and which states may follow.
 *
 * Pure: no I/O, no memory, no threads. request.c and receive.c carry the actions out, always on the loop of the request's
 * shard; tests/native/test_machine.c drives every cell. DONE is the one terminal state: it is entered once and absorbs all.
 *
 *             SUBMIT  CREDS   NOCREDS SLOT    CONN UNREACH HEADERS DATA    END      BROKEN FEED   FULL  EVICT TIMER   DEADLINE CANCEL EXIT
 * NEW         prepare .       .       .       .    .       .       .       .        .      note   .     .     .       .        fail   fail
 * CREDENTIALS .       enqueue fail    .       .    .       .       .       .        .      note   .     .     .       fail     fail   fail
 * PACED       .       -       -       enqueue .    .       .       .       .        .      note   .     -     .       fail     fail   fail
 * QUEUED      .       -       -       .       send retry   .       .       .        .      note   .     -     .       fail     fail   fail
 * SENT        .       -       -       .       .    .       judge   .       retry    retry  note   .     -     .       abort    abort  fail
 * BODY        .       -       -       .       .    .       .       deliver conclude retry  open   pause -     .       abort    abort  fail
 * PAUSED      .       -       -       .       .    .       .       deliver conclude park   open   -     evict .       abort    abort  fail
 * PARKED      .       -       -       .       .    .       .       .       .        .      resume .     -     .       fail     fail   fail
 * BACKOFF     .       -       -       .       .    .       .       .       .        .      note   .     -     prepare fail     fail   fail
 * ABORTING    .       -       -       .       .    .       -       -       settle   settle note   -     -     .       -        doom   fail
 * DONE        -       -       -       -       -    -       -       -       -        -      -      -     -     -       -        -      -
 *
 *   .  cannot happen (a bug: asserted in debug builds, ignored in release)      -  happens and means nothing here
 *
 * prepare   see to credentials, pace, then queue for a connection   judge     look at status and headers
 * enqueue   the same, with what was waited for                      deliver   write body bytes where they belong
 * send      sign and write the request on the connection            conclude  check the whole response, finish or retry
 * retry     back off and go again, or fail when that is no use      pause     the consumer has no room: stop reading
 * park      give up the connection; go on when there is room        open      the consumer made room: read on
 * evict     abort the stream so as to park                          resume    ask for the rest, if all before has room
 * abort     stop the stream, remember why                           settle    the aborted stream is gone: retry, park or fail
 * doom      a cancel while aborting: no retry after it              note      remember the room for later
 * fail      terminal, with the pending error
 */
#ifndef CML_MACHINE_H
#define CML_MACHINE_H

#include "cml.h"

enum cml_state {
    CML_NEW,
    CML_CREDENTIALS,
    CML_PACED,
    CML_QUEUED,
    CML_SENT,
    CML_BODY,
    CML_PAUSED,
    CML_PARKED,
    CML_BACKOFF,
    CML_ABORTING,
    CML_DONE,
    CML_STATES
};

enum cml_event {
    CML_ON_SUBMIT,
    CML_ON_CREDENTIALS,
    CML_ON_NO_CREDENTIALS,
    CML_ON_SLOT,
    CML_ON_CONNECTION,
    CML_ON_UNREACHABLE,
    CML_ON_HEADERS,
    CML_ON_DATA,
    CML_ON_END,
    CML_ON_BROKEN,
    CML_ON_FEED,
    CML_ON_FULL,
    CML_ON_EVICT,
    CML_ON_TIMER,
    CML_ON_DEADLINE,
    CML_ON_CANCEL,
    CML_ON_EXIT,
    CML_EVENTS
};

enum cml_action {
    CML_BUG,
    CML_IGNORE,
    CML_PREPARE,
    CML_ENQUEUE,
    CML_SEND,
    CML_JUDGE,
    CML_DELIVER,
    CML_CONCLUDE,
    CML_RETRY,
    CML_PARK,
    CML_EVICT,
    CML_ABORT,
    CML_SETTLE,
    CML_DOOM,
    CML_NOTE,
    CML_OPEN,
    CML_PAUSE,
    CML_RESUME,
    CML_FAIL,
    CML_ACTIONS
};

enum cml_action cml_machine_action(enum cml_state state, enum cml_event event);

/* Whether the action may lead from one state to another; request.c asserts it after each step. */
bool cml_machine_allows(enum cml_state from, enum cml_action action, enum cml_state to);

const char *cml_state_name(enum cml_state state);

#endif
