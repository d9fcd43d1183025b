/* The completion queue: many threads push, one drains. No node is lost or seen twice, each thread's nodes keep their
 * order, a burst costs one wake, and nobody sleeps on a queue that has something in it.
 */
#include "engine/queue.h"
#include "support/check.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#define PUSHERS 6
#define EACH 20000

struct item {
    struct cml_node node;
    uint32_t pusher, number;
};

struct pusher {
    struct cml_queue *queue;
    struct item *items;
    uint32_t index;
};

static void *s_push_all(void *arg) {
    struct pusher *pusher = arg;
    uint64_t seed = 0x9e3779b97f4a7c15ull + pusher->index;
    for (uint32_t i = 0; i < EACH; ++i) {
        pusher->items[i].pusher = pusher->index;
        pusher->items[i].number = i;
        cml_queue_push(pusher->queue, &pusher->items[i].node);
        if (check_random(&seed) % 2048 == 0) {
            check_sleep_ms(1); /* lets the reader find it empty now and then */
        }
    }
    return NULL;
}

/* Blocks as a reader does: a descriptor in poll, a condition in cml_queue_wait. False after ten seconds: a lost wake.
 * A wait may also end early with nothing, when the wake of a push comes after its node was taken. */
static bool s_wait(struct cml_queue *queue) {
    if (cml_queue_fd(queue) >= 0) {
        struct pollfd fd = {.fd = cml_queue_fd(queue), .events = POLLIN};
        return poll(&fd, 1, 10000) == 1;
    }
    double until = check_now_s() + 9.9;
    while (!cml_queue_wait(queue, 10000)) {
        if (check_now_s() >= until) {
            return false;
        }
    }
    return true;
}

static void s_drain_until(struct cml_queue *queue, uint32_t total, uint32_t *next, uint32_t *batches) {
    uint32_t seen = 0;
    while (seen < total) {
        if (!CHECK(s_wait(queue))) {
            return; /* slept although there was something: a lost wake */
        }
        ++*batches;
        for (struct cml_node *node = cml_queue_take_all(queue); node != NULL;) {
            struct item *item = CML_CONTAINER_OF(node, struct item, node);
            node = node->next;
            CHECK_EQ(item->number, next[item->pusher]);
            next[item->pusher] = item->number + 1;
            ++seen;
        }
    }
}

static void s_many_pushers(struct cml_queue *queue) {
    static struct item items[PUSHERS][EACH];
    struct pusher pushers[PUSHERS];
    pthread_t threads[PUSHERS];
    uint32_t next[PUSHERS] = {0}, batches = 0;
    for (uint32_t i = 0; i < PUSHERS; ++i) {
        pushers[i] = (struct pusher){queue, items[i], i};
        pthread_create(&threads[i], NULL, s_push_all, &pushers[i]);
    }
    s_drain_until(queue, PUSHERS * EACH, next, &batches);
    for (uint32_t i = 0; i < PUSHERS; ++i) {
        pthread_join(threads[i], NULL);
        CHECK_EQ(next[i], EACH);
    }
    CHECK(cml_queue_take_all(queue) == NULL);
    printf("  %u nodes in %u batches\n", PUSHERS * EACH, batches);
}

static void test_many_pushers(void) {
    struct cml_queue *queue = cml_queue_new_fd();
    section("descriptor queue: six pushers, one drainer");
    CHECK(cml_queue_fd(queue) >= 0);
    s_many_pushers(queue);
    cml_queue_release(queue);
    queue = cml_queue_new_cond();
    section("condition queue: six pushers, one drainer");
    CHECK_EQ(cml_queue_fd(queue), -1);
    s_many_pushers(queue);
    cml_queue_release(queue);
}

/* The same node again and again: the drainer gives it back, the pusher uses it anew. */
static atomic_uint s_free_node;

static void *s_push_one_again(void *arg) {
    static struct item item;
    for (uint32_t i = 0; i < EACH; ++i) {
        while (atomic_exchange(&s_free_node, 0) == 0) {
            sched_yield();
        }
        item.number = i;
        cml_queue_push(arg, &item.node);
    }
    return NULL;
}

static void test_one_node_again(void) {
    section("one node pushed and taken in turn");
    struct cml_queue *queue = cml_queue_new_cond();
    pthread_t thread;
    atomic_store(&s_free_node, 1);
    pthread_create(&thread, NULL, s_push_one_again, queue);
    for (uint32_t i = 0; i < EACH;) {
        if (!CHECK(s_wait(queue))) {
            break;
        }
        struct cml_node *node = cml_queue_take_all(queue);
        CHECK(node != NULL && node->next == NULL);
        CHECK_EQ(CML_CONTAINER_OF(node, struct item, node)->number, i);
        ++i;
        atomic_store(&s_free_node, 1);
    }
    pthread_join(thread, NULL);
    cml_queue_release(queue);
}

static void test_one_wake_a_burst(void) {
    section("a burst costs one wake; the wake is consumed with the nodes");
    struct cml_queue *queue = cml_queue_new_fd();
    struct item items[100];
    for (int round = 0; round < 3; ++round) {
        for (uint32_t i = 0; i < 100; ++i) {
            items[i].number = i;
            cml_queue_push(queue, &items[i].node);
        }
#ifdef __linux__
        uint64_t wakes = 0; /* an eventfd counts them */
        CHECK_EQ(read(cml_queue_fd(queue), &wakes, sizeof(wakes)), sizeof(wakes));
        CHECK_EQ(wakes, 1);
#endif
        uint32_t count = 0;
        for (struct cml_node *node = cml_queue_take_all(queue); node != NULL; node = node->next) {
            CHECK_EQ(CML_CONTAINER_OF(node, struct item, node)->number, count++);
        }
        CHECK_EQ(count, 100);
        struct pollfd fd = {.fd = cml_queue_fd(queue), .events = POLLIN};
        CHECK_EQ(poll(&fd, 1, 0), 0);
    }
    cml_queue_release(queue);
}

static void test_poke_descriptor(void) {
    section("a poke makes the descriptor readable, also many of them");
    struct cml_queue *queue = cml_queue_new_fd();
    struct pollfd fd = {.fd = cml_queue_fd(queue), .events = POLLIN};
    CHECK_EQ(poll(&fd, 1, 0), 0);
    for (int i = 0; i < 100000; ++i) {
        cml_queue_poke(queue); /* more than a pipe holds: must not block */
    }
    CHECK_EQ(poll(&fd, 1, 0), 1);
    CHECK(cml_queue_take_all(queue) == NULL);
    CHECK(cml_queue_take_all(queue) == NULL); /* an empty one again: must not block either */
    cml_queue_release(queue);
}

static void *s_poke_later(void *arg) {
    check_sleep_ms(50);
    cml_queue_poke(arg);
    return NULL;
}

static void test_waiting(void) {
    section("wait: timeout, poke before and during, nodes already there");
    struct cml_queue *queue = cml_queue_new_cond();
    double before = check_now_s();
    CHECK(!cml_queue_wait(queue, 0));
    CHECK(check_now_s() - before < 0.5);
    before = check_now_s();
    CHECK(!cml_queue_wait(queue, 1100)); /* carries into the seconds whatever the clock says */
    CHECK(check_now_s() - before >= 1.05 && check_now_s() - before < 3.0);
    cml_queue_poke(queue);
    before = check_now_s();
    CHECK(!cml_queue_wait(queue, 5000));
    CHECK(check_now_s() - before < 1.0);
    pthread_t thread;
    pthread_create(&thread, NULL, s_poke_later, queue);
    before = check_now_s();
    CHECK(!cml_queue_wait(queue, 5000));
    CHECK(check_now_s() - before < 3.0);
    pthread_join(thread, NULL);
    struct item item;
    cml_queue_push(queue, &item.node);
    CHECK(cml_queue_wait(queue, 5000));
    CHECK(cml_queue_wait(queue, 0)); /* still there: waiting takes nothing */
    CHECK(cml_queue_take_all(queue) == &item.node);
    cml_queue_release(queue);
}

/* One reference for each pusher: the last to go destroys it, on whatever thread that is. */
static void *s_push_and_let_go(void *arg) {
    static struct item items[PUSHERS];
    static atomic_uint next;
    cml_queue_push(arg, &items[atomic_fetch_add(&next, 1)].node);
    cml_queue_release(arg);
    return NULL;
}

static void test_references(void) {
    section("references: the last one out closes it");
    struct cml_queue *queue = cml_queue_new_fd();
    CHECK_EQ(cml_live_get(CML_LIVE_QUEUES), 1);
    pthread_t threads[PUSHERS];
    for (int i = 0; i < PUSHERS; ++i) {
        cml_queue_acquire(queue);
        pthread_create(&threads[i], NULL, s_push_and_let_go, queue);
    }
    cml_queue_release(queue);
    for (int i = 0; i < PUSHERS; ++i) {
        pthread_join(threads[i], NULL);
    }
    cml_queue_release(NULL);
    CHECK_EQ(cml_live_get(CML_LIVE_QUEUES), 0);
}

int main(void) {
    test_many_pushers();
    test_one_node_again();
    test_one_wake_a_burst();
    test_poke_descriptor();
    test_waiting();
    test_references();
    return check_report();
}
