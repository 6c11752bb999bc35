/* The counted loop as a command (systems whose tasks are commands) and as a library (for Python). */
#include "common.h"

uint64_t spin_loop(uint64_t iterations) { return spin(iterations); }

int main(int argc, char **argv) {
    if (argc != 2) fail("spin ITERATIONS");
    spin(strtoull(argv[1], NULL, 10));
    return 0;
}
