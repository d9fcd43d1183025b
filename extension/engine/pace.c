#include "pace.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

/* ---- making and sharing ---- */

static struct cml_pace *s_new(const char *key) {
    struct cml_pace *pace = calloc(1, sizeof(*pace));
    pace->refs = 1;
    pace->runtime = cml_runtime;
    pace->key = strdup(key);
    for (int i = 0; i < 2; ++i) {
        pthread_mutex_init(&pace->lanes[i].lock, NULL);
        cml_link_init(&pace->lanes[i].waiting);
    }
    return pace;
}

struct cml_pace *cml_pace_get(const char *key) {
    struct cml_runtime *runtime = cml_runtime;
    pthread_mutex_lock(&runtime->endpoints_lock);
    struct cml_pace *pace = runtime->paces;
    while (pace != NULL && strcmp(pace->key, key) != 0) {
        pace = pace->next;
    }
    if (pace != NULL) {
        pace->refs++;
    } else {
        pace = s_new(key);
        pace->next = runtime->paces;
        runtime->paces = pace;
    }
    pthread_mutex_unlock(&runtime->endpoints_lock);
    return pace;
}

static void s_destroy(struct cml_pace *pace) {
    for (int i = 0; i < 2; ++i) {
        pthread_mutex_destroy(&pace->lanes[i].lock);
    }
    free(pace->key);
    free(pace);
}

void cml_pace_release(struct cml_pace *pace) {
    struct cml_runtime *runtime = pace->runtime;
    pthread_mutex_lock(&runtime->endpoints_lock);
    bool last = --pace->refs == 0;
    if (last) {
        struct cml_pace **link = &runtime->paces;
        while (*link != pace) {
            link = &(*link)->next;
        }
        *link = pace->next;
    }
    pthread_mutex_unlock(&runtime->endpoints_lock);
    if (last) {
        s_destroy(pace);
    }
}

static bool s_writes(const struct cml_request *request) {
    return !request->is_head && strcmp(request->method, "GET") != 0;
}

static struct cml_lane *s_lane_of(const struct cml_request *request) {
    return &request->client->pace->lanes[s_writes(request)];
}

/* ---- slots; all under the lane's lock ---- */

static enum cml_slot s_slot(struct cml_request *request) {
    return (enum cml_slot)atomic_load_explicit(&request->slot, memory_order_relaxed);
}

static void s_set_slot(struct cml_request *request, enum cml_slot slot) {
    atomic_store_explicit(&request->slot, (int)slot, memory_order_relaxed);
}

static bool s_has_slot_free(const struct cml_lane *lane) {
    return lane->window == 0 || lane->held + 1 <= lane->window;
}

static struct cml_request *s_of_link(struct cml_link *link) {
    return CML_CONTAINER_OF(link, struct cml_request, pace_link);
}

/* In order of submission. New requests belong at the end and retries near the front: looked for from both sides. */
static void s_wait(struct cml_lane *lane, struct cml_request *request) {
    struct cml_link *before = lane->waiting.next, *after = lane->waiting.prev;
    for (; before != &lane->waiting; before = before->next, after = after->prev) {
        if (s_of_link(after)->started_ns <= request->started_ns) {
            before = after->next;
            break;
        }
        if (s_of_link(before)->started_ns > request->started_ns) {
            break;
        }
    }
    cml_link_push_back(before, &request->pace_link);
    lane->waiting_count++;
    s_set_slot(request, CML_SLOT_WAITING);
}

/* A request in line is alive: it leaves the line, under this lock, before it ends. Its loop hears of it by mail. */
static void s_hand_out(struct cml_lane *lane) {
    while (lane->waiting_count > 0 && s_has_slot_free(lane)) {
        struct cml_request *first = s_of_link(lane->waiting.next);
        cml_link_remove(&first->pace_link);
        lane->waiting_count--;
        lane->held++;
        s_set_slot(first, CML_SLOT_HELD);
        cml_shard_post(first, CML_MSG_SLOT);
    }
}

/* ---- taking and giving back ---- */

bool cml_pace_enter(struct cml_request *request) {
    struct cml_lane *lane = s_lane_of(request);
    pthread_mutex_lock(&lane->lock);
    /* Without a limit the slot is only taken when it is sent: what waits for a connection is not in flight. */
    if (s_slot(request) == CML_SLOT_NONE && lane->window != 0) {
        if (s_has_slot_free(lane)) {
            lane->held++;
            s_set_slot(request, CML_SLOT_HELD);
        } else {
            s_wait(lane, request);
        }
    }
    bool entered = s_slot(request) != CML_SLOT_WAITING;
    pthread_mutex_unlock(&lane->lock);
    return entered;
}

bool cml_pace_send(struct cml_request *request) {
    struct cml_lane *lane = s_lane_of(request);
    pthread_mutex_lock(&lane->lock);
    bool held = s_slot(request) == CML_SLOT_HELD;
    bool goes = held || s_has_slot_free(lane);
    if (goes) {
        lane->held += held ? 0 : 1;
        lane->sent++;
        lane->peak = lane->sent > lane->peak ? lane->sent : lane->peak;
        request->pace_epoch = lane->epoch;
        s_set_slot(request, CML_SLOT_SENT);
    } else {
        s_wait(lane, request);
    }
    pthread_mutex_unlock(&lane->lock);
    return goes;
}

void cml_pace_leave(struct cml_request *request) {
    if (s_slot(request) == CML_SLOT_NONE) { /* only its own loop, this one, changes that */
        return;
    }
    struct cml_lane *lane = s_lane_of(request);
    pthread_mutex_lock(&lane->lock);
    if (s_slot(request) == CML_SLOT_WAITING) {
        cml_link_remove(&request->pace_link);
        lane->waiting_count--;
    } else {
        lane->sent -= s_slot(request) == CML_SLOT_SENT;
        lane->held--;
    }
    s_set_slot(request, CML_SLOT_NONE);
    s_hand_out(lane);
    pthread_mutex_unlock(&lane->lock);
}

bool cml_pace_is_short(struct cml_request *request) {
    struct cml_lane *lane = s_lane_of(request);
    pthread_mutex_lock(&lane->lock);
    bool is_short = lane->waiting_count > 0 || !s_has_slot_free(lane);
    pthread_mutex_unlock(&lane->lock);
    return is_short;
}

/* ---- the window ---- */

/* It grows while it is what holds requests back; not beyond what has been on the wire, since nothing would have shown
 * that the server bears more. */
void cml_pace_good(struct cml_request *request) {
    struct cml_lane *lane = s_lane_of(request);
    pthread_mutex_lock(&lane->lock);
    if (lane->window != 0 && lane->waiting_count > 0 && lane->window < lane->peak + 1) {
        lane->window += 1 / lane->window;
        s_hand_out(lane);
    }
    pthread_mutex_unlock(&lane->lock);
}

void cml_pace_throttled(struct cml_request *request) {
    struct cml_lane *lane = s_lane_of(request);
    atomic_fetch_add_explicit(&request->client->throttled, 1, memory_order_relaxed);
    pthread_mutex_lock(&lane->lock);
    bool first = lane->window == 0, news = request->pace_epoch == lane->epoch;
    double most = first || lane->peak < lane->window ? lane->peak : lane->window;
    if (news) { /* else it was sent before the last cut: it says nothing about the window there is now */
        lane->window = most >= 2 ? most / 2 : 1;
        lane->epoch++;
        lane->peak = lane->sent;
    }
    double window = lane->window;
    uint32_t waiting = lane->waiting_count;
    pthread_mutex_unlock(&lane->lock);
    if (news) {
        CML_LOG(first ? CML_LOG_WARN : CML_LOG_INFO,
                "%s: throttled, status %d, with %u %s in flight: at most %u from here on, %u wait",
                request->client->pace->key, request->current.status, (unsigned)most,
                s_writes(request) ? "writes" : "reads", (unsigned)window, waiting);
    }
}

/* ---- what there is to see ---- */

static struct cml_lane_stats s_stats(struct cml_lane *lane) {
    pthread_mutex_lock(&lane->lock);
    struct cml_lane_stats stats = {
        .window = (uint32_t)lane->window, .in_flight = lane->sent, .waiting = lane->waiting_count};
    pthread_mutex_unlock(&lane->lock);
    return stats;
}

void cml_client_pace(struct cml_client *client, struct cml_lane_stats out[2]) {
    out[0] = s_stats(&client->pace->lanes[0]);
    out[1] = s_stats(&client->pace->lanes[1]);
}

void cml_runtime_pace(struct cml_lane_stats *out) {
    struct cml_runtime *runtime = cml_runtime;
    memset(out, 0, sizeof(*out));
    if (runtime == NULL) {
        return;
    }
    pthread_mutex_lock(&runtime->endpoints_lock);
    for (struct cml_pace *pace = runtime->paces; pace != NULL; pace = pace->next) {
        for (int i = 0; i < 2; ++i) {
            struct cml_lane_stats lane = s_stats(&pace->lanes[i]);
            out->window += lane.window != 0;
            out->in_flight += lane.in_flight;
            out->waiting += lane.waiting;
        }
    }
    pthread_mutex_unlock(&runtime->endpoints_lock);
}
