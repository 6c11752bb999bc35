/* Master and workers over ZeroMQ's ROUTER and DEALER, with credits, batched by hand.
 *
 *   zeromq version
 *   zeromq master WORKERS TASKS SECONDS BATCH CREDITS [MODE]     prints its endpoint, then its line
 *   zeromq worker ENDPOINT SOCKETS ITERATIONS [MODE]
 *
 * In mode curve all is encrypted by ZeroMQ's CURVE; the keys are the well-known ones of its documentation. In the modes bare
 * and owned a task is a text of 8 to 40 bytes, which comes back: a batch is then of (id, length, text). bare checks each
 * result where it lies; owned keeps each argument until its result has come, and makes a string of the result.
 *
 * A batch is an array of (id, number). Each worker has CREDITS batches; a batch of results is the credit for the next.
 * The master keeps each task's number until its result has come, and adds the results up. */
#include "common.h"
#include <zmq.h>

struct item {
    uint64_t id, number;
};

#define SERVER_PUBLIC "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define SERVER_SECRET "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
#define CLIENT_PUBLIC "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define CLIENT_SECRET "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"

static int curve, texts, owned;
static uint64_t next, tasks, outstanding;
static double deadline;
static uint64_t *numbers;

struct head {
    uint64_t id;
    uint32_t bytes;
} __attribute__((packed));

/* The texts of benches/src/shapes.rs. */
static const char text[] = "the quick brown fox jumps over the lazy dog, and over again.";
static char **kept;

static unsigned text_bytes(uint64_t n) { return 8 + (n * 0x9e3779b97f4a7c15u >> 40) % 33; }

static void fill_texts(zmq_msg_t *message, unsigned count) {
    size_t bytes = count * sizeof(struct head);
    for (unsigned i = 0; i < count; i++) bytes += text_bytes(next + i);
    zmq_msg_init_size(message, bytes);
    char *to = zmq_msg_data(message);
    for (unsigned i = 0; i < count; i++, next++) {
        struct head head = {next, text_bytes(next)};
        const char *from = text;
        if (owned) {
            kept[next] = malloc(head.bytes);
            from = memcpy(kept[next], text, head.bytes);
        }
        memcpy(to, &head, sizeof head);
        memcpy(to + sizeof head, from, head.bytes);
        to += sizeof head + head.bytes;
    }
}

/* How many results there are; each is checked. */
static unsigned take_texts(zmq_msg_t *results, uint64_t *sum) {
    const char *at = zmq_msg_data(results), *end = at + zmq_msg_size(results);
    unsigned count = 0;
    for (; (size_t)(end - at) >= sizeof(struct head); count++) {
        struct head head;
        memcpy(&head, at, sizeof head);
        at += sizeof head;
        if (head.id >= next || head.bytes != text_bytes(head.id) || head.bytes > (size_t)(end - at))
            fail("a wrong result");
        if (memcmp(at, owned ? kept[head.id] : text, head.bytes) != 0) fail("a wrong text");
        if (owned) {
            char *result = malloc(head.bytes + 1);
            memcpy(result, at, head.bytes);
            result[head.bytes] = 0;
            __asm__ volatile("" : : "r"(result) : "memory");
            free(result);
            free(kept[head.id]);
        }
        *sum += head.id;
        at += head.bytes;
    }
    if (at != end) fail("a wrong batch");
    return count;
}

/* Sends the next batch to the worker, if there is one. */
static void send_batch(void *router, const void *identity, size_t identity_bytes, unsigned batch) {
    uint64_t left = tasks - next;
    if (left == 0 || (deadline > 0 && wall() > deadline)) return;
    unsigned count = left < batch ? left : batch;
    zmq_msg_t message;
    if (texts) {
        fill_texts(&message, count);
        outstanding += count;
        if (zmq_send(router, identity, identity_bytes, ZMQ_SNDMORE) < 0) fail("zmq_send: identity");
        if (zmq_msg_send(&message, router, 0) < 0) fail("zmq_msg_send");
        return;
    }
    zmq_msg_init_size(&message, count * sizeof(struct item));
    struct item *items = zmq_msg_data(&message);
    for (unsigned i = 0; i < count; i++) {
        numbers[next] = next;
        items[i].id = next;
        items[i].number = next;
        next++;
    }
    outstanding += count;
    if (zmq_send(router, identity, identity_bytes, ZMQ_SNDMORE) < 0) fail("zmq_send: identity");
    if (zmq_msg_send(&message, router, 0) < 0) fail("zmq_msg_send");
}

static int master(unsigned workers, double time, unsigned batch, unsigned credits) {
    void *context = zmq_ctx_new(), *router = zmq_socket(context, ZMQ_ROUTER);
    int none = 0;
    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 65536);
    zmq_setsockopt(router, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(router, ZMQ_RCVHWM, &none, sizeof none);
    if (curve
        && (zmq_setsockopt(router, ZMQ_CURVE_SERVER, &(int){1}, sizeof(int)) != 0
            || zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, SERVER_SECRET, 40) != 0))
        fail("zmq_setsockopt: curve");
    zmq_setsockopt(router, ZMQ_BACKLOG, &(int){4096}, sizeof(int));
    if (zmq_bind(router, "tcp://127.0.0.1:*") != 0) fail("zmq_bind");
    char endpoint[256];
    size_t endpoint_bytes = sizeof endpoint;
    zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &endpoint_bytes);
    printf("%s\n", endpoint);
    fflush(stdout);

    numbers = calloc(tasks, sizeof *numbers);
    if (owned) kept = calloc(tasks, sizeof *kept);
    struct { unsigned char name[64]; size_t bytes; } *who = calloc(workers, sizeof *who);
    for (unsigned i = 0; i < workers; i++) {
        who[i].bytes = zmq_recv(router, who[i].name, sizeof who[i].name, 0);
        char hello[8];
        zmq_recv(router, hello, sizeof hello, 0);
    }
    /* As ours: the first tenth is not measured. */
    uint64_t warm = tasks / 10, done = 0, sum = 0;
    double wall_begun = 0, cpu_begun = 0;
    uint64_t done_begun = 0;
    deadline = wall() + time;
    for (unsigned c = 0; c < credits; c++)
        for (unsigned i = 0; i < workers; i++) send_batch(router, who[i].name, who[i].bytes, batch);
    while (outstanding > 0) {
        zmq_msg_t identity, results;
        zmq_msg_init(&identity);
        zmq_msg_init(&results);
        if (zmq_msg_recv(&identity, router, 0) < 0 || zmq_msg_recv(&results, router, 0) < 0) fail("zmq_msg_recv");
        const struct item *items = zmq_msg_data(&results);
        unsigned count = zmq_msg_size(&results) / sizeof *items;
        if (texts) count = take_texts(&results, &sum);
        for (unsigned i = 0; i < count && !texts; i++) {
            if (items[i].id >= next || numbers[items[i].id] != items[i].number) fail("a wrong result");
            sum += items[i].number;
        }
        done += count;
        outstanding -= count;
        if (wall_begun == 0 && done > warm) {
            wall_begun = wall();
            cpu_begun = cpu();
            done_begun = done;
        }
        send_batch(router, zmq_msg_data(&identity), zmq_msg_size(&identity), batch);
        zmq_msg_close(&identity);
        zmq_msg_close(&results);
    }
    double wall_s = wall() - wall_begun, cpu_s = cpu() - cpu_begun;
    if (sum != next * (next - 1) / 2) fail("the sum is wrong");
    report(done - done_begun, wall_s, cpu_s);
    for (unsigned i = 0; i < workers; i++) {
        zmq_send(router, who[i].name, who[i].bytes, ZMQ_SNDMORE);
        zmq_send(router, "", 0, 0);
    }
    zmq_close(router);
    zmq_ctx_term(context);
    return 0;
}

static int worker(const char *endpoint, unsigned sockets, uint64_t iterations) {
    void *context = zmq_ctx_new();
    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 65536);
    zmq_pollitem_t *items = calloc(sockets, sizeof *items);
    for (unsigned i = 0; i < sockets; i++) {
        void *dealer = zmq_socket(context, ZMQ_DEALER);
        int none = 0;
        zmq_setsockopt(dealer, ZMQ_SNDHWM, &none, sizeof none);
        zmq_setsockopt(dealer, ZMQ_RCVHWM, &none, sizeof none);
        if (curve
            && (zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, SERVER_PUBLIC, 40) != 0
                || zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, CLIENT_PUBLIC, 40) != 0
                || zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, CLIENT_SECRET, 40) != 0))
            fail("zmq_setsockopt: curve");
        if (dealer == NULL || zmq_connect(dealer, endpoint) != 0) fail("zmq_connect");
        zmq_send(dealer, "hello", 5, 0);
        items[i] = (zmq_pollitem_t){.socket = dealer, .events = ZMQ_POLLIN};
    }
    unsigned open = sockets;
    while (open > 0) {
        /* A single socket is waited for in its receive. */
        if (sockets > 1 && zmq_poll(items, sockets, -1) < 0) fail("zmq_poll");
        for (unsigned i = 0; i < sockets; i++) {
            if (sockets > 1 && !(items[i].revents & ZMQ_POLLIN)) continue;
            zmq_msg_t message;
            zmq_msg_init(&message);
            if (zmq_msg_recv(&message, items[i].socket, 0) < 0) fail("zmq_msg_recv");
            struct item *tasks = zmq_msg_data(&message);
            size_t bytes = zmq_msg_size(&message);
            unsigned count = bytes / sizeof *tasks;
            if (bytes == 0) {
                items[i].events = 0;
                open--;
                zmq_msg_close(&message);
                continue;
            }
            zmq_msg_t results;
            if (texts) {
                zmq_msg_init_size(&results, bytes);
                memcpy(zmq_msg_data(&results), tasks, bytes);
                zmq_msg_close(&message);
                if (zmq_msg_send(&results, items[i].socket, 0) < 0) fail("zmq_msg_send");
                continue;
            }
            zmq_msg_init_size(&results, count * sizeof *tasks);
            struct item *out = zmq_msg_data(&results);
            for (unsigned j = 0; j < count; j++) {
                out[j].id = tasks[j].id;
                out[j].number = work(tasks[j].number, iterations);
            }
            zmq_msg_close(&message);
            if (zmq_msg_send(&results, items[i].socket, 0) < 0) fail("zmq_msg_send");
        }
    }
    for (unsigned i = 0; i < sockets; i++) zmq_close(items[i].socket);
    zmq_ctx_term(context);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        int major, minor, patch;
        zmq_version(&major, &minor, &patch);
        printf("libzmq %d.%d.%d\n", major, minor, patch);
        return 0;
    }
    curve = strcmp(argv[argc - 1], "curve") == 0;
    owned = strcmp(argv[argc - 1], "owned") == 0;
    texts = owned || strcmp(argv[argc - 1], "bare") == 0;
    argc -= curve || texts;
    if (argc == 7 && strcmp(argv[1], "master") == 0) {
        tasks = strtoull(argv[3], NULL, 10);
        return master(atoi(argv[2]), atof(argv[4]), atoi(argv[5]), atoi(argv[6]));
    }
    if (argc == 5 && strcmp(argv[1], "worker") == 0)
        return worker(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 10));
    fail("zeromq version | master WORKERS TASKS SECONDS BATCH CREDITS [MODE] | worker ENDPOINT SOCKETS ITERATIONS [MODE]");
}
