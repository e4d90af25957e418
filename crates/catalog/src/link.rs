//! Links come, reach their source, and go. What they copy is decided in `discover.rs`, how they end
//! in `failover.rs`.

use crate::{
    error::{CreateLinkError, DeleteLinkError, NotRegistered, UnknownLink},
    event::LinkSource,
    image::{Image, Link, SourceSite},
    record::{LinkDeleted, Record},
    reply::{LinkCreated, LinkOutcome, Reply},
    soft::Catalog,
    topic::LinkId,
};
use gnomon_links::{
    LinkConfig, LinkState,
    contact::{Contact, ContactFault, OurSite, check},
    ownership::{Claim, check_links},
};
use gnomon_machine::{Effects, ReplyToken};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn create(
    image: &Image,
    id: LinkId,
    config: LinkConfig,
    source: LinkSource,
    token: ReplyToken,
) -> Effects<Catalog> {
    match made(image, id, config, source) {
        Err(error) => Effects::reply(token, Reply::CreateLink(Err(error))),
        Ok((created, link)) => {
            let mut effects = Effects::reply(token, Reply::CreateLink(Ok(created)));
            effects
                .records
                .extend(link.map(|link| Record::Link(Box::new(link))));
            effects
        }
    }
}

fn made(
    image: &Image,
    id: LinkId,
    config: LinkConfig,
    source: LinkSource,
) -> Result<(LinkCreated, Option<Link>), CreateLinkError> {
    if image.site.is_none() {
        return Err(NotRegistered.into());
    }
    let name = config.name.as_str();
    if let Some(there) = image.link_by_name(name) {
        return match source {
            LinkSource::Command => Err(CreateLinkError::Exists {
                name: name.to_owned(),
            }),
            LinkSource::File => {
                let differences = there.config.differences(&config);
                Ok((
                    LinkCreated {
                        id: there.id,
                        outcome: LinkOutcome::Stands { differences },
                    },
                    None,
                ))
            }
        };
    }
    if source == LinkSource::File && image.link_names.contains(name) {
        return Err(CreateLinkError::Deleted {
            name: name.to_owned(),
        });
    }
    let link = Link {
        id,
        config,
        state: LinkState::Active,
        ending: false,
        fault: None,
        source_cluster_id: None,
        source_site: None,
        made_from_file: source == LinkSource::File,
        unselected: BTreeMap::new(),
        released: BTreeSet::new(),
    };
    let others: Vec<Claim<'_>> = image.links.values().map(|other| other.claim("")).collect();
    check_links(&link.claim(""), &others)?;
    Ok((
        LinkCreated {
            id,
            outcome: LinkOutcome::Made,
        },
        Some(link),
    ))
}

pub(crate) fn contact(
    image: &Image,
    id: LinkId,
    cluster_id: Option<String>,
    peer: Option<SourceSite>,
    token: ReplyToken,
) -> Effects<Catalog> {
    let Some(link) = image.link(id) else {
        return Effects::reply(token, Reply::LinkContact(Err(UnknownLink { id })));
    };
    let mut met = link.as_ref().clone();
    // Only this contact's word: the site that is remembered says nothing about the cluster that
    // answered now.
    let cluster_id = cluster_id.or(peer.as_ref().map(|peer| peer.site.cluster_id.clone()));
    let peer = peer.or(met.source_site.clone());
    let fault = check_contact(image, &met, cluster_id.as_deref(), peer.as_ref()).err();
    if fault.as_ref().is_none_or(ContactFault::is_of_the_source) {
        met.source_site = peer;
    }
    met.fault = fault.map(|fault| fault.to_string());
    if met.fault.is_none() && met.source_cluster_id.is_none() {
        met.source_cluster_id = cluster_id;
    }
    let mut effects = Effects::reply(token, Reply::LinkContact(Ok(met.fault.clone())));
    if met != **link {
        effects.records.push(Record::Link(Box::new(met)));
    }
    effects
}

fn check_contact(
    image: &Image,
    link: &Link,
    cluster_id: Option<&str>,
    peer: Option<&SourceSite>,
) -> Result<(), ContactFault> {
    let Some(site) = &image.site else {
        return Ok(());
    };
    let ours = OurSite {
        name: &site.name,
        cluster_id: &site.cluster_id,
        producer_tag: site.producer_tag,
    };
    let found = Contact {
        cluster_id,
        site: peer.map(|known| &known.site),
        links: peer.map_or(&[], |known| &known.links),
    };
    check(
        &link.claim(""),
        ours,
        link.config.client.source_cluster_id.as_deref(),
        link.source_cluster_id.as_deref(),
        found,
    )
}

pub(crate) fn delete(image: &Image, name: String, token: ReplyToken) -> Effects<Catalog> {
    let refuse = |error| Effects::reply(token, Reply::DeleteLink(Err(error)));
    let Some(link) = image.link_by_name(&name) else {
        return refuse(DeleteLinkError::Unknown { name });
    };
    let topics: Vec<String> = image
        .topics_of(link.id)
        .filter(|topic| topic.is_shadow())
        .map(|topic| topic.name.clone())
        .collect();
    if !topics.is_empty() {
        return refuse(DeleteLinkError::HasShadows { name, topics });
    }
    let mut effects = Effects::reply(token, Reply::DeleteLink(Ok(link.id)));
    effects
        .records
        .push(Record::LinkDeleted(LinkDeleted { id: link.id }));
    effects
}
