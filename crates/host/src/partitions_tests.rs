//! Opening partitions while requests wait for them.

use super::*;
use crate::{Metadata, MetadataParts};
use gnomon_catalog::{CreateTopics, Event, NewTopic, Origin, Register};
use gnomon_driver::{Clock, WallClock};
use gnomon_partition::{Blocking, Flusher};
use gnomon_protocol::ids::Uuid;
use gnomon_storage::{Boot, MemDisk};
use tokio::{runtime::Builder, sync::mpsc, time::timeout};

/// More than the runtime below has threads.
const WAITING: usize = 20;

/// A test that fails waits this long.
const LIMIT: Duration = Duration::from_secs(20);

/// The table of a site with topic `t` of two partitions, neither of them open.
async fn start() -> (Metadata, Arc<Partitions>, TopicId) {
    let env = Env {
        disk: Arc::new(MemDisk::new()),
        flusher: Flusher::start(Blocking::Pool { threads: 1 }).expect("a flusher"),
        boot: Boot::Same,
        troubles: Default::default(),
        reserved: Default::default(),
    };
    let image = Arc::<PublishedImage>::default();
    let data = PathBuf::from("/data");
    let defaults = SiteDefaults::default();
    let partitions = Partitions::new(env.clone(), data.clone(), 0, defaults, image.clone());
    let parts = MetadataParts {
        image,
        actions: mpsc::unbounded_channel().0,
        fail: mpsc::unbounded_channel().0,
        settings: Default::default(),
    };
    let clock = Clock::start(WallClock::System);
    let (metadata, _task) = Metadata::start(&env, &data, parts, clock).expect("it starts");
    let register = Register {
        fresh_cluster_id: Uuid::from_u128(1),
        name: "a".into(),
        broker_id: 0,
        producer_tag: Some(1),
        owns: Vec::new(),
        endpoints: Vec::new(),
    };
    let create = CreateTopics {
        topics: vec![NewTopic {
            partitions: 2,
            ..NewTopic::named("t", Uuid::from_u128(9))
        }],
        origin: Origin::AutoCreate,
        validate_only: false,
    };
    for event in [Event::Register(register), Event::CreateTopics(create)] {
        metadata.submit(event).await.expect("recorded");
    }
    let topic_id = partitions.id("t").expect("published");
    (metadata, partitions, topic_id)
}

#[test]
fn tasks_that_wait_for_a_log_that_is_being_opened_hold_no_thread() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (_metadata, partitions, topic_id) = start().await;
        let id = PartitionId { topic_id, index: 0 };
        let recovery = partitions.hold_up_opening(id);
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| {
                let partitions = partitions.clone();
                tokio::spawn(async move {
                    let opened = partitions.open_by_id(topic_id, 0).await;
                    opened.map(|handle| handle.id())
                })
            })
            .collect();
        let all_wait = async {
            while partitions.waiting_for(id) < WAITING {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LIMIT, all_wait).await.expect("all of them wait");
        let other = timeout(LIMIT, partitions.open_by_id(topic_id, 1)).await;
        let other = other.expect("another partition waits").expect("opened");
        assert_eq!(other.id().index, 1);
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
        drop(recovery);
        for waiting in waiting {
            assert_eq!(waiting.await.expect("no panic").expect("opened"), id);
        }
    });
}
