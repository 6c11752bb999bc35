//! What does not fit into 32 bits comes back as it was: argument, result and tag.

use ringmw::TagError;
use ringmw::prelude::*;

const LARGE: usize = 5_000_000_000;

#[algorithm]
fn same(n: usize, cx: &mut Cx) -> Result<(usize, Option<usize>), TagError> {
    Ok((n, cx.tag::<usize>()?))
}

#[test]
fn five_billion_comes_back_as_argument_result_and_tag() {
    async fn master(mw: Master, args: Args) -> Result {
        assert_eq!(args.value("--large", 0usize)?, LARGE);
        mw.submit(same::task(LARGE).tag(&LARGE));
        mw.events().await;
        let results = mw.take_results();
        assert_eq!(results.len(), 1);
        assert_eq!(results[0].output::<same>()?, (LARGE, Some(LARGE)));
        assert_eq!(results[0].tag::<usize>()?, Some(LARGE));
        Ok(())
    }
    let app = App::new().algorithm::<same>().master(master);
    assert_eq!(app.embedded(1).args(["--large", "5000000000"]).run(), 0);
}
