//! A reader of a page of metrics that refuses whatever one of the two formats does not allow:
//! Prometheus text 0.0.4 as Go's expfmt reads it, and OpenMetrics 1.0.0.

use std::collections::{BTreeMap, BTreeSet};

/// Labels of a series, sorted by name.
pub type Labels = BTreeMap<String, String>;

/// A page that was read.
#[derive(Debug, Default)]
pub struct Exposition {
    /// By the name in its `# TYPE` line.
    pub types: BTreeMap<String, String>,
    /// By the name of a sample, and its labels.
    pub samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// The value of a series.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }
}

/// Reads a page of Prometheus text.
pub fn read_text(page: &str) -> Result<Exposition, String> {
    read(
        page,
        &["counter", "gauge", "histogram", "summary", "untyped"],
        |family, kind| match kind {
            "histogram" => ["_bucket", "_sum", "_count"]
                .map(|end| format!("{family}{end}"))
                .to_vec(),
            _ => vec![family.to_owned()],
        },
    )
}

/// Reads a page of OpenMetrics.
pub fn read_open_metrics(page: &str) -> Result<Exposition, String> {
    let page = page
        .strip_suffix("# EOF\n")
        .ok_or("the last line is not # EOF")?;
    let kinds = [
        "counter",
        "gauge",
        "histogram",
        "summary",
        "info",
        "stateset",
        "unknown",
    ];
    read(page, &kinds, |family, kind| match kind {
        "histogram" => ["_bucket", "_sum", "_count"]
            .map(|end| format!("{family}{end}"))
            .to_vec(),
        "counter" => vec![format!("{family}_total")],
        _ => vec![family.to_owned()],
    })
}

/// Reads lines; `names` are the samples that a family of a type may have.
fn read(
    page: &str,
    kinds: &[&str],
    names: impl Fn(&str, &str) -> Vec<String>,
) -> Result<Exposition, String> {
    if !page.is_empty() && !page.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut found = Exposition::default();
    let mut helped = BTreeSet::new();
    // The family that the samples after it belong to.
    let mut family: Option<(String, Vec<String>)> = None;
    for line in page.lines() {
        let wrong = |why: &str| format!("{line:?}: {why}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap_or_default().to_owned();
            family = None;
            if !helped.insert(name) {
                return Err(wrong("a second HELP"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
            if !kinds.contains(&kind) {
                return Err(wrong("no type of this format"));
            }
            if !is_name(name)
                || found
                    .types
                    .insert(name.to_owned(), kind.to_owned())
                    .is_some()
            {
                return Err(wrong("no name, or one that was used"));
            }
            family = Some((name.to_owned(), names(name, kind)));
        } else if line.is_empty() || line.starts_with('#') {
            return Err(wrong("neither a sample, nor HELP, nor TYPE"));
        } else {
            let (name, labels, value) = sample(line).ok_or_else(|| wrong("no sample"))?;
            match &family {
                Some((_, names)) if names.contains(&name) => {}
                _ => return Err(wrong("a sample of another family")),
            }
            if found.samples.insert((name, labels), value).is_some() {
                return Err(wrong("a series for the second time"));
            }
        }
    }
    histograms(&found)?;
    Ok(found)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b"_:".contains(&b))
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b))
}

/// Name, labels and value.
fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    let value = match value {
        "+Inf" | "-Inf" | "NaN" => return None,
        number => number
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())?,
    };
    is_name(name).then(|| (name.to_owned(), labels, value))
}

/// A text up to its closing quote, and the rest after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                '\\' => '\\',
                '"' => '"',
                'n' => '\n',
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

/// Buckets ascend, and the last one is the count.
fn histograms(found: &Exposition) -> Result<(), String> {
    let families = found.types.iter().filter(|(_, kind)| *kind == "histogram");
    for (family, _) in families {
        let mut buckets = BTreeMap::<Labels, Vec<(f64, f64)>>::new();
        for ((name, labels), value) in &found.samples {
            if *name == format!("{family}_bucket") {
                let mut labels = labels.clone();
                let bound = labels.remove("le").ok_or("a bucket without le")?;
                let bound = match bound.as_str() {
                    "+Inf" => f64::INFINITY,
                    bound => bound.parse().map_err(|_| format!("le {bound:?}"))?,
                };
                buckets.entry(labels).or_default().push((bound, *value));
            }
        }
        for (labels, mut buckets) in buckets {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            let count = found
                .samples
                .get(&(format!("{family}_count"), labels.clone()));
            let ascend = buckets.is_sorted_by(|one, other| one.1 <= other.1);
            let all = buckets.last().filter(|(bound, _)| bound.is_infinite());
            if !ascend || all.map(|(_, value)| value) != count {
                return Err(format!("{family}{labels:?}: {buckets:?}, count {count:?}"));
            }
        }
    }
    Ok(())
}
