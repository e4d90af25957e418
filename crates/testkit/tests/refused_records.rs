//! Records that a topic's rules forbid are named one by one, so that a client can blame them and
//! not the rest of their batch (KIP-467).

mod common;

use common::{make_topic_with, runtime};
use gnomon_protocol::{
    batch::BatchBuilder,
    error_code::ErrorCode,
    messages::{
        ProduceRequest, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    wire::StrBytes,
};
use gnomon_testkit::{MemDisk, Site};

#[test]
fn records_without_keys_are_named_on_a_compacted_topic() {
    let site = Site::start(&MemDisk::new()).expect("a site");
    let client = site.client();
    runtime().block_on(async {
        make_topic_with(&client, "compacted", &[("cleanup.policy", "compact")]).await;
        let produce = async |keys: &[Option<&[u8]>]| {
            let batch = keys.iter().fold(BatchBuilder::new(0), |batch, key| {
                batch.record(0, *key, Some(b"value"), &[])
            });
            let partition =
                PartitionProduceData::default().with_records(Some(batch.build().expect("a batch")));
            let name = TopicName(StrBytes::from_static_str("compacted"));
            let topic = TopicProduceData::default()
                .with_name(name)
                .with_partition_data(vec![partition]);
            let request = ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(10_000)
                .with_topic_data(vec![topic]);
            let mut answer = client.ask_any(request).await.expect("an answer");
            answer.responses.remove(0).partition_responses.remove(0)
        };
        let refused = produce(&[Some(b"a"), None, Some(b"b"), None]).await;
        assert_eq!(
            ErrorCode::from_code(refused.error_code),
            Some(ErrorCode::InvalidRecord)
        );
        assert_eq!(
            refused
                .record_errors
                .iter()
                .map(|error| error.batch_index)
                .collect::<Vec<_>>(),
            [1, 3]
        );
        assert!(
            refused
                .error_message
                .is_some_and(|why| why.contains("keys"))
        );
        let many = produce(&[None; 5_000]).await;
        assert_eq!(
            many.record_errors.len(),
            100,
            "a batch of many small records does not make a large answer"
        );
        let taken = produce(&[Some(b"a"), Some(b"b")]).await;
        assert_eq!(
            (
                taken.error_code,
                taken.base_offset,
                taken.record_errors.len()
            ),
            (0, 0, 0)
        );
    });
}
