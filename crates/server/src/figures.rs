//! What the door counts of requests: by route and outcome, and refusals by code. Every set of names is fixed here or in a table of this crate, so nothing that a client sends can make it grow.
//!
//! It knows not how it is shown; `/stats` and `/metrics` do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use fanfare_hub::{Distribution, Histogram};

use crate::error::Code;
use crate::routes;

pub(crate) mod process;
pub(crate) mod summary;
pub(crate) mod system;

/// What stands for all paths that lead nowhere.
pub(crate) const NO_ROUTE: &str = "none";

/// Classes of statuses, as they are called in figures.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counters of a door. Cheap to clone; all clones are the same counters.
#[derive(Clone, Debug)]
pub(crate) struct Figures(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Refusals by the place of their code in [`Code::ALL`].
    refusals: Vec<AtomicU64>,
    /// The same of items of batches that were answered item by item.
    items: Vec<AtomicU64>,
    /// How long requests took, by route and class of status; the last for paths that lead nowhere.
    requests: Vec<(&'static str, [Histogram; CLASSES.len()])>,
}

impl Default for Figures {
    fn default() -> Self {
        let routes = routes::all().map(|route| route.path).chain([NO_ROUTE]);
        Self(Arc::new(Shared {
            refusals: by_code(),
            items: by_code(),
            requests: routes.map(|route| (route, CLASSES.map(|_| Histogram::of_times()))).collect(),
        }))
    }
}

fn by_code() -> Vec<AtomicU64> {
    Code::ALL.iter().map(|_| AtomicU64::new(0)).collect()
}

fn count(counters: &[AtomicU64], code: Code) {
    if let Some(counter) = Code::ALL.iter().position(|c| *c == code).and_then(|at| counters.get(at)) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn told(counters: &[AtomicU64]) -> BTreeMap<&'static str, u64> {
    let counts = counters.iter().map(|counter| counter.load(Ordering::Relaxed));
    Code::ALL.iter().map(|code| code.as_str()).zip(counts).collect()
}

impl Figures {
    /// A request was refused.
    pub(crate) fn refused(&self, code: Code) {
        count(&self.0.refusals, code);
    }

    /// An item of a batch was refused, whose request goes on.
    pub(crate) fn item_refused(&self, code: Code) {
        count(&self.0.items, code);
    }

    /// A request was answered; `route` is its path as the routes have it, none where it leads nowhere.
    pub(crate) fn answered(&self, route: Option<&str>, status: StatusCode, took: Duration) {
        let requests = &self.0.requests;
        let classes = requests.iter().find(|(path, _)| Some(*path) == route).or(requests.last());
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(histogram) = classes.and_then(|(_, classes)| classes.get(class)) {
            histogram.took(took);
        }
    }

    /// What was counted so far.
    pub(crate) fn seen(&self) -> Seen {
        let shared = &self.0;
        let requests = shared.requests.iter().flat_map(|(route, classes)| {
            CLASSES.iter().zip(classes).map(|(class, histogram)| (*route, *class, histogram.distribution()))
        });
        Seen {
            refusals: told(&shared.refusals),
            items: told(&shared.items),
            requests: requests.filter(|(_, _, took)| took.count() > 0).collect(),
        }
    }
}

/// What a door had counted at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// By code; those that never happened too.
    pub(crate) refusals: BTreeMap<&'static str, u64>,
    /// The same of items of batches.
    pub(crate) items: BTreeMap<&'static str, u64>,
    /// Route, class of status, and how long it took; those that happened.
    pub(crate) requests: Vec<(&'static str, &'static str, Distribution)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_makes_no_new_names() {
        let figures = Figures::default();
        let names = figures.0.requests.len();
        for path in ["/stats", "/made/up/1", "/made/up/2"] {
            figures.answered(Some(path), StatusCode::OK, Duration::from_millis(1));
        }
        figures.answered(None, StatusCode::NOT_FOUND, Duration::from_millis(1));
        figures.answered(None, StatusCode::from_u16(999).unwrap(), Duration::from_millis(1));
        assert_eq!(figures.0.requests.len(), names);
        let seen = figures.seen();
        let requests: Vec<_> =
            seen.requests.iter().map(|(route, class, took)| (*route, *class, took.count())).collect();
        assert_eq!(requests, [("/stats", "2xx", 1), (NO_ROUTE, "2xx", 2), (NO_ROUTE, "4xx", 1)]);
    }
}
