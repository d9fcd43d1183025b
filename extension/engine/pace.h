/* Pacing: how many requests may be in flight at a server that asks to slow down.
 *
 * One pace for each (endpoint, bucket), shared by all clients of the process that name it by the same key; in it a lane
 * for reads and one for writes. A lane has no limit until the server throttles. Then it has a window: halved by a
 * throttling answer, at most once for all that was in flight when it was halved, and grown by one for each window of
 * good answers. Only throttling answers shrink it.
 *
 * A request holds a slot of its lane from its turn until its attempt ends, fails or is paused by its consumer. Who finds
 * none waits in the lane, oldest first, without a connection; any thread that gives a slot back hands it to the first
 * in line. The window is never below one, and a slot is only held by what the network or a time limit will end, so
 * those who wait always get their turn.
 *
 * Loops call all of it; a lane's fields are under its lock. docs/design/pacing.md has the reasons.
 */
#ifndef CML_PACE_H
#define CML_PACE_H

#include "internal.h"

enum cml_slot { CML_SLOT_NONE, CML_SLOT_WAITING, CML_SLOT_HELD, CML_SLOT_SENT };

struct cml_lane { /* all of it under lock */
    pthread_mutex_t lock;
    double window;       /* slots there are; 0 while the server has never throttled */
    uint32_t held, sent; /* slots taken; of these, by requests that are on the wire */
    uint32_t peak;       /* most on the wire since the window was last cut */
    uint64_t epoch;      /* how often it was cut */
    struct cml_link waiting; /* requests, by when they were submitted */
    uint32_t waiting_count;
};

struct cml_pace {
    int refs; /* under the runtime's endpoints_lock, like next */
    struct cml_pace *next;
    struct cml_runtime *runtime;
    char *key;
    struct cml_lane lanes[2]; /* [1] for what writes */
};

struct cml_pace *cml_pace_get(const char *key);
void cml_pace_release(struct cml_pace *pace);

/* loop thread: */
/* Before the wait for a connection. False: it waits in its lane, and CML_MSG_SLOT will come. */
bool cml_pace_enter(struct cml_request *request);
/* Before it goes over the wire; the same. */
bool cml_pace_send(struct cml_request *request);
void cml_pace_leave(struct cml_request *request); /* whatever it holds or waits for */
bool cml_pace_is_short(struct cml_request *request); /* somebody waits for a slot, or would have to */
void cml_pace_good(struct cml_request *request);  /* the server has answered, and not to slow down */
void cml_pace_throttled(struct cml_request *request);

#endif
