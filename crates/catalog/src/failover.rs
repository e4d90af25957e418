//! Ending shadows.
use crate::{
    event::FailOver,
    image::Image,
    machine::{Catalog, Soft},
    reply::Reply,
    topic::LinkId,
};
use gnomon_machine::{Effects, ReplyToken};
use gnomon_protocol::ids::{BatchEpoch, Offset, TopicId};
#[derive(Debug, Default)]
pub(crate) struct Failovers {}
impl Failovers {
    pub(crate) fn resign(&mut self) -> Vec<(ReplyToken, Reply)> {
        unimplemented!()
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub end: Offset,
    pub last_epoch: BatchEpoch,
    pub highest_seen: i32,
}
pub(crate) fn begin(_image: &Image, _soft: &mut Soft, _asked: &FailOver, _token: ReplyToken) -> Effects<Catalog> {
    unimplemented!()
}
pub(crate) fn cut_reached(
    _image: &Image,
    _soft: &mut Soft,
    _topic: TopicId,
    _partition: i32,
    _reached: Reached,
    _token: ReplyToken,
) -> Effects<Catalog> {
    unimplemented!()
}
pub(crate) fn partition_failed(
    _image: &Image,
    _soft: &mut Soft,
    _topic: TopicId,
    _partition: i32,
    _why: &str,
    _token: ReplyToken,
) -> Effects<Catalog> {
    unimplemented!()
}
pub(crate) fn markers_written(_image: &Image, _soft: &mut Soft, _topic: TopicId, _partition: i32, _token: ReplyToken) -> Effects<Catalog> {
    unimplemented!()
}
pub(crate) fn offsets_applied(
    _image: &Image,
    _soft: &mut Soft,
    _link: LinkId,
    _topics: &[TopicId],
    _token: ReplyToken,
) -> Effects<Catalog> {
    unimplemented!()
}
pub(crate) fn resume(_image: &Image, _soft: &mut Soft) -> Effects<Catalog> {
    unimplemented!()
}
