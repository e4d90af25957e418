//! Tasks that a site cannot do without.
//!
//! Invariant: none of them is gone unnoticed. Should one panic, the process ends with a sentence, and a restart takes up its work from what is recorded.
//! Not here: connections and links, whose panics end a connection, or begin the link's task anew.

use tokio::{sync::mpsc, task::JoinHandle};

/// Starts `task`; `fail` is where the end of the process is asked for.
pub fn spawn(what: &'static str, fail: &mpsc::UnboundedSender<String>, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let told = Told { what, fail: fail.clone() };
    tokio::spawn(async move {
        let _told = told;
        task.await;
    })
}

/// Tells of a panic when it is dropped by one.
struct Told {
    what: &'static str,
    fail: mpsc::UnboundedSender<String>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody listens only when the site is ending already.
            let _ = self.fail.send(format!("{} panicked: see the log; a restart goes on from what is recorded", self.what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_an_end_is_not() {
        let (fail, mut failed) = mpsc::unbounded_channel();
        spawn("the one", &fail, async {}).await.expect("it ends");
        spawn("the other", &fail, async { panic!("as it is meant to") }).await.expect_err("it panics");
        assert!(failed.try_recv().expect("told").starts_with("the other panicked"));
        assert!(failed.try_recv().is_err());
    }
}
