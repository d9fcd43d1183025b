/* The request state machine: every cell against an expectation written out here a second time, then walks.
 *
 * The expectation is by state and by what the wire, the consumer and the clock can do in it, not a copy of the table:
 * a cell that is changed by mistake in machine.c differs from what is said here.
 */
#include "engine/machine.h"
#include "support/check.h"

#define CELL(state, event) ((state) * CML_EVENTS + (event))
static uint8_t expected[CML_STATES * CML_EVENTS]; /* all CML_BUG at first */

static void s_in(enum cml_state state, enum cml_event event, enum cml_action action) {
    expected[CELL(state, event)] = (uint8_t)action;
}

/* What needs a stream: only these four states have one. */
static void s_expect_wire(void) {
    s_in(CML_QUEUED, CML_ON_CONNECTION, CML_SEND);
    s_in(CML_QUEUED, CML_ON_UNREACHABLE, CML_RETRY);
    s_in(CML_SENT, CML_ON_HEADERS, CML_JUDGE);
    s_in(CML_SENT, CML_ON_END, CML_RETRY); /* an end without headers */
    s_in(CML_SENT, CML_ON_BROKEN, CML_RETRY);
    s_in(CML_BODY, CML_ON_DATA, CML_DELIVER);
    s_in(CML_BODY, CML_ON_END, CML_CONCLUDE);
    s_in(CML_BODY, CML_ON_BROKEN, CML_RETRY);
    s_in(CML_BODY, CML_ON_FULL, CML_PAUSE);
    s_in(CML_PAUSED, CML_ON_DATA, CML_DELIVER); /* what was on its way */
    s_in(CML_PAUSED, CML_ON_END, CML_CONCLUDE);
    s_in(CML_PAUSED, CML_ON_BROKEN, CML_PARK);
    s_in(CML_PAUSED, CML_ON_FULL, CML_IGNORE);
    s_in(CML_PAUSED, CML_ON_EVICT, CML_EVICT);
    s_in(CML_ABORTING, CML_ON_HEADERS, CML_IGNORE);
    s_in(CML_ABORTING, CML_ON_DATA, CML_IGNORE);
    s_in(CML_ABORTING, CML_ON_FULL, CML_IGNORE);
    s_in(CML_ABORTING, CML_ON_END, CML_SETTLE);
    s_in(CML_ABORTING, CML_ON_BROKEN, CML_SETTLE);
}

static void s_expect_calls(void) {
    s_in(CML_NEW, CML_ON_SUBMIT, CML_PREPARE);
    s_in(CML_CREDENTIALS, CML_ON_CREDENTIALS, CML_ENQUEUE);
    s_in(CML_CREDENTIALS, CML_ON_NO_CREDENTIALS, CML_FAIL);
    s_in(CML_PACED, CML_ON_SLOT, CML_ENQUEUE);
    for (int state = CML_PACED; state < CML_DONE; ++state) { /* news of credentials that come late */
        s_in(state, CML_ON_CREDENTIALS, CML_IGNORE);
        s_in(state, CML_ON_NO_CREDENTIALS, CML_IGNORE);
    }
    for (int state = CML_NEW; state < CML_DONE; ++state) {
        s_in(state, CML_ON_FEED, CML_NOTE); /* room is remembered wherever nothing waits for it */
    }
    s_in(CML_BODY, CML_ON_FEED, CML_OPEN);
    s_in(CML_PAUSED, CML_ON_FEED, CML_OPEN);
    s_in(CML_PARKED, CML_ON_FEED, CML_RESUME);
    static const enum cml_state evicted_in_vain[] = {CML_PACED,  CML_QUEUED,  CML_SENT,    CML_BODY,
                                                     CML_PARKED, CML_BACKOFF, CML_ABORTING};
    for (size_t i = 0; i < sizeof(evicted_in_vain) / sizeof(evicted_in_vain[0]); ++i) {
        s_in(evicted_in_vain[i], CML_ON_EVICT, CML_IGNORE);
    }
}

static void s_expect_endings(void) {
    s_in(CML_BACKOFF, CML_ON_TIMER, CML_PREPARE);
    for (int state = CML_NEW; state < CML_DONE; ++state) {
        bool streams = state == CML_SENT || state == CML_BODY || state == CML_PAUSED;
        s_in(state, CML_ON_EXIT, CML_FAIL);
        s_in(state, CML_ON_CANCEL, streams ? CML_ABORT : CML_FAIL);
        s_in(state, CML_ON_DEADLINE, streams ? CML_ABORT : CML_FAIL);
    }
    s_in(CML_NEW, CML_ON_DEADLINE, CML_BUG); /* its clock has not started */
    s_in(CML_ABORTING, CML_ON_CANCEL, CML_DOOM);
    s_in(CML_ABORTING, CML_ON_DEADLINE, CML_IGNORE);
    for (int event = 0; event < CML_EVENTS; ++event) {
        s_in(CML_DONE, event, CML_IGNORE);
    }
}

static void test_cells(void) {
    section("every cell of states x events");
    s_expect_wire();
    s_expect_calls();
    s_expect_endings();
    for (int state = 0; state < CML_STATES; ++state) {
        for (int event = 0; event < CML_EVENTS; ++event) {
            if (cml_machine_action(state, event) != expected[CELL(state, event)]) {
                fprintf(stderr, "state %s, event %d:\n", cml_state_name(state), event);
            }
            CHECK_EQ(cml_machine_action(state, event), expected[CELL(state, event)]);
        }
    }
}

static bool s_stays(enum cml_action action) {
    return action == CML_BUG || action == CML_IGNORE || action == CML_NOTE || action == CML_DOOM;
}

/* The first state an action may end in, counted from a random one; CML_STATES if it leads nowhere. */
static enum cml_state s_follow(enum cml_state from, enum cml_action action, uint64_t *seed) {
    uint64_t start = check_random(seed) % CML_STATES;
    for (uint64_t i = 0; i < CML_STATES; ++i) {
        enum cml_state to = (enum cml_state)((start + i) % CML_STATES);
        if (cml_machine_allows(from, action, to)) {
            return to;
        }
    }
    return CML_STATES;
}

static void test_allows(void) {
    section("no action leaves DONE, every action leads somewhere, those that stay stay");
    for (int state = 0; state < CML_STATES; ++state) {
        for (int event = 0; event < CML_EVENTS; ++event) {
            enum cml_action action = cml_machine_action(state, event);
            int ways = 0;
            for (int to = 0; to < CML_STATES; ++to) {
                bool allowed = cml_machine_allows(state, action, to);
                ways += allowed;
                CHECK(!allowed || state != CML_DONE || to == CML_DONE);
                CHECK(!s_stays(action) || allowed == (state == to));
                CHECK(!allowed || to != CML_NEW || state == CML_NEW); /* nothing goes back to the start */
            }
            CHECK(ways > 0);
        }
    }
    for (int from = 0; from < CML_STATES; ++from) { /* FAIL has one meaning */
        for (int to = 0; to < CML_STATES; ++to) {
            CHECK_EQ(cml_machine_allows(from, CML_FAIL, to), to == CML_DONE);
        }
    }
}

/* The streams that an abort waits for do end: after CANCEL the wire says END or BROKEN, and that has to be terminal. */
static void test_each_state_ends(void) {
    section("EXIT ends every state at once; CANCEL ends it, or with the end of its stream");
    for (int state = 0; state < CML_DONE; ++state) {
        CHECK_EQ(cml_machine_action(state, CML_ON_EXIT), CML_FAIL);
        enum cml_action action = cml_machine_action(state, CML_ON_CANCEL);
        if (action == CML_FAIL) {
            continue;
        }
        CHECK(action == CML_ABORT || action == CML_DOOM);
        enum cml_state then = action == CML_ABORT ? CML_ABORTING : (enum cml_state)state;
        CHECK(cml_machine_allows(state, action, then));
        CHECK_EQ(then, CML_ABORTING);
        for (int event = CML_ON_END; event <= CML_ON_BROKEN; ++event) {
            CHECK_EQ(cml_machine_action(then, event), CML_SETTLE);
            CHECK(cml_machine_allows(then, CML_SETTLE, CML_DONE));
        }
    }
    CHECK(strcmp(cml_state_name(CML_DONE), "done") == 0);
    CHECK(strcmp(cml_state_name(CML_STATES), "?") == 0);
}

/* One life of random events. Returns how often DONE was entered. */
static int s_walk(uint64_t *seed, int steps) {
    enum cml_state state = CML_NEW;
    int ends = 0;
    for (int i = 0; i < steps; ++i) {
        enum cml_event event = (enum cml_event)(check_random(seed) % CML_EVENTS);
        enum cml_action action = cml_machine_action(state, event);
        enum cml_state next = s_follow(state, action, seed);
        if (next == CML_STATES) {
            CHECK(!"a step leads nowhere");
            break;
        }
        CHECK(state != CML_DONE || next == CML_DONE);
        ends += next == CML_DONE && state != CML_DONE;
        state = next;
    }
    if (state != CML_DONE) {
        enum cml_action action = cml_machine_action(state, CML_ON_EXIT);
        ends += s_follow(state, action, seed) == CML_DONE;
    }
    return ends;
}

static void test_walks(void) {
    section("random walks enter DONE exactly once and never leave it");
    uint64_t seed = 88172645463325252ull;
    for (int walk = 0; walk < 20000; ++walk) {
        CHECK_EQ(s_walk(&seed, 5 + walk % 60), 1);
    }
}

/* Which states follow which, found by search: a state that no path reaches would be dead code. */
static void test_reachable(void) {
    section("every state is reached from NEW by events that can happen");
    bool reached[CML_STATES] = {[CML_NEW] = true};
    for (int round = 0; round < CML_STATES; ++round) {
        for (int cell = 0; cell < CML_STATES * CML_EVENTS; ++cell) {
            int state = cell / CML_EVENTS;
            enum cml_action action = cml_machine_action(state, cell % CML_EVENTS);
            for (int to = 0; reached[state] && to < CML_STATES; ++to) {
                reached[to] = reached[to] || cml_machine_allows(state, action, to);
            }
        }
    }
    for (int state = 0; state < CML_STATES; ++state) {
        CHECK(reached[state]);
    }
}

/* Credentials may be gone again before the request that was told of them looks: it has to be able to wait anew. */
static void test_waits_for_credentials_again(void) {
    section("news of credentials may lead back to waiting for them");
    CHECK(cml_machine_allows(CML_CREDENTIALS, CML_ENQUEUE, CML_CREDENTIALS));
    CHECK(cml_machine_allows(CML_QUEUED, CML_SEND, CML_CREDENTIALS));
    CHECK(cml_machine_allows(CML_BACKOFF, CML_PREPARE, CML_CREDENTIALS));
    CHECK(cml_machine_allows(CML_PARKED, CML_RESUME, CML_CREDENTIALS));
}

/* The window may have shrunk since a request was given a connection: it has to be able to wait for its turn. */
static void test_waits_for_a_slot(void) {
    section("whatever leads to the queue for a connection may lead to waiting for a turn");
    CHECK(cml_machine_allows(CML_NEW, CML_PREPARE, CML_PACED));
    CHECK(cml_machine_allows(CML_CREDENTIALS, CML_ENQUEUE, CML_PACED));
    CHECK(cml_machine_allows(CML_QUEUED, CML_SEND, CML_PACED));
    CHECK(cml_machine_allows(CML_PARKED, CML_RESUME, CML_PACED));
    CHECK(cml_machine_allows(CML_PACED, CML_ENQUEUE, CML_CREDENTIALS));
}

int main(void) {
    test_cells();
    test_allows();
    test_each_state_ends();
    test_walks();
    test_reachable();
    test_waits_for_credentials_again();
    test_waits_for_a_slot();
    return check_report();
}
