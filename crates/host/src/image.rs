//! The published image of the site's metadata, and those who follow it.
//!
//! Invariant: a follower that was added before an image is published is called with it, in the
//! order in which followers were added, after the image can be read. So a reader that opens a
//! partition and then looks at the image again misses nothing.

use arc_swap::ArcSwap;
use gnomon_catalog::Image;
use parking_lot::RwLock;
use std::sync::Arc;

/// Called with the image before and the image now.
type Follower = Box<dyn Fn(&Arc<Image>, &Arc<Image>) + Send + Sync>;

/// The image as of the last durable change.
#[derive(Default)]
pub struct PublishedImage {
    image: ArcSwap<Image>,
    followers: RwLock<Vec<Follower>>,
}

impl PublishedImage {
    /// The image now.
    pub fn load(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// The image now, for a look that does not outlive the expression.
    pub fn peek(&self) -> arc_swap::Guard<Arc<Image>> {
        self.image.load()
    }

    /// Has `follower` called with every image that is published from now on.
    pub fn follow(&self, follower: impl Fn(&Arc<Image>, &Arc<Image>) + Send + Sync + 'static) {
        self.followers.write().push(Box::new(follower));
    }

    /// Publishes an image; returns when every follower has taken it up.
    pub fn publish(&self, image: Arc<Image>) {
        let before = self.image.swap(image.clone());
        for follower in &*self.followers.read() {
            follower(&before, &image);
        }
    }
}
