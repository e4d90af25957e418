//! What a look at the source changes.
use crate::{
    event::Discovered,
    image::Image,
    machine::{Catalog, Settings},
};
use gnomon_machine::{Effects, ReplyToken};
pub(crate) fn discovered(_image: &Image, _settings: &Settings, _seen: Discovered, _token: ReplyToken) -> Effects<Catalog> {
    unimplemented!()
}
