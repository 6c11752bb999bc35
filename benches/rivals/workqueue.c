/* A manager of Work Queue (cctools). Its workers are work_queue_worker processes, a task is a command.
 *
 *   workqueue version
 *   workqueue TASKS SECONDS WORKERS COMMAND     prints its port, then its line
 */
#include "common.h"
#include <cctools/work_queue.h>

int main(int argc, char **argv) {
    if (argc != 5) fail("workqueue TASKS SECONDS WORKERS COMMAND");
    uint64_t tasks = strtoull(argv[1], NULL, 10), next = 0, done = 0, done_begun = 0, warm = tasks / 10;
    unsigned workers = atoi(argv[3]);
    struct work_queue *queue = work_queue_create(WORK_QUEUE_RANDOM_PORT);
    if (queue == NULL) fail("work_queue_create");
    printf("%d\n", work_queue_port(queue));
    fflush(stdout);
    struct work_queue_stats stats = {0};
    while ((unsigned)stats.workers_connected < workers) {
        work_queue_wait(queue, 1);
        work_queue_get_stats(queue, &stats);
    }
    double begun = wall(), wall_begun = 0, cpu_begun = 0;
    while (done < next || (next < tasks && wall() < begun + atof(argv[2]))) {
        /* As many as keep every worker busy: its cost grows with the length of its queue. */
        while (next < tasks && next - done < 2 * workers + 64 && wall() < begun + atof(argv[2])) {
            struct work_queue_task *task = work_queue_task_create(argv[4]);
            work_queue_task_specify_cores(task, 1);
            work_queue_task_specify_memory(task, 1);
            work_queue_task_specify_disk(task, 1);
            work_queue_submit(queue, task);
            next++;
        }
        struct work_queue_task *task = work_queue_wait(queue, 1);
        if (task == NULL) continue;
        if (task->return_status != 0) fail("a task failed");
        work_queue_task_delete(task);
        done++;
        if (wall_begun == 0 && done > warm) {
            wall_begun = wall();
            cpu_begun = cpu();
            done_begun = done;
        }
    }
    report(done - done_begun, wall() - wall_begun, cpu() - cpu_begun);
    work_queue_delete(queue);
    return 0;
}
