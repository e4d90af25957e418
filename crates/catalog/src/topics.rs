//! Changing and deleting topics.
use crate::{
    event::AlterTopicConfigs,
    image::Image,
    machine::{Catalog, Soft},
};
use gnomon_machine::{Effects, ReplyToken};
use gnomon_protocol::ids::{LeaderEpoch, TopicId};
pub(crate) fn delete(_image: &Image, _soft: &mut Soft, _ids: Vec<TopicId>, _token: ReplyToken) -> Effects<Catalog> {
    unimplemented!()
}
pub(crate) fn alter_configs(_image: &Image, _asked: AlterTopicConfigs, _token: ReplyToken) -> Effects<Catalog> {
    unimplemented!()
}
pub(crate) fn faulted(_image: &Image, _topic: TopicId, _reason: String, _token: ReplyToken) -> Effects<Catalog> {
    unimplemented!()
}
pub(crate) fn recovered(_image: &Image, _topic: TopicId, _token: ReplyToken) -> Effects<Catalog> {
    unimplemented!()
}
pub(crate) fn epochs_seen(_image: &Image, _epochs: &[(TopicId, i32, LeaderEpoch)], _token: ReplyToken) -> Effects<Catalog> {
    unimplemented!()
}
