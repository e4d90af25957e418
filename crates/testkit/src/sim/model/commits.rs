//! The commits of groups, by the answers that their members got, and the offsets that they are
//! shown at both sites.

use super::Model;
use crate::sim::check::{
    Check, Violation,
    groups::{self, Attempt},
};
use gnomon_protocol::ids::Offset;

impl Model {
    /// Whether a commit on a partition means anything: its topic is there, and the same as ever.
    pub fn may_commit(&self, site: usize, (topic, _): &(String, i32)) -> bool {
        self.topics.get(topic).is_some_and(|topic| {
            !topic.retired && topic.former.is_none() && topic.ids[site].is_some()
        })
    }

    /// A group is about to commit; the number of the attempt.
    pub fn commits(
        &mut self,
        site: usize,
        group: &str,
        place: &(String, i32),
        generation: i32,
        offset: Offset,
    ) -> u64 {
        self.attempts += 1;
        let commits = self
            .commits
            .entry((site, group.to_owned(), place.clone()))
            .or_default();
        commits.maybe.push(Attempt {
            number: self.attempts,
            generation,
            offset,
        });
        commits.highest = commits.highest.max(offset);
        self.attempts
    }

    /// A commit is answered well.
    pub fn commit_acked(&mut self, site: usize, group: &str, place: &(String, i32), number: u64) {
        self.commits
            .entry((site, group.to_owned(), place.clone()))
            .or_default()
            .acked(number);
    }

    /// A group is told what it has committed on a partition.
    pub fn committed(
        &mut self,
        site: usize,
        group: &str,
        place: &(String, i32),
        found: Option<Offset>,
    ) -> Check {
        let Some(topic) = self
            .topics
            .get(&place.0)
            .filter(|topic| !topic.retired && topic.former.is_none())
        else {
            return Ok(());
        };
        let key = (site, group.to_owned(), place.clone());
        let here = self.commits.get(&key).cloned().unwrap_or_default();
        if site == topic.owner
            || here.acked.is_some()
            || found.is_some_and(|found| here.may_be(found))
        {
            groups::l7_commit_stands(&here, found)?;
            self.commits.entry(key).or_default().found(found);
            return Ok(());
        }
        found.map_or(Ok(()), |found| self.brought(site, group, place, found))
    }

    /// A position is found at a site; a link brought it, unless the group worked there.
    pub fn brought(&self, site: usize, group: &str, place: &(String, i32), found: Offset) -> Check {
        let Some(topic) = self.topics.get(&place.0) else {
            return Ok(());
        };
        let at = |site: usize| self.commits.get(&(site, group.to_owned(), place.clone()));
        if site == topic.owner || self.worked(site, group, &place.0) {
            return Ok(());
        }
        groups::r12_nothing_is_skipped(
            at(topic.owner).map_or(0, |commits| commits.highest),
            found,
        )?;
        match topic
            .failover
            .as_ref()
            .and_then(|failover| failover.cuts.get(&place.1))
        {
            Some(cut) => groups::r12_not_behind_the_cut(found, cut.end),
            None => Ok(()),
        }
    }

    /// Every group's offsets at both sites, fetched while nobody worked. `at` tells what was found,
    /// by site.
    pub fn compare_groups(
        &mut self,
        at: impl Fn(usize, &str, &(String, i32)) -> Option<Offset>,
    ) -> Check {
        let places: Vec<(usize, String, (String, i32))> = self
            .commits
            .keys()
            .filter(|(site, _, place)| self.may_commit(*site, place))
            .cloned()
            .collect();
        for (site, group, place) in places {
            let Some(topic) = self.topics.get(&place.0).cloned() else {
                continue;
            };
            self.committed(site, &group, &place, at(site, &group, &place))?;
            let other = 1 - topic.owner;
            let Some(id) = self
                .id(other, &place.0, place.1)
                .filter(|_| site == topic.owner)
            else {
                continue;
            };
            if !self.worked(other, &group, &place.0) && topic.failover.is_none() {
                let marks = self.marks(id);
                let (there, here) = (at(site, &group, &place), at(other, &group, &place));
                groups::r12_nothing_is_repeated(there, here, marks.log_start, marks.high_watermark)
                    .map_err(|violation| Violation {
                        what: format!("{group} on {}-{}: {}", place.0, place.1, violation.what),
                        ..violation
                    })?;
            }
        }
        Ok(())
    }

    /// Whether a group has tried to commit on a topic at a site: then links leave all of its
    /// positions there alone.
    fn worked(&self, site: usize, group: &str, topic: &str) -> bool {
        self.commits
            .keys()
            .any(|(at, name, (on, _))| *at == site && name == group && on == topic)
    }
}
