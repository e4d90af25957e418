//! A cluster as one client sees it: where its brokers are, and connections to them.
//!
//! One shared connection per broker is kept for short requests; a caller that polls long takes a
//! connection of its own ([`Client::dedicated`]). A broken connection is replaced at its next use.
//! Any broker that answers is as good as another for questions about the cluster: those known from
//! metadata are tried first, then the bootstrap servers, and the bootstrap list is never forgotten.
//!
//! Not here: retrying in time. A call tries every broker it may, once.

use crate::{BrokerAddress, Call, ClientError, Config, Conn, Metadata, Net, Topics, metadata};
use gnomon_protocol::{
    ids::LeaderEpoch,
    messages::{FindCoordinatorRequest, MetadataRequest},
    wire::StrBytes,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::Mutex as AsyncMutex;

/// A handle on one cluster. Clones share connections and what is known of the brokers.
#[derive(Clone)]
pub struct Client(Arc<ClientState>);

struct ClientState {
    config: Config,
    net: Arc<dyn Net>,
    known: Mutex<Known>,
    /// By address dialled. The inner lock is held while connecting, so that many who ask at once
    /// make one connection.
    conns: Mutex<BTreeMap<String, Slot>>,
}

type Slot = Arc<AsyncMutex<Option<Conn>>>;

#[derive(Default)]
struct Known {
    brokers: BTreeMap<i32, BrokerAddress>,
    leaders: BTreeMap<(String, i32), (i32, LeaderEpoch)>,
    coordinators: BTreeMap<String, i32>,
}

impl Client {
    /// Connects to nothing yet.
    pub fn new(config: Config, net: Arc<dyn Net>) -> Client {
        Client(Arc::new(ClientState {
            config,
            net,
            known: Mutex::default(),
            conns: Mutex::default(),
        }))
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The shared connection to some broker that answers.
    pub async fn any(&self) -> Result<Conn, ClientError> {
        let known: Vec<String> = self
            .0
            .known
            .lock()
            .brokers
            .values()
            .map(BrokerAddress::dial)
            .collect();
        let mut tried = BTreeSet::new();
        let mut last = ClientError::NoBootstrap;
        for address in known
            .into_iter()
            .chain(self.0.config.bootstrap_servers.iter().cloned())
        {
            if !tried.insert(address.clone()) {
                continue;
            }
            match self.shared(&address).await {
                Ok(conn) => return Ok(conn),
                Err(error) => last = error,
            }
        }
        if tried.is_empty() {
            Err(last)
        } else {
            Err(ClientError::NoBroker {
                tried: tried.into_iter().collect(),
                last: Box::new(last),
            })
        }
    }

    /// The shared connection to this broker.
    pub async fn broker(&self, node: i32) -> Result<Conn, ClientError> {
        let address = self.address(node).await?;
        self.shared(&address).await
    }

    /// A new connection to this broker that nobody else uses.
    pub async fn dedicated(&self, node: i32) -> Result<Conn, ClientError> {
        let address = self.address(node).await?;
        Conn::open(&*self.0.net, &address, &self.0.config).await
    }

    /// Asks any broker, with the default deadline.
    pub async fn ask_any<C: Call>(&self, request: C) -> Result<C::Response, ClientError> {
        self.any()
            .await?
            .call(request, self.0.config.request_timeout)
            .await
    }

    /// Asks this broker, with the default deadline.
    pub async fn ask<C: Call>(&self, node: i32, request: C) -> Result<C::Response, ClientError> {
        self.broker(node)
            .await?
            .call(request, self.0.config.request_timeout)
            .await
    }

    /// Fresh metadata; what it says of brokers and leaders is remembered.
    pub async fn metadata(
        &self,
        topics: Topics,
        allow_auto_create: bool,
    ) -> Result<Metadata, ClientError> {
        let metadata = metadata::read(
            self.ask_any(metadata::request(&topics, allow_auto_create))
                .await?,
        )?;
        let mut known = self.0.known.lock();
        if topics == Topics::All {
            known.leaders.clear();
        }
        known.brokers = metadata.brokers.clone();
        for (name, topic) in &metadata.topics {
            known.leaders.retain(|(of, _), _| of != name);
            let led = topic.partitions.iter().filter_map(|(index, p)| {
                p.leader
                    .map(|node| ((name.clone(), *index), (node, p.leader_epoch)))
            });
            known.leaders.extend(led);
        }
        Ok(metadata)
    }

    /// The leader of a partition, as remembered, or by fresh metadata if it is not.
    pub async fn leader(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<(i32, LeaderEpoch), ClientError> {
        let key = (topic.to_owned(), partition);
        if let Some(leader) = self.0.known.lock().leaders.get(&key) {
            return Ok(*leader);
        }
        let metadata = self
            .metadata(Topics::Names(vec![topic.to_owned()]), false)
            .await?;
        let found = metadata.topics.get(topic);
        if let Some(error) = found.and_then(|found| found.error) {
            return Err(ClientError::refused(
                MetadataRequest::NAME,
                topic,
                error,
                None,
            ));
        }
        if let Some(found) = found.filter(|found| !found.partitions.contains_key(&partition)) {
            return Err(ClientError::NoPartition {
                topic: key.0,
                partition,
                partitions: found.partitions.len(),
            });
        }
        let leader = self.0.known.lock().leaders.get(&key).copied();
        leader.ok_or(ClientError::NoLeader {
            topic: key.0,
            partition,
        })
    }

    /// A broker said that it does not lead this partition any more, or could not be reached: it is
    /// looked up again at the next question.
    pub fn forget_leader(&self, topic: &str, partition: i32) {
        self.0
            .known
            .lock()
            .leaders
            .remove(&(topic.to_owned(), partition));
    }

    /// Which broker keeps each group. Remembered until
    /// [`forget_coordinators`](Self::forget_coordinators). A group that has no coordinator at the
    /// moment has its error beside it.
    pub async fn coordinators(
        &self,
        groups: &[String],
    ) -> Result<BTreeMap<String, Result<i32, ClientError>>, ClientError> {
        let mut found = BTreeMap::new();
        let mut unknown = Vec::new();
        {
            let known = self.0.known.lock();
            for group in groups {
                match known.coordinators.get(group) {
                    Some(node) => drop(found.insert(group.clone(), Ok(*node))),
                    None => unknown.push(group.clone()),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let conn = self.any().await?;
        // Since version 4 one request may name many groups (KIP-699).
        let many = conn.version::<FindCoordinatorRequest>()? >= 4;
        for chunk in unknown.chunks(if many { 1000 } else { 1 }) {
            self.find(&conn, chunk, many, &mut found).await?;
        }
        Ok(found)
    }

    async fn find(
        &self,
        conn: &Conn,
        groups: &[String],
        many: bool,
        found: &mut BTreeMap<String, Result<i32, ClientError>>,
    ) -> Result<(), ClientError> {
        let text = |group: &String| StrBytes::from_string(group.clone());
        let request = FindCoordinatorRequest::default().with_key_type(0);
        let request = if many {
            request.with_coordinator_keys(groups.iter().map(text).collect())
        } else {
            request.with_key(groups.first().map(text).unwrap_or_default())
        };
        let response = conn.call(request, self.0.config.request_timeout).await?;
        let mut known = self.0.known.lock();
        let mut note =
            |group: &str, code: i16, message: Option<&str>, node: i32, host: &str, port: i32| {
                let result = if code == 0 {
                    known.brokers.entry(node).or_insert_with(|| BrokerAddress {
                        host: host.to_owned(),
                        port,
                    });
                    known.coordinators.insert(group.to_owned(), node);
                    Ok(node)
                } else {
                    Err(ClientError::refused(
                        FindCoordinatorRequest::NAME,
                        group,
                        code,
                        message,
                    ))
                };
                found.insert(group.to_owned(), result);
            };
        if many {
            for c in &response.coordinators {
                note(
                    &c.key,
                    c.error_code,
                    c.error_message.as_deref(),
                    c.node_id.0,
                    &c.host,
                    c.port,
                );
            }
        } else if let Some(group) = groups.first() {
            note(
                group,
                response.error_code,
                response.error_message.as_deref(),
                response.node_id.0,
                &response.host,
                response.port,
            );
        }
        Ok(())
    }

    /// Coordinators moved, or one could not be reached.
    pub fn forget_coordinators(&self) {
        self.0.known.lock().coordinators.clear();
    }

    /// Closes the shared connections and forgets the brokers; the next question begins at the
    /// bootstrap servers.
    pub fn disconnect(&self) {
        *self.0.known.lock() = Known::default();
        self.0.conns.lock().clear();
    }

    async fn address(&self, node: i32) -> Result<String, ClientError> {
        let known = |client: &Client| {
            client
                .0
                .known
                .lock()
                .brokers
                .get(&node)
                .map(BrokerAddress::dial)
        };
        if let Some(address) = known(self) {
            return Ok(address);
        }
        self.metadata(Topics::None, false).await?;
        known(self).ok_or(ClientError::UnknownNode { node })
    }

    async fn shared(&self, address: &str) -> Result<Conn, ClientError> {
        let slot = self
            .0
            .conns
            .lock()
            .entry(address.to_owned())
            .or_default()
            .clone();
        let mut slot = slot.lock().await;
        if let Some(conn) = slot.as_ref().filter(|conn| !conn.is_closed()) {
            return Ok(conn.clone());
        }
        let conn = Conn::open(&*self.0.net, address, &self.0.config).await?;
        *slot = Some(conn.clone());
        Ok(conn)
    }
}
