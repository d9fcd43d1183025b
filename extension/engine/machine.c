#include "machine.h"

/* Columns: SUBMIT CREDS NOCREDS SLOT CONN UNREACH HEADERS DATA END BROKEN FEED FULL EVICT TIMER DEADLINE CANCEL EXIT */
#define BUG CML_BUG
#define ign CML_IGNORE
static const uint8_t s_table[CML_STATES][CML_EVENTS] = {
    [CML_NEW] = {CML_PREPARE, BUG, BUG, BUG, BUG, BUG, BUG, BUG, BUG, BUG, CML_NOTE, BUG, BUG, BUG, BUG, CML_FAIL,
                 CML_FAIL},
    [CML_CREDENTIALS] = {BUG, CML_ENQUEUE, CML_FAIL, BUG, BUG, BUG, BUG, BUG, BUG, BUG, CML_NOTE, BUG, BUG, BUG,
                         CML_FAIL, CML_FAIL, CML_FAIL},
    [CML_PACED] = {BUG, ign, ign, CML_ENQUEUE, BUG, BUG, BUG, BUG, BUG, BUG, CML_NOTE, BUG, ign, BUG, CML_FAIL,
                   CML_FAIL, CML_FAIL},
    [CML_QUEUED] = {BUG, ign, ign, BUG, CML_SEND, CML_RETRY, BUG, BUG, BUG, BUG, CML_NOTE, BUG, ign, BUG, CML_FAIL,
                    CML_FAIL, CML_FAIL},
    [CML_SENT] = {BUG, ign, ign, BUG, BUG, BUG, CML_JUDGE, BUG, CML_RETRY, CML_RETRY, CML_NOTE, BUG, ign, BUG,
                  CML_ABORT, CML_ABORT, CML_FAIL},
    [CML_BODY] = {BUG, ign, ign, BUG, BUG, BUG, BUG, CML_DELIVER, CML_CONCLUDE, CML_RETRY, CML_OPEN, CML_PAUSE, ign,
                  BUG, CML_ABORT, CML_ABORT, CML_FAIL},
    [CML_PAUSED] = {BUG, ign, ign, BUG, BUG, BUG, BUG, CML_DELIVER, CML_CONCLUDE, CML_PARK, CML_OPEN, ign, CML_EVICT,
                    BUG, CML_ABORT, CML_ABORT, CML_FAIL},
    [CML_PARKED] = {BUG, ign, ign, BUG, BUG, BUG, BUG, BUG, BUG, BUG, CML_RESUME, BUG, ign, BUG, CML_FAIL, CML_FAIL,
                    CML_FAIL},
    [CML_BACKOFF] = {BUG, ign, ign, BUG, BUG, BUG, BUG, BUG, BUG, BUG, CML_NOTE, BUG, ign, CML_PREPARE, CML_FAIL,
                     CML_FAIL, CML_FAIL},
    [CML_ABORTING] = {BUG, ign, ign, BUG, BUG, BUG, ign, ign, CML_SETTLE, CML_SETTLE, CML_NOTE, ign, ign, BUG, ign,
                      CML_DOOM, CML_FAIL},
    [CML_DONE] = {ign, ign, ign, ign, ign, ign, ign, ign, ign, ign, ign, ign, ign, ign, ign, ign, ign},
};
#undef BUG
#undef ign

#define TO(state) (1u << (state))

/* Where an action may lead; CML_IGNORE, CML_NOTE and CML_DOOM stay where they are. */
static const uint16_t s_leads_to[CML_ACTIONS] = {
    [CML_PREPARE] = TO(CML_CREDENTIALS) | TO(CML_PACED) | TO(CML_QUEUED) | TO(CML_DONE),
    [CML_ENQUEUE] = TO(CML_QUEUED) | TO(CML_PACED) | TO(CML_CREDENTIALS) | TO(CML_DONE), /* they may be gone again */
    [CML_SEND] = TO(CML_SENT) | TO(CML_CREDENTIALS) | TO(CML_PACED) | TO(CML_BACKOFF) | TO(CML_QUEUED) |
                 TO(CML_DONE),
    [CML_JUDGE] = TO(CML_BODY) | TO(CML_PAUSED) | TO(CML_ABORTING),
    [CML_DELIVER] = TO(CML_BODY) | TO(CML_PAUSED) | TO(CML_ABORTING),
    [CML_CONCLUDE] = TO(CML_DONE) | TO(CML_BACKOFF),
    [CML_RETRY] = TO(CML_BACKOFF) | TO(CML_DONE),
    [CML_PARK] = TO(CML_PARKED) | TO(CML_DONE) | TO(CML_BACKOFF),
    [CML_EVICT] = TO(CML_ABORTING) | TO(CML_PAUSED),
    [CML_ABORT] = TO(CML_ABORTING),
    [CML_SETTLE] = TO(CML_DONE) | TO(CML_BACKOFF) | TO(CML_PARKED) | TO(CML_QUEUED) | TO(CML_CREDENTIALS),
    [CML_OPEN] = TO(CML_BODY),
    [CML_PAUSE] = TO(CML_PAUSED),
    [CML_RESUME] = TO(CML_QUEUED) | TO(CML_PACED) | TO(CML_CREDENTIALS) | TO(CML_DONE) | TO(CML_PARKED),
    [CML_FAIL] = TO(CML_DONE),
};

enum cml_action cml_machine_action(enum cml_state state, enum cml_event event) {
    return (enum cml_action)s_table[state][event];
}

bool cml_machine_allows(enum cml_state from, enum cml_action action, enum cml_state to) {
    if (action == CML_BUG || action == CML_IGNORE || action == CML_NOTE || action == CML_DOOM) {
        return from == to;
    }
    return (s_leads_to[action] & TO(to)) != 0;
}

const char *cml_state_name(enum cml_state state) {
    static const char *const names[CML_STATES] = {
        "new", "credentials", "paced", "queued", "sent", "body", "paused", "parked", "backoff", "aborting", "done",
    };
    return state < CML_STATES ? names[state] : "?";
}
