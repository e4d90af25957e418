//! Making topics.
use crate::{
    event::CreateTopics,
    image::Image,
    machine::{Catalog, Settings},
};
use gnomon_machine::{Effects, ReplyToken};
pub(crate) fn create_topics(_image: &Image, _settings: &Settings, _asked: CreateTopics, _token: ReplyToken) -> Effects<Catalog> {
    unimplemented!()
}
