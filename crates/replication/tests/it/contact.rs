//! The status of a link whose source does not answer: never that it is level, and for how long
//! nothing is known; and the log lines when it goes down and comes back.

use crate::site::LinkedSites;
use gnomon_catalog::Event;
use gnomon_links::{LinkStatus, Verdict};
use gnomon_protocol::error_code::ErrorCode;
use gnomon_replication::Site;
use std::{
    cell::RefCell,
    io::{self, Write},
    sync::Once,
    time::Duration,
};
use tokio::time::sleep;
use uuid::Uuid;

async fn copied(topics: &[&str]) -> LinkedSites {
    let world = LinkedSites::start().await;
    for (name, id) in topics.iter().zip(1..) {
        world.source.create(name, Uuid::from_u128(id), 1);
        world.source.partition(name, 0, |p| p.append(&["x"]));
    }
    for name in topics {
        world.copied(name, 0, 1).await;
    }
    sleep(Duration::from_secs(10)).await;
    world
}

fn status(world: &LinkedSites) -> LinkStatus {
    world.service.statuses().remove(0)
}

fn lag_seconds(status: &LinkStatus, topic: &str) -> f64 {
    status.topic(topic).unwrap().partitions[0]
        .lag
        .unwrap()
        .seconds
}

fn is_about(seconds: f64, expected: f64) -> bool {
    (seconds - expected).abs() < 1.5
}

thread_local! {
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the log lines of each thread. The subscriber is the process's: with one for this thread
/// only, a line that another thread was the first to log would be switched off here as well.
struct LogLines;

impl LogLines {
    fn start() -> LogLines {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(|| LogLines)
                .init();
        });
        LogLines
    }

    /// The lines of this thread that contain `word`.
    fn lines_with(&self, word: &str) -> Vec<String> {
        let text = LOGGED.with_borrow(|bytes| String::from_utf8(bytes.clone()).expect("text"));
        let lines = text.lines().filter(|line| line.contains(word));
        lines.map(str::to_owned).collect()
    }
}

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_cut_off_is_not_level_but_not_known_and_its_lag_grows() {
    let _faults = fail::FailScenario::setup();
    let log = LogLines::start();
    let world = copied(&["a_orders", "a_payments"]).await;
    let before = status(&world);
    assert_eq!(before.verdict, Some(Verdict::Level));
    assert_eq!(lag_seconds(&before, "a_orders"), 0.0);
    assert!(before.source.contact_seconds.unwrap() < 1.0);

    world.source.set(|cluster| cluster.down = true);
    world.source.partition("a_orders", 0, |p| {
        (0..100).for_each(|_| p.append(&["x"]));
    });
    sleep(Duration::from_secs(60)).await;
    let cut = status(&world);
    let Some(Verdict::NotKnown {
        seconds,
        partitions: 2,
        of: 2,
    }) = cut.verdict
    else {
        panic!("{:?}", cut.verdict);
    };
    assert!(is_about(seconds, 60.0), "{seconds}");
    assert!(is_about(cut.source.contact_seconds.unwrap(), 60.0));
    assert!(is_about(lag_seconds(&cut, "a_orders"), 60.0));
    assert!(is_about(lag_seconds(&cut, "a_payments"), 60.0));

    world.source.set(|cluster| cluster.down = false);
    world.copied("a_orders", 0, 101).await;
    sleep(Duration::from_secs(3)).await;
    let after = status(&world);
    assert_eq!(after.verdict, Some(Verdict::Level));
    assert_eq!(lag_seconds(&after, "a_orders"), 0.0);

    let down = log.lines_with("link is down");
    assert_eq!(down.len(), 1, "{down:?}");
    assert!(
        down[0].contains("from-a") && down[0].contains("scripted:9092"),
        "{down:?}"
    );
    let up = log.lines_with("link is up again");
    assert_eq!(up.len(), 1, "{up:?}");
    assert!(
        up[0].contains("from-a") && up[0].contains("after 6"),
        "{up:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_partition_that_is_not_heard_hides_no_lag_of_the_others() {
    let world = copied(&["a_orders", "a_payments"]).await;
    world.source.partition("a_payments", 0, |p| {
        p.error = Some(ErrorCode::KafkaStorageError.code());
        p.append(&["x"]);
    });
    sleep(Duration::from_secs(30)).await;
    let status_now = status(&world);
    let Some(Verdict::NotKnown {
        seconds,
        partitions: 1,
        of: 2,
    }) = status_now.verdict
    else {
        panic!("{:?}", status_now.verdict);
    };
    assert!(is_about(seconds, 30.0), "{seconds}");
    assert_eq!(lag_seconds(&status_now, "a_orders"), 0.0);
    assert!(is_about(lag_seconds(&status_now, "a_payments"), 30.0));
    assert!(
        status_now.source.contact_seconds.unwrap() < 2.0,
        "it answers"
    );
}

#[tokio::test(start_paused = true)]
async fn a_faulted_topic_hides_no_lag_of_the_others() {
    let world = copied(&["a_orders", "a_payments"]).await;
    let event = Event::TopicFaulted {
        topic: world.topic("a_payments").unwrap().id,
        reason: "a test".into(),
        gap: None,
    };
    world.site.submit(event).await.unwrap();
    sleep(Duration::from_secs(30)).await;
    let status = status(&world);
    assert_eq!(status.verdict, Some(Verdict::Level), "of what is copied");
    assert_eq!((status.faulted(), status.lag().unwrap().records), (1, 0));
    assert!(
        is_about(lag_seconds(&status, "a_payments"), 30.0),
        "nobody asks for it"
    );
}

/// Many megabytes over a slow network: until the answer is whole, nothing of it is known.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_still_arriving_counts_as_lag() {
    let world = copied(&["a_orders"]).await;
    world
        .source
        .set(|cluster| cluster.arrives_after = Duration::from_secs(20));
    world.source.partition("a_orders", 0, |p| p.append(&["x"]));
    sleep(Duration::from_secs(15)).await;
    let arriving = status(&world);
    assert!(is_about(lag_seconds(&arriving, "a_orders"), 15.0));
    assert!(
        matches!(arriving.verdict, Some(Verdict::NotKnown { .. })),
        "{:?}",
        arriving.verdict
    );
    world.copied("a_orders", 0, 2).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(lag_seconds(&status(&world), "a_orders"), 0.0);
}

/// Nothing to copy: the source is asked once a second, and that is contact.
#[tokio::test(start_paused = true)]
async fn a_link_without_topics_is_level_while_its_source_answers() {
    let world = LinkedSites::start().await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(status(&world).verdict, Some(Verdict::Level));
    world.source.set(|cluster| cluster.down = true);
    sleep(Duration::from_secs(30)).await;
    let verdict = status(&world).verdict;
    assert!(
        matches!(verdict, Some(Verdict::NotKnown { .. })),
        "{verdict:?}"
    );
}
