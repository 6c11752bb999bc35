/* Master (rank 0) and workers over MPI, with credits, batched by hand.
 *
 *   openmpi version
 *   openmpi TASKS SECONDS BATCH CREDITS ITERATIONS        under mpirun; rank 0 prints its line
 */
#include "common.h"
#include <mpi.h>

enum { TASKS = 1, RESULTS = 2, END = 3 };

struct item {
    uint64_t id, number;
};

static void worker(unsigned batch, uint64_t iterations) {
    struct item *items = malloc(batch * sizeof *items);
    for (;;) {
        MPI_Status status;
        MPI_Recv(items, batch * sizeof *items, MPI_BYTE, 0, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
        if (status.MPI_TAG == END) break;
        int bytes;
        MPI_Get_count(&status, MPI_BYTE, &bytes);
        for (unsigned i = 0; i < bytes / sizeof *items; i++) items[i].number = work(items[i].number, iterations);
        MPI_Send(items, bytes, MPI_BYTE, 0, RESULTS, MPI_COMM_WORLD);
    }
    free(items);
}

struct master {
    uint64_t tasks, next, outstanding;
    unsigned batch;
    double deadline;
    struct item *out;
    uint64_t *numbers;
};

static void send_batch(struct master *m, int rank) {
    uint64_t left = m->tasks - m->next;
    if (left == 0 || wall() > m->deadline) return;
    unsigned count = left < m->batch ? left : m->batch;
    for (unsigned i = 0; i < count; i++) {
        m->numbers[m->next] = m->next;
        m->out[i] = (struct item){m->next, m->next};
        m->next++;
    }
    m->outstanding += count;
    MPI_Send(m->out, count * sizeof *m->out, MPI_BYTE, rank, TASKS, MPI_COMM_WORLD);
}

static void master(struct master *m, int workers, unsigned credits) {
    struct item *in = malloc(m->batch * sizeof *in);
    uint64_t warm = m->tasks / 10, done = 0, sum = 0, done_begun = 0;
    double wall_begun = 0, cpu_begun = 0;
    for (unsigned c = 0; c < credits; c++)
        for (int rank = 1; rank <= workers; rank++) send_batch(m, rank);
    while (m->outstanding > 0) {
        MPI_Status status;
        MPI_Recv(in, m->batch * sizeof *in, MPI_BYTE, MPI_ANY_SOURCE, RESULTS, MPI_COMM_WORLD, &status);
        int bytes;
        MPI_Get_count(&status, MPI_BYTE, &bytes);
        unsigned count = bytes / sizeof *in;
        for (unsigned i = 0; i < count; i++) {
            if (in[i].id >= m->next || m->numbers[in[i].id] != in[i].number) fail("a wrong result");
            sum += in[i].number;
        }
        done += count;
        m->outstanding -= count;
        if (wall_begun == 0 && done > warm) {
            wall_begun = wall();
            cpu_begun = cpu();
            done_begun = done;
        }
        send_batch(m, status.MPI_SOURCE);
    }
    double wall_s = wall() - wall_begun, cpu_s = cpu() - cpu_begun;
    if (sum != m->next * (m->next - 1) / 2) fail("the sum is wrong");
    report(done - done_begun, wall_s, cpu_s);
    for (int rank = 1; rank <= workers; rank++) MPI_Send(NULL, 0, MPI_BYTE, rank, END, MPI_COMM_WORLD);
    free(in);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        char text[MPI_MAX_LIBRARY_VERSION_STRING];
        int bytes;
        MPI_Get_library_version(text, &bytes);
        text[strcspn(text, ",\n")] = 0;
        printf("%s\n", text);
        return 0;
    }
    if (argc != 6) fail("openmpi version | TASKS SECONDS BATCH CREDITS ITERATIONS");
    MPI_Init(&argc, &argv);
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    unsigned batch = atoi(argv[3]);
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        struct master m = {.tasks = strtoull(argv[1], NULL, 10), .batch = batch};
        m.deadline = wall() + atof(argv[2]);
        m.out = malloc(batch * sizeof *m.out);
        m.numbers = calloc(m.tasks, sizeof *m.numbers);
        master(&m, size - 1, atoi(argv[4]));
    } else {
        worker(batch, strtoull(argv[5], NULL, 10));
    }
    MPI_Finalize();
    return 0;
}
