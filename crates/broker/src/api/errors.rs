//! Where the error codes of a response stand: for counting them, one for each element that a
//! response refuses, as Kafka's `errorCounts` does.

use gnomon_protocol::messages::{
    ApiVersionsResponse, CreateTopicsResponse, DeleteTopicsResponse, DescribeClusterResponse,
    DescribeConfigsResponse, DescribeGroupsResponse, FindCoordinatorResponse, HeartbeatResponse,
    InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse, ListGroupsResponse,
    ListOffsetsResponse, MetadataResponse, OffsetCommitResponse, OffsetFetchResponse,
    OffsetForLeaderEpochResponse, SyncGroupResponse,
};

/// A response that may name errors.
pub trait Errors {
    /// Calls `count` with each code in the response, 0 (no error) included.
    fn each_code(&self, count: &mut dyn FnMut(i16));
}

/// Responses with one code for all of it.
macro_rules! whole {
    ($($response:ty),+ $(,)?) => {$(
        impl Errors for $response {
            fn each_code(&self, count: &mut dyn FnMut(i16)) {
                count(self.error_code);
            }
        }
    )+};
}

/// Responses with one code for each element of a list.
macro_rules! each {
    ($($response:ty => $elements:ident),+ $(,)?) => {$(
        impl Errors for $response {
            fn each_code(&self, count: &mut dyn FnMut(i16)) {
                self.$elements.iter().for_each(|element| count(element.error_code));
            }
        }
    )+};
}

/// Responses with one code for each partition of each topic.
macro_rules! each_partition {
    ($($response:ty),+ $(,)?) => {$(
        impl Errors for $response {
            fn each_code(&self, count: &mut dyn FnMut(i16)) {
                let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
                partitions.for_each(|partition| count(partition.error_code));
            }
        }
    )+};
}

whole!(
    ApiVersionsResponse,
    DescribeClusterResponse,
    HeartbeatResponse,
    InitProducerIdResponse,
    JoinGroupResponse,
    ListGroupsResponse,
    SyncGroupResponse,
);

each!(
    CreateTopicsResponse => topics,
    DeleteTopicsResponse => responses,
    DescribeConfigsResponse => results,
    DescribeGroupsResponse => groups,
);

each_partition!(
    ListOffsetsResponse,
    OffsetCommitResponse,
    OffsetForLeaderEpochResponse,
);

impl Errors for FindCoordinatorResponse {
    fn each_code(&self, count: &mut dyn FnMut(i16)) {
        count(self.error_code);
        let coordinators = self.coordinators.iter();
        coordinators.for_each(|coordinator| count(coordinator.error_code));
    }
}

impl Errors for LeaveGroupResponse {
    fn each_code(&self, count: &mut dyn FnMut(i16)) {
        count(self.error_code);
        self.members
            .iter()
            .for_each(|member| count(member.error_code));
    }
}

impl Errors for MetadataResponse {
    fn each_code(&self, count: &mut dyn FnMut(i16)) {
        count(self.error_code);
        for topic in &self.topics {
            count(topic.error_code);
            topic
                .partitions
                .iter()
                .for_each(|partition| count(partition.error_code));
        }
    }
}

impl Errors for OffsetFetchResponse {
    fn each_code(&self, count: &mut dyn FnMut(i16)) {
        count(self.error_code);
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.for_each(|partition| count(partition.error_code));
        for group in &self.groups {
            count(group.error_code);
            let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
            partitions.for_each(|partition| count(partition.error_code));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_protocol::messages::{
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
    };

    fn codes(response: &impl Errors) -> Vec<i16> {
        let mut codes = Vec::new();
        response.each_code(&mut |code| codes.push(code));
        codes
    }

    #[test]
    fn the_codes_of_all_levels_of_a_response_are_found() {
        let partition = |code| ListOffsetsPartitionResponse::default().with_error_code(code);
        let topic = ListOffsetsTopicResponse::default().with_partitions(vec![
            partition(3),
            partition(0),
            partition(6),
        ]);
        assert_eq!(
            codes(&ListOffsetsResponse::default().with_topics(vec![topic])),
            [3, 0, 6]
        );
        let topic = MetadataResponseTopic::default()
            .with_error_code(17)
            .with_partitions(vec![
                MetadataResponsePartition::default().with_error_code(5),
            ]);
        let metadata = MetadataResponse::default()
            .with_error_code(29)
            .with_topics(vec![topic]);
        assert_eq!(codes(&metadata), [29, 17, 5]);
    }
}
