"""HyperQueue: the server, client and workers of its Python package, which are threads of one process.

    hyperqueue-driver.py version
    hyperqueue-driver.py TASKS WORKERS COMMAND ..

Prints one JSON line. Its CPU is that of the client's and the server's threads, those that were there before the first
worker was started.
"""

import contextlib
import json
import os
import sys
import tempfile
import time


def threads():
    return [int(name) for name in os.listdir("/proc/self/task")]


def cpu(threads):
    # The kernel's clock of another thread's CPU time: see clock_getcpuclockid(3).
    return sum(time.clock_gettime((~thread << 3) | 6) for thread in threads)


def main(tasks, workers, command):
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    cluster = LocalCluster()
    masters = threads()
    for _ in range(workers):
        cluster.start_worker(WorkerConfig(cores=1))
    client = cluster.client()

    def run(tasks):
        job = Job()
        for _ in range(tasks):
            job.program(command)
        client.wait_for_jobs([client.submit(job)])

    run(workers)
    wall, before = time.perf_counter(), cpu(masters)
    run(tasks)
    wall, spent = time.perf_counter() - wall, cpu(masters) - before
    cluster.stop()
    return {"tasks": tasks, "wall_s": wall, "cpu_s": spent}


if __name__ == "__main__":
    if sys.argv[1:] == ["version"]:
        from importlib.metadata import version

        print("HyperQueue", version("hyperqueue"))
    else:
        # Tasks leave files in the working directory, and the server tells of itself on standard output.
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            told = os.dup(1)
            os.dup2(2, 1)
            line = main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
            os.write(told, (json.dumps(line) + "\n").encode())
