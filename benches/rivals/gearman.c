/* A client and workers of Gearman's job server.
 *
 *   gearman version
 *   gearman client PORT SERVER_PID TASKS SECONDS WORKERS     prints its line: CPU of client and server
 *   gearman worker PORT ITERATIONS
 */
#include "common.h"
#include <libgearman/gearman.h>

/* Jobs under way at once: enough to keep every worker busy, as a careful client would have. */
#define CHUNK_LEAST 256

static gearman_return_t job(gearman_job_st *job, void *context) {
    uint64_t number;
    if (gearman_job_workload_size(job) != sizeof number) return GEARMAN_ERROR;
    memcpy(&number, gearman_job_workload(job), sizeof number);
    number = work(number, *(uint64_t *)context);
    return gearman_job_send_complete(job, &number, sizeof number);
}

static int worker(unsigned port, uint64_t iterations) {
    gearman_worker_st *worker = gearman_worker_create(NULL);
    gearman_worker_add_server(worker, "127.0.0.1", port);
    gearman_function_t function = gearman_function_create(job);
    if (gearman_failed(gearman_worker_define_function(worker, "work", 4, function, 0, &iterations)))
        fail("gearman_worker_define_function");
    /* It is ended by a signal. */
    for (;;)
        if (gearman_failed(gearman_worker_work(worker))) return 1;
}

static uint64_t sum, done;

static gearman_return_t on_complete(gearman_task_st *task) {
    uint64_t number;
    if (gearman_task_data_size(task) != sizeof number) return GEARMAN_ERROR;
    memcpy(&number, gearman_task_data(task), sizeof number);
    sum += number;
    done++;
    return GEARMAN_SUCCESS;
}

static int client(unsigned port, pid_t server, uint64_t tasks, double time, unsigned workers) {
    gearman_client_st *client = gearman_client_create(NULL);
    gearman_client_add_server(client, "127.0.0.1", port);
    gearman_client_set_complete_fn(client, on_complete);
    unsigned chunk = workers * 16 < CHUNK_LEAST ? CHUNK_LEAST : workers * 16;
    uint64_t next = 0, warm = tasks / 10, done_begun = 0;
    double begun = wall(), wall_begun = 0, cpu_begun = 0;
    uint64_t *numbers = malloc(chunk * sizeof *numbers);
    while (next < tasks && wall() < begun + time) {
        for (unsigned i = 0; i < chunk && next < tasks; i++) {
            gearman_return_t result;
            numbers[i] = next++;
            gearman_client_add_task(client, NULL, NULL, "work", NULL, &numbers[i], sizeof *numbers, &result);
            if (gearman_failed(result)) fail("gearman_client_add_task");
        }
        if (gearman_failed(gearman_client_run_tasks(client))) fail(gearman_client_error(client));
        gearman_client_task_free_all(client);
        if (wall_begun == 0 && done > warm) {
            wall_begun = wall();
            cpu_begun = cpu() + cpu_of(server);
            done_begun = done;
        }
    }
    if (done != next || sum != next * (next - 1) / 2) fail("the sum is wrong");
    report(done - done_begun, wall() - wall_begun, cpu() + cpu_of(server) - cpu_begun);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        printf("libgearman %s\n", gearman_version());
        return 0;
    }
    if (argc == 7 && strcmp(argv[1], "client") == 0)
        return client(atoi(argv[2]), atoi(argv[3]), strtoull(argv[4], NULL, 10), atof(argv[5]), atoi(argv[6]));
    if (argc == 4 && strcmp(argv[1], "worker") == 0) return worker(atoi(argv[2]), strtoull(argv[3], NULL, 10));
    fail("gearman version | client PORT SERVER_PID TASKS SECONDS WORKERS | worker PORT ITERATIONS");
}
