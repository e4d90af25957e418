//! Counts what clients do: requests, their errors, time and bytes by API, refused writes by reason,
//! and connections.
//!
//! Invariant: counting on the way of a request is a few relaxed additions to atomics that exist
//! since the start, without a lock or an allocation. Values of several counters are not taken at
//! one moment. Not here: how they are shown (`admin/metrics/requests.rs`).

mod histogram;
mod refusal;

pub use self::{
    histogram::{BOUNDS, Histogram},
    refusal::WriteRefusal,
};

use gnomon_protocol::api::{APIS, Api};
use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::time::Instant;

/// Kafka's error codes are from -1 to 133 (4.3); what lies outside is counted as the last of these.
const CODES: usize = 160;

/// The counters of one API, in cache lines of their own.
#[repr(align(128))]
pub struct ApiTraffic {
    requests: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    latency: Histogram,
    /// By code + 1.
    errors: [AtomicU64; CODES],
}

impl Default for ApiTraffic {
    fn default() -> Self {
        ApiTraffic {
            requests: AtomicU64::default(),
            received_bytes: AtomicU64::default(),
            sent_bytes: AtomicU64::default(),
            latency: Histogram::default(),
            errors: array::from_fn(|_| AtomicU64::default()),
        }
    }
}

impl ApiTraffic {
    /// Requests that were begun.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Bytes of them, with their sizes.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Relaxed)
    }

    /// Bytes of responses, with their sizes.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Relaxed)
    }

    /// The time from a request's arrival until its response is ready to be sent.
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// Error codes in responses that occurred, and how often.
    pub fn errors(&self) -> impl Iterator<Item = (i16, u64)> {
        let counted = self.errors.iter().zip(-1i16..);
        counted
            .map(|(count, code)| (code, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
    }

    /// One partition, group, topic or request was answered with this code; 0 is no error.
    pub fn count_error(&self, code: i16) {
        if code != 0 {
            let at = usize::try_from(i32::from(code) + 1).unwrap_or(CODES);
            self.errors[at.min(CODES - 1)].fetch_add(1, Relaxed);
        }
    }
}

/// The counters of a site, since its start.
pub struct Traffic {
    /// In the order of [`APIS`].
    apis: Box<[ApiTraffic]>,
    refused_writes: [AtomicU64; WriteRefusal::ALL.len()],
    connections_accepted: AtomicU64,
    connections_closed: AtomicU64,
    connections_refused: AtomicU64,
}

impl Default for Traffic {
    fn default() -> Self {
        Traffic {
            apis: APIS.iter().map(|_| ApiTraffic::default()).collect(),
            refused_writes: array::from_fn(|_| AtomicU64::default()),
            connections_accepted: AtomicU64::default(),
            connections_closed: AtomicU64::default(),
            connections_refused: AtomicU64::default(),
        }
    }
}

impl Traffic {
    /// A request has arrived for the API at this place of [`APIS`], of so many bytes.
    pub fn begin(self: &Arc<Self>, place: usize, bytes: usize) -> Measure {
        let api = &self.apis[place];
        api.requests.fetch_add(1, Relaxed);
        api.received_bytes.fetch_add(bytes as u64, Relaxed);
        Measure {
            traffic: self.clone(),
            place,
            begun: Instant::now(),
        }
    }

    /// Every API with its counters.
    pub fn apis(&self) -> impl Iterator<Item = (&'static Api, &ApiTraffic)> {
        APIS.iter().zip(&self.apis)
    }

    /// The counters of the API with this key.
    ///
    /// # Panics
    /// If it is not in [`APIS`].
    pub fn api(&self, key: i16) -> &ApiTraffic {
        let mut apis = self.apis();
        let found = apis.find(|(api, _)| api.key == key);
        found.expect("an API that is answered").1
    }

    /// A batch was not appended.
    pub fn count_refused_write(&self, reason: WriteRefusal) {
        self.refused_writes[reason as usize].fetch_add(1, Relaxed);
    }

    /// Batches that were not appended, by reason.
    pub fn refused_writes(&self) -> impl Iterator<Item = (WriteRefusal, u64)> {
        let counts = self.refused_writes.iter().map(|count| count.load(Relaxed));
        WriteRefusal::ALL.into_iter().zip(counts)
    }

    /// A connection was accepted; it is counted as open until the result is dropped.
    pub fn connected(self: &Arc<Self>) -> Connected {
        self.connections_accepted.fetch_add(1, Relaxed);
        Connected(self.clone())
    }

    /// A connection was closed at once, because there were too many.
    pub fn refused_connection(&self) {
        self.connections_refused.fetch_add(1, Relaxed);
    }

    /// Connections of clients that are open.
    pub fn connections_open(&self) -> u64 {
        // In this order: one that ends meanwhile does not make the difference negative.
        let closed = self.connections_closed.load(Relaxed);
        self.connections_accepted
            .load(Relaxed)
            .saturating_sub(closed)
    }

    pub fn connections_accepted(&self) -> u64 {
        self.connections_accepted.load(Relaxed)
    }

    /// Connections that were closed at once, because there were too many.
    pub fn connections_refused(&self) -> u64 {
        self.connections_refused.load(Relaxed)
    }
}

/// A connection that is open.
pub struct Connected(Arc<Traffic>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections_closed.fetch_add(1, Relaxed);
    }
}

/// A request under way. One that is dropped has no response, and no time.
pub struct Measure {
    traffic: Arc<Traffic>,
    place: usize,
    begun: Instant,
}

impl Measure {
    /// Its response of so many bytes is ready to be sent.
    pub fn end(self, bytes: usize) {
        let api = &self.traffic.apis[self.place];
        api.sent_bytes.fetch_add(bytes as u64, Relaxed);
        api.latency.record(self.begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_protocol::api::keys;

    #[test]
    fn every_error_code_has_a_counter_and_no_code_is_out_of_range() {
        let api = ApiTraffic::default();
        for code in [0, -1, 1, 133, i16::MAX, i16::MIN, 1] {
            api.count_error(code);
        }
        let errors: Vec<_> = api.errors().collect();
        assert_eq!(errors, [(-1, 1), (1, 2), (133, 1), (158, 2)]);
    }

    #[test]
    fn a_request_without_a_response_is_counted_and_has_no_time() {
        let traffic = Arc::new(Traffic::default());
        traffic.begin(0, 10).end(7);
        drop(traffic.begin(0, 10));
        let api = traffic.api(keys::PRODUCE);
        assert_eq!((api.requests(), api.received_bytes()), (2, 20));
        assert_eq!((api.sent_bytes(), api.latency().count()), (7, 1));
    }

    #[test]
    fn connections_are_open_until_they_end() {
        let traffic = Arc::new(Traffic::default());
        let (first, second) = (traffic.connected(), traffic.connected());
        drop(first);
        let counted = (traffic.connections_open(), traffic.connections_accepted());
        assert_eq!(counted, (1, 2));
        drop(second);
        assert_eq!(traffic.connections_open(), 0);
    }
}
