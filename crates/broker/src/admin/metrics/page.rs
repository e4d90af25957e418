//! A page of metrics in one of two formats: Prometheus text 0.0.4, and OpenMetrics 1.0.0.
//!
//! Invariants: only types that both formats have (gauge, counter, histogram); a counter's samples
//! end in `_total` in both, and its family is named with that suffix in the text format and without
//! it in OpenMetrics; samples of a family stand together; every bound of a histogram is a decimal
//! that both formats write alike. Not here: what is measured.
//!
//! Source: Prometheus' "Exposition formats" and "Scrape protocol content negotiation", OpenMetrics
//! 1.0.0.

use axum::http::{HeaderMap, header::ACCEPT};
use std::fmt::{self, Display, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4: all scrapers read it.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format that a scraper likes best. One that accepts neither by name gets text, as from
    /// Prometheus' own libraries.
    pub fn negotiate(headers: &HeaderMap) -> Format {
        let accepted = headers.get_all(ACCEPT).iter();
        let accepted = accepted.filter_map(|line| line.to_str().ok());
        let best = accepted
            .flat_map(|line| line.split(','))
            .filter_map(liked)
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map_or(Format::Text, |(format, _)| format)
    }

    /// The `Content-Type` of a page.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The format that one range of an `Accept` header stands for, and its weight from 0 to 1; `None`
/// for another format, and for a weight of 0.
fn liked(range: &str) -> Option<(Format, f64)> {
    let mut parts = range.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/openmetrics-text" => Format::OpenMetrics,
        "text/plain" | "text/*" | "*/*" => Format::Text,
        _ => return None,
    };
    let (mut version, mut weight) = (None, 1.0);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => {
                weight = value
                    .trim()
                    .parse()
                    .ok()
                    .filter(|q| (0.0..=1.0).contains(q))?
            }
            "version" => version = Some(value.trim().trim_matches('"')),
            _ => {}
        }
    }
    let ours = match format {
        Format::Text => "0.0.4",
        Format::OpenMetrics => "1.0.0",
    };
    (version.is_none_or(|version| version == ours) && weight > 0.0).then_some((format, weight))
}

/// Names and values of labels. Values may be any text.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// A page that is being written.
pub struct Page {
    format: Format,
    text: String,
}

impl Page {
    /// Nothing is on it yet.
    pub fn new(format: Format) -> Page {
        Page {
            format,
            text: String::new(),
        }
    }

    /// Begins a family of values that rise and fall.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "", "gauge", help)
    }

    /// Begins a family of values that only rise; `name` is without `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "_total", "counter", help)
    }

    /// Begins a family of histograms.
    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "", "histogram", help)
    }

    /// A gauge without labels.
    pub fn single(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.gauge(name, help).sample(&[], value);
    }

    fn family(
        &mut self,
        name: &'static str,
        suffix: &'static str,
        kind: &str,
        help: &str,
    ) -> Family<'_> {
        let shown = match self.format {
            Format::Text => suffix,
            Format::OpenMetrics => "",
        };
        self.put(format_args!(
            "# HELP {name}{shown} {help}\n# TYPE {name}{shown} {kind}\n"
        ));
        Family {
            page: self,
            name,
            suffix,
        }
    }

    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(text);
    }

    fn labels(&mut self, labels: Labels<'_>) {
        for (at, (name, value)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
    }
}

/// A family that is being written.
pub struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
    suffix: &'static str,
}

impl Family<'_> {
    /// One value. No labels twice.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.put(self.suffix, labels, value);
    }

    /// One histogram: the counts up to each bound, in ascending order and as they are shown, and
    /// the count and the sum of all.
    pub fn buckets<'b>(
        &mut self,
        labels: Labels<'_>,
        up_to: impl Iterator<Item = (&'b str, u64)>,
        count: u64,
        sum: f64,
    ) {
        for (bound, below) in up_to.chain([("+Inf", count)]) {
            let mut with_bound = labels.to_vec();
            with_bound.push(("le", bound));
            self.put("_bucket", &with_bound, below);
        }
        self.put("_sum", labels, sum);
        self.put("_count", labels, count);
    }

    fn put(&mut self, suffix: &str, labels: Labels<'_>, value: impl Display) {
        let name = self.name;
        self.page.put(format_args!("{name}{suffix}"));
        self.page.labels(labels);
        self.page.put(format_args!(" {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(accept: &str) -> Format {
        let headers = [(ACCEPT, accept.parse().expect("a value"))];
        Format::negotiate(&headers.into_iter().collect())
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_likes_best() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for accept in [
            prometheus,
            "application/openmetrics-text",
            "text/plain;q=0.5, Application/OpenMetrics-Text; version=\"1.0.0\"",
            "application/openmetrics-text; version=1.0.0, text/plain",
        ] {
            assert_eq!(negotiated(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/plain;version=0.0.4;q=1,*/*;q=0.1",
            "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=x",
            "application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
            "text/html",
        ] {
            assert_eq!(negotiated(accept), Format::Text, "{accept}");
        }
        assert_eq!(Format::negotiate(&HeaderMap::new()), Format::Text);
    }

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.single("a", "Help", 1);
        let mut counter = page.counter("b", "Help");
        counter.sample(&[("x", "1"), ("y", "\\ \" \n é")], 2.5);
        let mut histogram = page.histogram("c", "Help");
        let up_to = [("0.5", 1), ("2.5", 3)];
        histogram.buckets(&[("x", "1")], up_to.into_iter(), 4, 0.25);
        page.finish()
    }

    const SAMPLES: [&str; 3] = [
        "a 1\n",
        "b_total{x=\"1\",y=\"\\\\ \\\" \\n é\"} 2.5\n",
        "c_bucket{x=\"1\",le=\"0.5\"} 1\nc_bucket{x=\"1\",le=\"2.5\"} 3\nc_bucket{x=\"1\",le=\"+Inf\"} 4\nc_sum{x=\"1\"} 0.25\nc_count{x=\"1\"} 4\n",
    ];

    #[test]
    fn a_page_of_text_names_a_counter_with_its_suffix() {
        let [a, b, c] = SAMPLES;
        assert_eq!(
            page(Format::Text),
            format!(
                "# HELP a Help\n# TYPE a gauge\n{a}# HELP b_total Help\n# TYPE b_total counter\n{b}# HELP c Help\n# TYPE c histogram\n{c}"
            )
        );
    }

    #[test]
    fn a_page_of_open_metrics_names_a_counter_without_its_suffix_and_has_an_end() {
        let [a, b, c] = SAMPLES;
        assert_eq!(
            page(Format::OpenMetrics),
            format!(
                "# HELP a Help\n# TYPE a gauge\n{a}# HELP b Help\n# TYPE b counter\n{b}# HELP c Help\n# TYPE c histogram\n{c}# EOF\n"
            )
        );
    }
}
