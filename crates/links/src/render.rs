//! Status and loss as text: what `gnomon link status`, `pair` and `failover` print. Plain ASCII, columns by spaces.

use crate::{loss::Loss, status::LinkStatus};

/// One line for a link: `link from-a (on b)  a_*  ACTIVE  topics 0  lag 0`.
pub fn story_line(status: &LinkStatus) -> String {
    let _ = status;
    unimplemented!()
}

/// All that there is to see of a link.
pub fn status(status: &LinkStatus, now_ms: i64) -> String {
    let _ = (status, now_ms);
    unimplemented!()
}

/// What a failover would lose.
pub fn loss(loss: &Loss) -> String {
    let _ = loss;
    unimplemented!()
}
