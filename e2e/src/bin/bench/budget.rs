//! The budgets: what a figure may be at most, or must be at least, and whether it is.

use std::fmt::Write as _;

/// One budget beside what was measured.
pub struct Budget {
    /// What is measured, with its unit.
    pub what: String,
    /// The limit and where it comes from.
    pub limit: String,
    /// The figure.
    pub measured: String,
    /// Whether the figure keeps the limit.
    pub met: bool,
}

impl Budget {
    /// `figure` must not be greater than `limit`; `reason` says where the limit comes from.
    pub fn at_most(what: impl Into<String>, figure: f64, limit: f64, reason: &str) -> Self {
        let text = format!("at most {}{reason}", number(limit));
        Self { what: what.into(), limit: text, measured: number(figure), met: figure <= limit }
    }

    /// `figure` must not be smaller than `limit`.
    pub fn at_least(what: impl Into<String>, figure: f64, limit: f64, reason: &str) -> Self {
        let text = format!("at least {}{reason}", number(limit));
        Self { what: what.into(), limit: text, measured: number(figure), met: figure >= limit }
    }
}

/// What OpenBao 2.6.2 with raft storage did at most on an idle machine of two cores with PostgreSQL 15, operations a second:
/// the yardstick where no peer runs beside.
pub struct Reference {
    /// The peer's rate in this run, if there is one.
    pub measured: Option<f64>,
    /// OpenBao's.
    pub noted: f64,
}

impl Reference {
    /// The budget of a rate that must be `factor` times the yardstick.
    pub fn budget(&self, what: &str, rate: f64, factor: f64) -> Budget {
        let (yardstick, whose) = match self.measured {
            Some(measured) => (measured, "the peer's"),
            None => (self.noted, "OpenBao's noted"),
        };
        let reason = format!(" ({} x {whose} {})", number(factor), number(yardstick));
        Budget::at_least(what, rate, yardstick * factor, &reason)
    }
}

/// A table of budgets.
pub fn table(budgets: &[Budget]) -> String {
    let mut text = String::from("| budget | limit | measured | verdict |\n|---|---|---|---|\n");
    for Budget { what, limit, measured, met } in budgets {
        let verdict = if *met { "met" } else { "**missed**" };
        writeln!(text, "| {what} | {limit} | {measured} | {verdict} |").expect("a string takes everything");
    }
    text
}

/// A figure with as many digits as tell something.
pub fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
