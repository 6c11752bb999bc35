"""Dask: client and scheduler in this process (its LocalCluster), workers in others.

    dask-driver.py version
    dask-driver.py TASKS SECONDS WORKERS ITERATIONS LIBRARY

Prints one JSON line. Above eight, workers are threads of eight processes.
"""

import ctypes
import json
import logging
import sys
import time


def work(number, iterations, library):
    if iterations:
        loop = ctypes.CDLL(library).spin_loop
        loop.argtypes = [ctypes.c_uint64]
        loop(iterations)
    return number


def main(tasks, seconds, workers, iterations, library):
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.ERROR)
    processes = min(workers, 8)
    cluster = LocalCluster(
        n_workers=processes,
        threads_per_worker=workers // processes,
        processes=True,
        dashboard_address=None,
        memory_limit=0,
    )
    with cluster, Client(cluster) as client:
        client.wait_for_workers(processes)
        client.gather(client.map(work, range(-workers, 0), iterations=iterations, library=library))
        wall, cpu, done = time.perf_counter(), time.process_time(), 0
        # In rounds: a future each is what a master algorithm of Dask's has.
        while done < tasks and time.perf_counter() < wall + seconds:
            numbers = range(done, min(tasks, done + 500))
            futures = client.map(work, numbers, iterations=iterations, library=library)
            if client.gather(futures) != list(numbers):
                sys.exit("a wrong result")
            done += len(numbers)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps({"tasks": done, "wall_s": wall, "cpu_s": cpu}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["version"]:
        import distributed

        print("Dask distributed", distributed.__version__)
    else:
        tasks, seconds, workers, iterations, library = sys.argv[1:]
        main(int(tasks), float(seconds), int(workers), int(iterations), library)
