//! Types that contain one another.
use ringmw::prelude::*;

#[wire]
struct Company {
    name: String,
    teams: Vec<Team>,
}

#[wire]
struct Team {
    members: Vec<Person>,
}

#[wire]
enum Person {
    Alone(String),
    Leads(Box<Team>),
}

mod others {
    use ringmw::prelude::*;

    /// Of other types by these names nothing is said.
    #[wire]
    pub struct Company {
        pub seat: super::Seat,
    }

    #[wire]
    pub struct Generic<Team> {
        pub of: Vec<Team>,
    }
}

#[wire]
struct Seat {
    company: String,
}

fn main() {}
