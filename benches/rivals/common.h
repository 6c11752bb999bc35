/* What the drivers of the rivals share: clocks, the counted loop, and the line that each master prints at its end. */
#ifndef COMMON_H
#define COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

static inline double wall(void) { return seconds(CLOCK_MONOTONIC); }
static inline double cpu(void) { return seconds(CLOCK_PROCESS_CPUTIME_ID); }

/* CPU seconds of another process, for systems whose master is more than one. */
static inline double cpu_of(pid_t pid) {
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) != 0) return 0;
    return seconds(clock);
}

/* The counted loop of benches/src/lib.rs: each step needs the one before, and the barrier keeps them apart. */
static inline uint64_t spin(uint64_t iterations) {
    uint64_t state = iterations;
    for (uint64_t i = 0; i < iterations; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        __asm__ volatile("" : "+r"(state));
    }
    return state;
}

/* What a worker makes of a number: itself, or a loop and then itself. */
static inline uint64_t work(uint64_t n, uint64_t iterations) {
    if (iterations > 0) spin(iterations);
    return n;
}

static inline void report(uint64_t tasks, double wall_s, double cpu_s) {
    printf("{\"tasks\":%" PRIu64 ",\"wall_s\":%.9f,\"cpu_s\":%.9f}\n", tasks, wall_s, cpu_s);
    fflush(stdout);
}

static inline void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

#endif
