//! What an operator watches a fleet with, deploy/observability, held to what the fleet says: every expression of every panel, rule and
//! alert is PromQL over figures, labels and values that exist; every alert has its entry in the runbook, and every entry its alert.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::wildcard_enum_match_arm, reason = "the parser's enums grow with PromQL; what is not named asks for nothing")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use grasp_sync::telemetry::catalogue::{FIGURES, Figure, Kind, figures_of_upstreams};
use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, AggregateExpr, Expr, LabelModifier};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Labels that a scrape gives every series: deploy/observability/prometheus.yml.
const OF_A_SCRAPE: [&str; 3] = ["job", "instance", "role"];

fn file(path: &str) -> String {
    let path = PathBuf::from(ROOT).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// An expression, and where it stands.
struct Asked {
    place: String,
    expr: String,
    /// The labels that its legend names.
    legend: Vec<String>,
}

/// A rule of rules.yml or alerts.yml. These are written with one key a line: `expr:` and the others.
struct Rule {
    name: String,
    keys: BTreeMap<String, String>,
}

fn rules(path: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in file(path).lines().map(str::trim) {
        let Some((key, value)) = line.split_once(": ") else { continue };
        match (key, rules.last_mut()) {
            ("- alert" | "- record", _) => rules.push(Rule { name: value.to_owned(), keys: BTreeMap::new() }),
            ("- name", _) | (_, None) => {}
            (key, Some(rule)) => {
                let before = rule.keys.insert(key.to_owned(), value.to_owned());
                assert_eq!(before, None, "{}: {key} stands twice", rule.name);
            }
        }
    }
    rules
}

fn dashboards() -> Vec<(String, Value)> {
    let folder = PathBuf::from(ROOT).join("deploy/observability/grafana/dashboards");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), serde_json::from_str(&text).unwrap())
    };
    std::fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
}

/// What the dashboards ask for.
fn asked_by_panels() -> Vec<Asked> {
    let mut all = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let place = format!("{name}: {}", panel["title"]);
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{place} asks for nothing");
            for target in targets {
                let expr = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
                let legend = labels_of(target["legendFormat"].as_str().unwrap_or_default());
                all.push(Asked { place: place.clone(), expr, legend });
            }
        }
    }
    all
}

fn asked_by_rules() -> Vec<Asked> {
    let files = ["deploy/observability/rules.yml", "deploy/observability/alerts.yml"];
    let asked = |rule: Rule| {
        let expr = rule.keys.get("expr").unwrap_or_else(|| panic!("{} has no expression", rule.name)).clone();
        let legend = labels_of(rule.keys.get("summary").map_or("", String::as_str));
        Asked { place: rule.name, expr, legend }
    };
    files.into_iter().flat_map(rules).map(asked).collect()
}

/// `{{label}}` of Grafana, `{{ $labels.label }}` of Prometheus.
fn labels_of(text: &str) -> Vec<String> {
    let inner = text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(inner, _)| inner.trim());
    let label = |inner: &str| {
        inner
            .strip_prefix("$labels.")
            .map_or_else(|| (!inner.starts_with('$')).then(|| inner.to_owned()), |label| Some(label.to_owned()))
    };
    inner.filter_map(label).collect()
}

/// What is known of the figures.
struct Known {
    figures: BTreeMap<String, Figure>,
    recorded: BTreeSet<String>,
    /// The upper bounds of histograms, as sources have them.
    bounds: BTreeSet<String>,
}

impl Known {
    fn gather() -> Self {
        let mut figures = BTreeMap::new();
        for figure in FIGURES.into_iter().chain(figures_of_upstreams()) {
            let parts: &[&str] = if figure.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            figures.extend(parts.iter().map(|part| (format!("{}{part}", figure.name), figure)));
        }
        let recorded = rules("deploy/observability/rules.yml").into_iter().map(|rule| rule.name).collect();
        Self { figures, recorded, bounds: bounds() }
    }

    /// Every fault of an expression.
    fn faults(&self, asked: &Asked) -> Vec<String> {
        let expr = match parser::parse(&asked.expr) {
            Ok(expr) => expr,
            Err(why) => return vec![format!("{}: {why}: {}", asked.place, asked.expr)],
        };
        let mut look = Look { known: self, faults: Vec::new(), labels: BTreeSet::new() };
        walk_expr(&mut look, &expr).unwrap();
        let left = remaining(&expr, &look.labels);
        for label in asked.legend.iter().filter(|label| !left.contains(*label)) {
            look.faults.push(format!("its words name the label {label}, which its answer does not have"));
        }
        look.faults.into_iter().map(|fault| format!("{}: {fault}", asked.place)).collect()
    }

    /// The labels of a figure; none: it is not known.
    fn labels(&self, name: &str) -> Option<BTreeSet<String>> {
        let of_scrape = OF_A_SCRAPE.map(str::to_owned);
        if self.recorded.contains(name) {
            return Some(BTreeSet::new());
        }
        if name == "up" {
            return Some(of_scrape.into());
        }
        let figure = self.figures.get(name)?;
        let own = figure.labels.iter().map(|label| label.name.to_owned());
        let le = name.ends_with("_bucket").then(|| "le".to_owned());
        let upstream = name.starts_with("grasp_sync_upstream_").then(|| "upstream".to_owned());
        Some(own.chain(le).chain(upstream).chain(of_scrape).collect())
    }

    fn takes(&self, name: &str, matcher: &Matcher) -> bool {
        let values: Vec<&str> = match &matcher.op {
            MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
            MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
        };
        let own = self.figures.get(name).and_then(|figure| figure.labels.iter().find(|label| label.name == matcher.name));
        match (own, matcher.name.as_str()) {
            (Some(label), _) => values.iter().all(|value| label.values.contains(value)),
            (None, "le") => values.iter().all(|value| self.bounds.contains(*value)),
            (None, "job") => {
                values.iter().all(|value| file("deploy/observability/prometheus.yml").contains(&format!("job_name: {value}\n")))
            }
            (None, _) => true,
        }
    }
}

/// One walk over an expression.
struct Look<'a> {
    known: &'a Known,
    faults: Vec<String>,
    labels: BTreeSet<String>,
}

impl ExprVisitor for Look<'_> {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.select(selector.name.as_deref(), &selector.matchers.matchers),
            Expr::MatrixSelector(selector) => self.select(selector.vs.name.as_deref(), &selector.vs.matchers.matchers),
            Expr::Aggregate(AggregateExpr { expr, modifier: Some(modifier), .. }) => {
                let mut below = Look { known: self.known, faults: Vec::new(), labels: BTreeSet::new() };
                walk_expr(&mut below, expr)?;
                for label in modifier.labels().labels.iter().filter(|label| !below.labels.contains(*label)) {
                    self.faults.push(format!("it is summed by {label}, which nothing below has"));
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

impl Look<'_> {
    fn select(&mut self, name: Option<&str>, matchers: &[Matcher]) {
        let Some(name) = name else { return self.faults.push("a selector without a name".to_owned()) };
        let Some(labels) = self.known.labels(name) else { return self.faults.push(format!("{name} is no figure of ours")) };
        for matcher in matchers {
            if !labels.contains(&matcher.name) {
                self.faults.push(format!("{name} has no label {}", matcher.name));
            } else if !self.known.takes(name, matcher) {
                self.faults.push(format!("{name} never has {}", matcher));
            }
        }
        self.labels.extend(labels);
    }
}

/// The labels that the answer of an expression may have, of those of its selectors.
fn remaining(expr: &Expr, all: &BTreeSet<String>) -> BTreeSet<String> {
    match expr {
        Expr::Aggregate(aggregate) => match &aggregate.modifier {
            Some(LabelModifier::Include(labels)) => labels.labels.iter().cloned().collect(),
            Some(LabelModifier::Exclude(labels)) => {
                all.iter().filter(|label| !labels.labels.contains(*label)).cloned().collect()
            }
            None if aggregate.op.to_string() == "topk" => remaining(&aggregate.expr, all),
            None => BTreeSet::new(),
        },
        Expr::Binary(binary) => remaining(&binary.lhs, all),
        Expr::Paren(paren) => remaining(&paren.expr, all),
        Expr::Call(call) => {
            let mut left = call
                .args
                .args
                .iter()
                .rev()
                .find(|arg| !matches!(***arg, Expr::NumberLiteral(_)))
                .map_or_else(|| all.clone(), |arg| remaining(arg, all));
            if call.func.name == "histogram_quantile" {
                left.remove("le");
            }
            left
        }
        _ => all.clone(),
    }
}

/// What stands in arrays of bounds, written as Prometheus writes it.
fn bounds() -> BTreeSet<String> {
    let sources = [
        "connector/src/metrics.rs",
        "connector/src/metrics/links.rs",
        "planner/src/metrics.rs",
        "state/src/metrics.rs",
        "bus/src/metrics.rs",
    ];
    let mut bounds = BTreeSet::new();
    for source in sources {
        let text = file(&format!("crates/{source}"));
        let arrays = text.split("BOUNDS: [f64;").skip(1).filter_map(|rest| rest.split_once("= [")?.1.split_once(']'));
        bounds.extend(arrays.flat_map(|(array, _)| array.split(',').map(|one| one.trim().trim_end_matches(".0").to_owned())));
    }
    bounds
}

#[test]
fn every_expression_asks_for_what_is_there() {
    let known = Known::gather();
    let all: Vec<Asked> = asked_by_panels().into_iter().chain(asked_by_rules()).collect();
    assert!(all.len() > 60, "{} expressions", all.len());
    let faults: Vec<String> = all.iter().flat_map(|asked| known.faults(asked)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn an_expression_with_a_fault_is_found() {
    let known = Known::gather();
    let faulty = [
        ("sum(grasp_sync_itmes)", ""),
        ("grasp_sync_items{status=\"wanted\"}", ""),
        ("grasp_sync_items{state=\"missing\"}", ""),
        ("grasp_sync_upstreams{state=~\"down|gone\"}", ""),
        ("grasp_sync_home_write_time_seconds", ""),
        ("grasp_sync_event_delay_seconds_bucket{le=\"301\"}", ""),
        ("up{job=\"another\"}", ""),
        ("sum by (url) (grasp_sync_links)", ""),
        ("sum by (class) (grasp_sync_links)", "{{state}}"),
        ("sum(grasp_sync_links)", "{{ $labels.class }} is gone"),
        ("sum(rate(grasp_sync_links)", ""),
    ];
    for (expr, legend) in faulty {
        let asked = Asked { place: "here".to_owned(), expr: expr.to_owned(), legend: labels_of(legend) };
        assert_eq!(known.faults(&asked).len(), 1, "{expr} {legend}: {:?}", known.faults(&asked));
    }
    let sound = Asked {
        place: "here".to_owned(),
        expr: "histogram_quantile(0.5, sum by (le, class) (rate(grasp_sync_event_delay_seconds_bucket[5m])))".to_owned(),
        legend: vec!["class".to_owned()],
    };
    assert_eq!(known.faults(&sound), [""; 0]);
}

#[test]
fn every_alert_has_its_entry_in_the_runbook_and_every_entry_its_alert() {
    let alerts = rules("deploy/observability/alerts.yml");
    let names: BTreeSet<String> = alerts.iter().map(|rule| rule.name.clone()).collect();
    assert_eq!(names.len(), alerts.len(), "no alert stands twice");
    let runbook = file("deploy/RUNBOOK.md");
    let headings: BTreeSet<String> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(headings, names);
    for entry in runbook.split("\n## ").skip(1) {
        for part in ["**Means.**", "**See.**", "**Do.**"] {
            assert!(entry.contains(part), "{part} is not in {entry}");
        }
    }
    for rule in &alerts {
        let of = |key: &str| rule.keys.get(key).cloned().unwrap_or_else(|| panic!("{} has no {key}", rule.name));
        assert!(
            ["{severity: critical}", "{severity: warning}", "{severity: info}"].contains(&of("labels").as_str()),
            "{}",
            rule.name
        );
        assert!(of("for").ends_with(['m', 'h']) && !of("summary").is_empty(), "{}", rule.name);
        assert!(of("runbook_url").ends_with(&format!("deploy/RUNBOOK.md#{}", rule.name.to_lowercase())), "{}", rule.name);
        let tested = file("deploy/observability/alerts_test.yml");
        assert!(tested.contains(&format!("alertname: {}\n", rule.name)), "{} is not in alerts_test.yml", rule.name);
    }
}

#[test]
fn every_panel_asks_a_datasource_that_is_there() {
    let sources = file("deploy/observability/grafana/provisioning/datasources/datasources.yml");
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        assert!(uids.insert(dashboard["uid"].as_str().unwrap().to_owned()), "{name}: its uid is another's");
        for panel in panels(&dashboard) {
            let targets = panel["targets"].as_array().unwrap().iter();
            for uid in std::iter::once(panel).chain(targets).map(|one| one["datasource"]["uid"].as_str().unwrap()) {
                assert!(sources.contains(&format!("uid: {uid},")), "{name}: {}: {uid}", panel["title"]);
            }
        }
        let links = dashboard["links"].as_array().unwrap().iter().map(|link| link["url"].as_str().unwrap().to_owned());
        for link in links {
            let target = link.trim_start_matches("/d/").to_owned();
            assert!(dashboards().iter().any(|(_, other)| other["uid"] == target.as_str()), "{name} links to {link}");
        }
    }
    assert_eq!(uids.len(), 2);
}
