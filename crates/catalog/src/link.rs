//! Making links, and what they reach.
use crate::{
    event::LinkSource,
    image::{Image, SourceSite},
    machine::Catalog,
    topic::LinkId,
};
use gnomon_links::LinkConfig;
use gnomon_machine::{Effects, ReplyToken};
pub(crate) fn create(_image: &Image, _id: LinkId, _config: LinkConfig, _source: LinkSource, _token: ReplyToken) -> Effects<Catalog> {
    unimplemented!()
}
pub(crate) fn contact(
    _image: &Image,
    _link: LinkId,
    _cluster_id: Option<String>,
    _peer: Option<SourceSite>,
    _token: ReplyToken,
) -> Effects<Catalog> {
    unimplemented!()
}
