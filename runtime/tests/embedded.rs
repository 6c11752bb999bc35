//! Whole applications in one process.

use ringmw::prelude::*;

#[algorithm]
fn square(n: u64) -> u64 {
    n * n
}

#[algorithm]
fn picky(n: u64) -> std::result::Result<u64, String> {
    match n % 3 {
        0 => Ok(n),
        1 => Err(format!("{n} is one too many")),
        _ => panic!("{n} is two too many"),
    }
}

#[test]
fn a_map_gives_every_result_once() {
    async fn master(mw: Master, _: Args) -> Result {
        let mut squares = mw.map((0..100_000).map(square::task));
        let (mut sum, mut count) = (0, 0);
        while let Some(square) = squares.try_next().await? {
            sum += square;
            count += 1;
        }
        assert_eq!((count, sum), (100_000, 333_328_333_350_000));
        Ok(())
    }
    assert_eq!(
        App::new()
            .algorithm::<square>()
            .master(master)
            .embedded(2)
            .run(),
        0
    );
}

#[test]
fn in_order_is_in_order() {
    async fn master(mw: Master, _: Args) -> Result {
        let mut squares = mw.map((0..10_000).map(square::task)).in_order().window(100);
        for n in 0..10_000 {
            assert_eq!(squares.try_next().await?, Some(n * n));
        }
        assert_eq!(squares.try_next().await?, None);
        Ok(())
    }
    assert_eq!(
        App::new()
            .algorithm::<square>()
            .master(master)
            .embedded(3)
            .run(),
        0
    );
}

#[test]
fn an_endless_map_can_be_dropped() {
    async fn master(mw: Master, _: Args) -> Result {
        let mut squares = mw.map((0..).map(square::task));
        for _ in 0..1_000 {
            squares.try_next().await?.unwrap();
        }
        drop(squares);
        assert_eq!(mw.runnable(), 0);
        assert_eq!(mw.call(square::task(12)).await?, 144);
        Ok(())
    }
    assert_eq!(
        App::new()
            .algorithm::<square>()
            .master(master)
            .embedded(2)
            .run(),
        0
    );
}

#[test]
fn errors_and_panics_are_failed_results() {
    async fn master(mw: Master, _: Args) -> Result {
        assert_eq!(mw.call(picky::task(3)).await?, 3);
        let error = mw.call(picky::task(4)).await.unwrap_err();
        assert!(
            matches!(&error, TaskError::Failed { message, .. } if message == "4 is one too many"),
            "{error}"
        );
        let error = mw.call(picky::task(5)).await.unwrap_err().to_string();
        assert!(
            error.contains("embedded.rs:") && error.contains("5 is two too many"),
            "{error}"
        );
        Ok(())
    }
    assert_eq!(
        App::new()
            .algorithm::<picky>()
            .master(master)
            .embedded(1)
            .run(),
        0
    );
}
