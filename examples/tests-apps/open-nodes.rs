//! Branch and bound over open nodes: tasks give back what is left when slaves are hungry, say how far they have come, and
//! have priorities by depth.
use ringmw::prelude::*;

/// No node lies deeper.
const DEPTH: u32 = 9;

#[wire]
#[derive(Clone, Debug)]
struct Node {
    depth: u32,
    bound: u64,
}

#[wire]
struct Work {
    left: Vec<Node>,
    seen: u64,
}

#[algorithm]
fn explore(nodes: Vec<Node>, best: &Best<u64, Vec<u32>>, cx: &mut Cx) -> Work {
    let (mut open, mut seen) = cx.resume().unwrap_or((nodes, 0));
    while let Some(node) = open.pop() {
        seen += 1;
        if node.depth == DEPTH {
            best.offer(node.bound, &vec![node.depth]);
            continue;
        }
        let (depth, bound) = (node.depth + 1, node.bound);
        open.extend((1..=2).map(|more| Node {
            depth,
            bound: bound + more,
        }));
        cx.checkpoint(&(open.clone(), seen));
        if open.len() > 1 && cx.hungry() {
            break;
        }
    }
    Work { left: open, seen }
}

async fn master(mw: Master, _args: Args) -> Result {
    let best = mw.minimum(u64::MAX);
    let task = |nodes: Vec<Node>| {
        let level = -(nodes[0].depth.min(4) as i8);
        explore::task(nodes, &best).priority(level)
    };
    mw.submit(task(vec![Node { depth: 0, bound: 0 }]));
    let mut results = mw.results::<explore>();
    let mut seen = 0;
    while let Some(work) = results.try_next().await? {
        seen += work.output.seen;
        let mut left = work.output.left;
        let half = left.split_off(left.len() / 2);
        let parts = [left, half];
        mw.submit_all(
            parts
                .into_iter()
                .filter(|nodes| !nodes.is_empty())
                .map(task),
        );
    }
    println!("{seen} nodes, the best {} {:?}", best.get(), best.witness());
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<explore>().master(master).run()
}
