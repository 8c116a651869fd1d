//! What `docs/operations.md`, the dashboard and the alerts say of metrics is what a recorder is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use metrics_util::{
    MetricKind,
    debugging::{DebugValue, DebuggingRecorder},
};
use scaleout::{BackplaneConfig, BusConfig};
use scaleout_socketioxide::ScaleoutCtr;
use serde_json::Value;

/// The type and the labels of a metric, as the page writes them.
type Shape = (&'static str, BTreeSet<String>);

/// All that a bus, its cluster and the adapter for Socket.IO register.
fn registered() -> BTreeMap<String, Shape> {
    let recorder = DebuggingRecorder::new();
    let builder =
        "memory:".parse::<BackplaneConfig>().expect("a URL").bus(BusConfig::default()).expect("a bus");
    let (_bus, _adapter) = metrics::with_local_recorder(&recorder, || {
        let bus = builder.start().expect("a bus");
        let adapter = ScaleoutCtr::new(&bus).expect("an adapter");
        (bus, adapter)
    });
    let mut found: BTreeMap<String, Shape> = BTreeMap::new();
    for (key, unit, description, value) in recorder.snapshotter().snapshot().into_vec() {
        let (kind, key) = key.into_parts();
        assert!(unit.is_some() && description.is_some(), "{key} has a unit and a description");
        let kind = match (kind, value) {
            (MetricKind::Counter, DebugValue::Counter(_)) => "counter",
            (MetricKind::Gauge, DebugValue::Gauge(_)) => "gauge",
            _ => "histogram",
        };
        let shape = found.entry(key.name().to_owned()).or_insert((kind, BTreeSet::new()));
        shape.1.extend(key.labels().map(|label| label.key().to_owned()));
    }
    found
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the rows of the page's tables whose first cell is code that begins with `prefix`.
fn rows<'a>(page: &'a str, prefix: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let start = format!("| `{prefix}");
    // A bar within code is escaped.
    page.lines().filter(move |line| line.starts_with(&start)).map(|line| {
        let mut cells = Vec::new();
        let (mut from, inner) = (0, line.trim_start_matches("| ").trim_end_matches(" |"));
        for (at, bar) in inner.match_indices(" | ") {
            cells.push(&inner[from..at]);
            from = at + bar.len();
        }
        cells.push(&inner[from..]);
        cells
    })
}

/// The metrics that a text names; of a histogram the series that Prometheus makes of it count as well.
fn named(text: &str, known: &BTreeMap<String, Shape>) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("scaleout_"));
    let of = |word: &str| {
        let series = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix));
        let histogram = series.filter(|name| known.get(*name).is_some_and(|(kind, _)| *kind == "histogram"));
        histogram.unwrap_or(word).to_owned()
    };
    words.map(of).collect()
}

fn difference<'a>(one: impl Iterator<Item = &'a String>, other: &BTreeSet<String>) -> Vec<&'a String> {
    one.filter(|name| !other.contains(*name)).collect()
}

#[tokio::test]
async fn the_page_lists_every_metric_with_its_type_and_labels() {
    let registered = registered();
    let page = read("operations.md");
    let mut listed = BTreeMap::new();
    for cells in rows(&page, "scaleout_") {
        let [name, kind, _, labels, _] = cells[..] else { panic!("five cells: {cells:?}") };
        let labels: BTreeSet<String> = labels.split(", ").map(str::to_owned).collect();
        let kind = ["counter", "gauge", "histogram"].into_iter().find(|known| *known == kind);
        listed.insert(name.trim_matches('`').to_owned(), (kind.expect("a type"), labels));
    }
    assert_eq!(listed, registered);
}

#[tokio::test]
async fn the_page_names_every_reason() {
    let page = read("operations.md");
    let recorder = DebuggingRecorder::new();
    let builder =
        "memory:".parse::<BackplaneConfig>().expect("a URL").bus(BusConfig::default()).expect("a bus");
    let (_bus, _adapter) = metrics::with_local_recorder(&recorder, || {
        let bus = builder.start().expect("a bus");
        let adapter = ScaleoutCtr::new(&bus).expect("an adapter");
        (bus, adapter)
    });
    let mut reasons = 0;
    for (key, ..) in recorder.snapshotter().snapshot().into_vec() {
        for label in key.key().labels().filter(|label| label.key() == "reason") {
            let row = rows(&page, key.key().name()).next().expect("it is listed");
            let told = format!("`{}`", label.value());
            assert!(row[4].contains(&told), "{} does not say {told}", row[0]);
            reasons += 1;
        }
    }
    assert!(reasons > 20, "{reasons}");
}

#[tokio::test]
async fn the_dashboard_shows_every_metric_and_no_other() {
    let registered = registered();
    let dashboard: Value = serde_json::from_str(&read("grafana/scaleout.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    let shown: BTreeSet<_> = expressions.iter().flat_map(|text| named(text, &registered)).collect();
    let all: BTreeSet<_> = registered.keys().cloned().collect();
    assert_eq!(difference(shown.iter(), &all), [""; 0], "shown, and there is none");
    assert_eq!(difference(registered.keys(), &shown), [""; 0], "there, and not shown");
}

#[tokio::test]
async fn the_alerts_are_those_of_the_page_and_name_metrics_that_exist() {
    let registered = registered();
    let (page, rules) = (read("operations.md"), read("grafana/alerts.yml"));
    let of = |key: &str| -> Vec<String> {
        let values = rules.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key));
        values.map(|value| value.trim().to_owned()).collect()
    };
    let in_rules: BTreeMap<_, _> = of("alert:").into_iter().zip(of("expr:")).collect();
    let mut on_page = BTreeMap::new();
    for cells in rows(&page, "Scaleout") {
        let expression = cells[1].split('`').nth(1).expect("an expression").replace("\\|", "|");
        on_page.insert(cells[0].trim_matches('`').to_owned(), expression);
    }
    assert_eq!(in_rules, on_page);
    assert!(in_rules.len() > 10);
    let all: BTreeSet<_> = registered.keys().cloned().collect();
    for (alert, expression) in &in_rules {
        let named = named(expression, &registered);
        assert!(!named.is_empty(), "{alert}");
        assert_eq!(difference(named.iter(), &all), [""; 0], "{alert}");
    }
    // Names in the text of the page, too.
    assert_eq!(difference(named(&page, &registered).iter(), &all), [""; 0]);
}
