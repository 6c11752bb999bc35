//! For the tests: a master that is done as soon as it has a slave, so that welcome and shutdown come together.

use ringmw::prelude::*;

async fn master(mw: Master, _args: Args) {
    mw.allocate(Group::Ordered, 1);
    mw.events().await;
}

fn main() -> ExitCode {
    App::new().master(master).run()
}
