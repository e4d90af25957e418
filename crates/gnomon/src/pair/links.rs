//! Watches the links of a site for its operator: a line when one is first seen, when the site comes
//! back, and when a link changes. Lag, which changes all the time, is no change.

use super::News;
use crate::admin_client::AdminClient;
use gnomon_links::{LinkStatus, render};
use std::{
    collections::BTreeMap,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a link is looked at that has not reached its source yet, and for how long its first
/// line waits for that.
const FIRST_LOOK_EVERY: Duration = Duration::from_millis(50);
const CONTACT_MAX: Duration = Duration::from_secs(5);

/// Posts a line for each change until nobody listens any more.
pub fn watch(admin: String, news: mpsc::Sender<News>) {
    thread::spawn(move || {
        let client = AdminClient::new(&admin);
        let mut known = Known::default();
        loop {
            let (lines, pause) = match client.get::<Vec<LinkStatus>>("/v1/links") {
                Ok(links) => known.look(&links),
                Err(_) => {
                    known = Known::default();
                    (Vec::new(), LOOK_EVERY)
                }
            };
            if !lines.is_empty() && news.send(News::Links { lines }).is_err() {
                return;
            }
            thread::sleep(pause);
        }
    });
}

/// The links of a site as they were shown last.
#[derive(Default)]
struct Known {
    shown: BTreeMap<String, Shown>,
    /// When the first look was; `None`: the first lines have been shown.
    waiting: Option<Instant>,
    begun: bool,
}

/// The part of a link that is worth a line when it changes.
#[derive(PartialEq)]
struct Shown {
    state: String,
    fault: Option<String>,
    topics: usize,
    reached: bool,
}

impl Known {
    /// The lines to print, and the time until the next look.
    fn look(&mut self, links: &[LinkStatus]) -> (Vec<String>, Duration) {
        if !self.begun {
            let since = *self.waiting.get_or_insert_with(Instant::now);
            let all_reached = links.iter().all(reached);
            if !all_reached && since.elapsed() < CONTACT_MAX {
                return (Vec::new(), FIRST_LOOK_EVERY);
            }
            self.begun = true;
        }
        let mut lines = Vec::new();
        let mut now = BTreeMap::new();
        for link in links {
            let shown = Shown {
                state: link.state.to_string(),
                fault: link.fault.clone(),
                topics: link.topics.len(),
                reached: reached(link),
            };
            if self.shown.get(&link.name) != Some(&shown) {
                lines.push(render::story_line(link));
                lines.extend(link.fault.iter().map(|fault| format!("  {fault}")));
            }
            now.insert(link.name.clone(), shown);
        }
        self.shown = now;
        (lines, LOOK_EVERY)
    }
}

fn reached(link: &LinkStatus) -> bool {
    link.source.last_contact_ms.is_some()
}
