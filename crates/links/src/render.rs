//! Status and loss as text: what `gnomon link list`, `status`, `failover` and `pair` print. Columns
//! by spaces, no colours, one trailing newline.
//!
//! Not here: what the numbers mean (`lag.rs`, `status.rs`, `loss.rs`). Unknown numbers are printed
//! as `-`.

use crate::{
    lag::Lag,
    loss::{GroupsRead, Loss},
    status::{LinkStatus, PartitionStatus, TopicStatus},
    verdict::Verdict,
};

/// One line for a link, without a newline: `link from-a (on b)  a_*  ACTIVE  topics 0  lag 0
/// LEVEL`. Lag counts only where the verdict knows it; else it is the last one that was known.
pub fn story_line(status: &LinkStatus) -> String {
    let state = if status.fault.is_some() {
        format!("{} (FAULTED)", status.state)
    } else {
        status.state.to_string()
    };
    let mut line = format!(
        "link {} (on {})  {}  {state}  topics {}",
        status.name,
        status.site,
        status.selects(),
        status.topics.len()
    );
    line += &match status.lag() {
        Some(lag) if matches!(status.verdict, Some(Verdict::NotKnown { .. })) => {
            format!("  last known lag {}", lag.records)
        }
        Some(lag) => format!("  lag {}", lag.records),
        None => "  lag unknown".to_owned(),
    };
    if let Some(verdict) = status.verdict {
        line += &format!("  {verdict}");
    }
    if status.faulted() > 0 {
        line += &format!("  faulted {}", status.faulted());
    }
    line
}

/// Links as `gnomon link list` shows them: a story line each, `no links` if there are none.
pub fn list(links: &[LinkStatus]) -> String {
    if links.is_empty() {
        return "no links\n".to_owned();
    }
    links.iter().map(|link| story_line(link) + "\n").collect()
}

/// The lines that say what a peer has taken over: `a_orders-0  TAKEN OVER by b at 1234, epoch
/// 65536`.
pub fn taken_over(status: &LinkStatus) -> Vec<String> {
    status
        .taken_over
        .iter()
        .flat_map(|t| {
            t.partitions.iter().map(|p| {
                format!(
                    "{}-{}  TAKEN OVER by {} at {}, epoch {}",
                    t.topic, p.partition, t.by, p.offset, p.epoch
                )
            })
        })
        .collect()
}

/// All that there is to see of a link. `now_ms` is wall time, for what is said as "so long ago".
pub fn status(status: &LinkStatus, now_ms: i64) -> String {
    let mut out = story_line(status) + "\n";
    let mut line = |label: &str, text: &str| out += &format!("  {label:<12} {text}\n");
    line("source", &source(status, now_ms));
    if let Some(fault) = &status.fault {
        line("FAULTED", fault);
    }
    line("groups", &crate::filter::describe(&status.group_filters));
    for task in &status.tasks {
        let reason = task
            .reason
            .as_ref()
            .map(|r| format!("  {r}"))
            .unwrap_or_default();
        line(
            "task",
            format!("{:<26} {:<16}{reason}", task.task, task.state).trim_end(),
        );
    }
    for text in taken_over(status) {
        line("", &text);
    }
    for text in &status.warnings {
        line("warning", text);
    }
    for text in &status.file_differs {
        line("file differs", text);
    }
    for topic in &status.unselected {
        line("no shadow", &format!("{}: {}", topic.topic, topic.reason));
    }
    if !status.unselected_groups.is_empty() {
        line(
            "not synced",
            &format!(
                "groups that read paired topics: {}",
                status.unselected_groups.join(", ")
            ),
        );
    }
    if !status.topics.is_empty() {
        out += "\n";
        out += &partitions(status);
    }
    for topic in &status.topics {
        for text in remarks(topic) {
            out += &format!("{}: {text}\n", topic.name);
        }
    }
    out
}

fn source(status: &LinkStatus, now_ms: i64) -> String {
    let at = status.source.bootstrap_servers.join(",");
    let who = match (&status.source.site, &status.source.cluster_id) {
        (Some(site), Some(id)) => format!("site '{site}' (cluster {id}) at {at}"),
        (Some(site), None) => format!("site '{site}' at {at}"),
        (None, Some(id)) => format!("cluster {id} at {at}"),
        (None, None) => format!("at {at}"),
    };
    match status.source.last_contact_ms {
        Some(then) => format!(
            "{who}, last contact {} ago",
            seconds(now_ms.saturating_sub(then).max(0) as f64 / 1_000.0)
        ),
        None => format!("{who}, not reached yet"),
    }
}

fn partitions(status: &LinkStatus) -> String {
    let mut table = TextTable::new(&[
        "TOPIC",
        "STATE",
        "PARTITION",
        "SOURCE HW",
        "LOCAL HW",
        "LAG",
        "LAG SECONDS",
        "",
    ]);
    for topic in &status.topics {
        for p in &topic.partitions {
            table.row(vec![
                topic.name.clone(),
                state(topic),
                p.partition.to_string(),
                or_dash(p.source_high_watermark),
                p.high_watermark.to_string(),
                or_dash(p.lag.map(|lag| lag.records)),
                p.lag
                    .map_or_else(|| "-".to_owned(), |lag| format!("{:.1}", lag.seconds)),
                notes(&status.site, p),
            ]);
        }
    }
    table.print(&[2, 3, 4, 5, 6])
}

fn state(topic: &TopicStatus) -> String {
    match &topic.step {
        Some(step) => format!("{} ({step})", topic.state),
        None => topic.state.to_string(),
    }
}

/// The remarks after the numbers of a partition.
fn notes(site: &str, p: &PartitionStatus) -> String {
    let mut notes = Vec::new();
    if let Some(silent) = p.silent_seconds {
        notes.push(format!("NOT KNOWN for {}", seconds(silent)));
    }
    if let Some(stalled) = p.stalled_seconds {
        notes.push(format!("STALLED for {}", seconds(stalled)));
    }
    if let Some(cut) = p.cut {
        notes.push(format!(
            "TAKEN OVER by {site} at {cut}, epoch {}",
            or_dash(p.cut_epoch)
        ));
    }
    if let Some(lag) = p.lag.filter(|lag| lag.records_stable != lag.records) {
        notes.push(format!(
            "{} behind the last stable offset",
            lag.records_stable
        ));
    }
    if !p.open_transactions.is_empty() {
        notes.push(count(p.open_transactions.len() as u64, "open transaction"));
    }
    notes.extend(p.error.clone());
    notes.join("; ")
}

/// The remarks about a topic as a whole.
fn remarks(topic: &TopicStatus) -> Vec<String> {
    let mut remarks: Vec<String> = topic.reason.iter().cloned().collect();
    if topic.source_missing {
        remarks.push(
            "SOURCE MISSING: the source does not have this topic any more; what was copied stays"
                .to_owned(),
        );
    }
    for gap in &topic.gaps {
        remarks.push(format!(
            "GAP in partition {}: offsets {} to {} will never come ({})",
            gap.partition,
            gap.from,
            gap.to - 1,
            gap.reason
        ));
    }
    remarks
}

/// The loss by a failover, and the parts of it that are not known.
pub fn loss(loss: &Loss) -> String {
    let mut out = format!(
        "failover of link {}: {}\n",
        loss.link,
        count(loss.topics.len() as u64, "topic")
    );
    out += &match loss.last_contact_seconds {
        Some(ago) => {
            format!(
                "{} was last reached {} ago; what it took since then is not known and would be lost too\n",
                loss.source,
                seconds(ago)
            )
        }
        None => format!(
            "{} was never reached since this site started: what it has that is not here is not known\n",
            loss.source
        ),
    };
    if loss.source_answers {
        out += &format!(
            "WARNING: {} answers now. Clients can still write to these topics there; after a failover both sites take writes, and their copies differ from there on\n",
            loss.source
        );
    }
    let mut table = TextTable::new(&[
        "TOPIC",
        "PARTITION",
        "CUT AT",
        "RECORDS LOST",
        "BYTES (ESTIMATED)",
        "SECONDS",
    ]);
    let mut whole = Vec::new();
    for topic in &loss.topics {
        if topic.partitions.is_empty() {
            whole.push(topic.topic.as_str());
        }
        for p in &topic.partitions {
            let [records, bytes, secs] = lag_cells(p.lag);
            table.row(vec![
                topic.topic.clone(),
                p.partition.to_string(),
                p.end.to_string(),
                records,
                bytes,
                secs,
            ]);
        }
    }
    if !table.rows.is_empty() {
        out += &table.print(&[1, 2, 3, 4, 5]);
        out += &match loss.total() {
            Some(lag) => format!(
                "known to be lost in all: {}, {} bytes, the last {}\n",
                count(lag.records.unsigned_abs(), "record"),
                or_dash(lag.bytes),
                seconds(lag.seconds)
            ),
            None => "how much is lost in all is not known: the source never showed the end of some partitions\n".to_owned(),
        };
    }
    if !whole.is_empty() {
        out += &format!("nothing known to be lost: {}\n", whole.join(", "));
    }
    for topic in &loss.topics {
        for p in &topic.partitions {
            for open in &p.open_transactions {
                let place = format!("{}-{}", topic.topic, p.partition);
                out += &format!(
                    "open transaction on {place}: producer {} from offset {}, will be aborted\n",
                    open.producer_id, open.first_offset
                );
            }
        }
    }
    for half in &loss.half_copied {
        out += &format!(
            "transaction CUT IN HALF: producer {}, ended at {}, will be aborted at {}\n",
            half.producer_id,
            places(&half.ended_on),
            places(&half.open_on)
        );
    }
    out += &groups(loss);
    for left in &loss.not_affected {
        out += &format!("left as it is: {}: {}\n", left.topic, left.reason);
    }
    out
}

/// Which groups would go on from where they do not stand at the source.
fn groups(loss: &Loss) -> String {
    let mut out = match loss.groups_read {
        GroupsRead::NotSynced => "groups: this link syncs none; they would go on from what they committed here\n".to_owned(),
        GroupsRead::NeverSinceStart => {
            "groups: their positions at the source were not read since this site started; they would go on from what was synced before\n"
                .to_owned()
        }
        GroupsRead::SecondsAgo(ago) if loss.groups_behind.is_empty() => {
            format!("groups: none behind its position at the source, as read {} ago\n", seconds(ago))
        }
        GroupsRead::SecondsAgo(ago) => {
            format!("groups that would go on from behind their position at the source, as read {} ago:\n", seconds(ago))
        }
    };
    for g in &loss.groups_behind {
        let here = g
            .offset
            .map_or_else(|| "no position".to_owned(), |offset| offset.to_string());
        out += &format!(
            "group {} on {}-{}: here {here}, at the source {}\n",
            g.group, g.topic, g.partition, g.source_offset
        );
    }
    if !loss.groups_unknown.is_empty() {
        out += &format!(
            "groups whose position here cannot be told now: {}\n",
            loss.groups_unknown.join(", ")
        );
    }
    out
}

fn lag_cells(lag: Option<Lag>) -> [String; 3] {
    match lag {
        Some(lag) => [
            lag.records.to_string(),
            or_dash(lag.bytes),
            format!("{:.1}", lag.seconds),
        ],
        None => ["-".to_owned(), "-".to_owned(), "-".to_owned()],
    }
}

fn places(places: &[(String, i32)]) -> String {
    places
        .iter()
        .map(|(topic, partition)| format!("{topic}-{partition}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn seconds(value: f64) -> String {
    format!("{value:.1} s")
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Columns by spaces.
struct TextTable {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    fn new(header: &[&str]) -> TextTable {
        TextTable {
            header: header.iter().map(|h| (*h).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    fn row(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// `right` names the columns that are aligned to the right.
    fn print(&self, right: &[usize]) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let width = |at: usize| {
            lines()
                .map(|line| line[at].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut out = String::new();
        for line in lines() {
            let cells = line.iter().enumerate().map(|(at, cell)| {
                let width = widths[at];
                if right.contains(&at) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
            out += cells.collect::<Vec<_>>().join("  ").trim_end();
            out.push('\n');
        }
        out
    }
}
