//! Programs as users of other systems write them: reserved slaves with a bounded queue each, a search whose tasks give back
//! what they have not done.

use ringmw_examples::Stage;

#[test]
fn work_is_pushed_to_reserved_slaves() {
    let end = Stage::new("test-push")
        .local(["--upto", "200", "--mw-local", "4"])
        .success();
    assert_eq!(end.lines(), ["sums of 1..200: 20100 20100"]);
}

/// However the work is cut, each node of the tree is seen once.
#[test]
fn what_tasks_give_back_is_done_once() {
    for slaves in ["1", "4"] {
        let end = Stage::new("test-open-nodes")
            .local(["--mw-local", slaves])
            .success();
        assert_eq!(end.lines(), ["1023 nodes, the best 9 Some([9])"]);
    }
}
