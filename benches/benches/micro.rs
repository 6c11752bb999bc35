//! Microbenchmarks of codec and sched: `cargo bench -p ringmw-benches`, or with a part of a name.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use ringmw_benches::micro::{Batches, Likeness, Rig};

fn main() {
    divan::main();
}

/// Tasks of a packet, as entries of their own or as one.
const BATCHES: [(u32, Likeness); 6] = [
    (1, Likeness::Apart),
    (10, Likeness::Apart),
    (100, Likeness::Apart),
    (1000, Likeness::Apart),
    (100, Likeness::Run),
    (1000, Likeness::Run),
];

mod codec {
    use ringmw_codec::frame::FrameReader;

    use super::*;

    #[divan::bench(args = BATCHES)]
    fn encode_tasks(bencher: Bencher, (tasks, likeness): (u32, Likeness)) {
        let mut batches = Batches::of(tasks, likeness);
        bencher
            .counter(ItemsCount::new(tasks))
            .bench_local(|| black_box(&mut batches).encode_tasks());
    }

    #[divan::bench(args = BATCHES)]
    fn encode_results(bencher: Bencher, (tasks, likeness): (u32, Likeness)) {
        let mut batches = Batches::of(tasks, likeness);
        bencher
            .counter(ItemsCount::new(tasks))
            .bench_local(|| black_box(&mut batches).encode_results());
    }

    #[divan::bench(args = BATCHES)]
    fn check_and_read_tasks(bencher: Bencher, (tasks, likeness): (u32, Likeness)) {
        let batches = Batches::of(tasks, likeness);
        bencher
            .counter(ItemsCount::new(tasks))
            .bench_local(|| black_box(&batches).read_tasks());
    }

    #[divan::bench(args = BATCHES)]
    fn check_and_read_results(bencher: Bencher, (tasks, likeness): (u32, Likeness)) {
        let batches = Batches::of(tasks, likeness);
        bencher
            .counter(ItemsCount::new(tasks))
            .bench_local(|| black_box(&batches).read_results());
    }

    /// Two frames that lie whole in a chunk.
    #[divan::bench(args = BATCHES)]
    fn read_frames(bencher: Bencher, (tasks, likeness): (u32, Likeness)) {
        let batches = Batches::of(tasks, likeness);
        let mut reader = FrameReader::new();
        bencher
            .counter(BytesCount::new(batches.stream.len()))
            .bench_local(|| black_box(&batches).take_apart(&mut reader, usize::MAX));
    }

    /// The same two frames in the ring's buffers.
    #[divan::bench(args = BATCHES)]
    fn read_frames_in_pieces(bencher: Bencher, (tasks, likeness): (u32, Likeness)) {
        let batches = Batches::of(tasks, likeness);
        let mut reader = FrameReader::new();
        bencher
            .counter(BytesCount::new(batches.stream.len()))
            .bench_local(|| black_box(&batches).take_apart(&mut reader, 8192));
    }

    #[divan::bench(args = [64, 1024, 65_536])]
    fn checksum(bencher: Bencher, bytes: usize) {
        let block = vec![7u8; bytes];
        bencher
            .counter(BytesCount::new(bytes))
            .bench_local(|| crc_fast::crc32_iscsi(black_box(&block)));
    }
}

mod sched {
    use super::*;

    /// Slaves, and tasks per packet.
    const RIGS: [(u32, u32); 9] = [
        (2, 1),
        (2, 100),
        (2, 1000),
        (64, 1),
        (64, 100),
        (64, 1000),
        (10_000, 1),
        (10_000, 100),
        (10_000, 1000),
    ];

    const TASKS: u64 = 10_000;

    /// Submitted, handed out and finished.
    #[divan::bench(args = RIGS)]
    fn whole_life(bencher: Bencher, (slaves, group): (u32, u32)) {
        let mut rig = Rig::new(slaves, group);
        bencher.counter(ItemsCount::new(TASKS)).bench_local(|| {
            rig.submit(TASKS);
            rig.run(TASKS)
        });
    }

    /// The same at the end of a queue of so many tasks.
    #[divan::bench(args = [1_000, 10_000, 100_000, 1_000_000, 10_000_000])]
    fn whole_life_queued(bencher: Bencher, queued: u64) {
        let mut rig = Rig::new(64, 100);
        rig.submit(queued);
        bencher.counter(ItemsCount::new(TASKS)).bench_local(|| {
            rig.submit(TASKS);
            rig.run(TASKS)
        });
    }

    /// A slave with a packet is lost, and another comes.
    #[divan::bench(args = [1, 100, 1000])]
    fn recycle(bencher: Bencher, group: u32) {
        let mut rig = Rig::new(64, group);
        rig.submit(100_000);
        bencher
            .counter(ItemsCount::new(group))
            .bench_local(|| rig.recycle());
    }
}
