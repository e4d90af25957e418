//! Writing batches, for the command line and tests: one batch to one partition, answered.
//!
//! The batch is made by the caller (`gnomon_protocol::batch::BatchBuilder`). No batching over time
//! and no retries; [`crate::partitioner`] chooses partitions.

use crate::{Call, Client, ClientError, offsets::TopicPartition};
use bytes::Bytes;
use gnomon_protocol::{
    ids::{Offset, ProducerId},
    messages::{
        InitProducerIdRequest, ProduceRequest, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    wire::StrBytes,
};

/// How many must have a batch before it is answered. Without an answer (acks=0) is not offered:
/// nobody could say whether it worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    Leader,
    All,
}

/// The broker's answer about an accepted batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    pub base_offset: Offset,
    pub log_start_offset: Offset,
    /// `-1` unless the topic stamps records at append.
    pub log_append_time_ms: i64,
}

impl Client {
    /// Writes one batch to the partition's leader.
    pub async fn produce(
        &self,
        to: &TopicPartition,
        batch: Bytes,
        acks: Acks,
    ) -> Result<Produced, ClientError> {
        let (node, _) = self.leader(&to.0, to.1).await?;
        let data = PartitionProduceData::default()
            .with_index(to.1)
            .with_records(Some(batch));
        let topic = TopicProduceData::default()
            .with_name(TopicName(StrBytes::from_string(to.0.clone())))
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(match acks {
                Acks::Leader => 1,
                Acks::All => -1,
            })
            .with_timeout_ms(
                i32::try_from(self.config().request_timeout.as_millis()).unwrap_or(i32::MAX),
            )
            .with_topic_data(vec![topic]);
        let answer = self
            .ask(node, request)
            .await
            .inspect_err(|_| self.forget_leader(&to.0, to.1))?;
        let partition = answer
            .responses
            .into_iter()
            .flat_map(|topic| topic.partition_responses)
            .find(|p| p.index == to.1);
        let subject = format!("{}-{}", to.0, to.1);
        let Some(partition) = partition else {
            return Err(ClientError::Missing {
                api: ProduceRequest::NAME,
                subject,
            });
        };
        if partition.error_code != 0 {
            self.forget_leader(&to.0, to.1);
            return Err(ClientError::refused(
                ProduceRequest::NAME,
                subject,
                partition.error_code,
                partition.error_message.as_deref(),
            ));
        }
        Ok(Produced {
            base_offset: partition.base_offset,
            log_start_offset: partition.log_start_offset,
            log_append_time_ms: partition.log_append_time_ms,
        })
    }

    /// A producer id and epoch for idempotent writing (KIP-98), without a transaction.
    pub async fn init_producer_id(&self) -> Result<(ProducerId, i16), ClientError> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000);
        let response = self.ask_any(request).await?;
        if response.error_code != 0 {
            return Err(ClientError::refused(
                InitProducerIdRequest::NAME,
                "producer",
                response.error_code,
                None,
            ));
        }
        Ok((response.producer_id.0, response.producer_epoch))
    }
}
