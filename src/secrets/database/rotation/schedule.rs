//! When a password is to be changed: every so many seconds, or by a cron expression with a window after each of its moments.

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::Timestamp;
use crate::base::clock::add_seconds;
use crate::wire::{Error, Fields};

/// The shortest `rotation_period`, seconds: Vault's.
const SHORTEST_PERIOD: u64 = 5;

/// The shortest `rotation_window`, seconds: Vault's.
const SHORTEST_WINDOW: u64 = 3600;

/// When something is rotated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::secrets::database) enum Schedule {
    /// So many seconds after the last time.
    Period(u64),
    /// At moments of the calendar, UTC.
    Cron {
        /// Minute, hour, day of month, month, day of week.
        expression: String,
        /// How many seconds after its moment a rotation may still begin; 0 is any time.
        window: u64,
    },
}

impl Schedule {
    /// The schedule after a write: what was sent replaces, what was not is kept. `None` is no schedule.
    ///
    /// # Errors
    /// 400 in Vault's words.
    pub(in crate::secrets::database) fn merge(present: Option<Self>, fields: &Fields) -> Result<Option<Self>, Error> {
        let period = fields.seconds("rotation_period")?;
        let expression = fields.string("rotation_schedule")?.filter(|text| !text.trim().is_empty());
        let window = fields.seconds("rotation_window")?;
        match (period.filter(|seconds| *seconds > 0), expression, present) {
            (Some(_), Some(_), _) => Err(Error::bad_request(
                "mutually exclusive fields rotation_period and rotation_schedule were both specified; only one of them can be provided",
            )),
            (Some(seconds), None, _) => Self::every(seconds, window).map(Some),
            (None, Some(expression), present) => {
                let kept = match present {
                    Some(Self::Cron { window, .. }) => window,
                    _ => 0,
                };
                Self::cron(&expression, window.unwrap_or(kept)).map(Some)
            }
            (None, None, Some(Self::Cron { expression, window: kept })) => {
                Self::cron(&expression, window.unwrap_or(kept)).map(Some)
            }
            (None, None, Some(Self::Period(seconds))) => Self::every(period.unwrap_or(seconds), window).map(Some),
            (None, None, None) => match period.or(window) {
                Some(0) | None => Ok(None),
                Some(_) => Err(Error::bad_request("rotation_window needs rotation_schedule beside it")),
            },
        }
    }

    fn every(seconds: u64, window: Option<u64>) -> Result<Self, Error> {
        if seconds < SHORTEST_PERIOD {
            let text = format!("rotation_period must be {SHORTEST_PERIOD} seconds or more");
            return Err(Error::bad_request(text));
        }
        if window.is_some_and(|window| window > 0) {
            return Err(Error::bad_request("rotation_window is invalid with use of rotation_period"));
        }
        Ok(Self::Period(seconds))
    }

    fn cron(expression: &str, window: u64) -> Result<Self, Error> {
        if (1..SHORTEST_WINDOW).contains(&window) {
            let text = format!("rotation_window must be {SHORTEST_WINDOW} seconds or more");
            return Err(Error::bad_request(text));
        }
        let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
        // A date that never comes (31 February) is found by asking for the next one.
        next_of(&expression, Timestamp::UNIX_EPOCH)?;
        Ok(Self::Cron { expression, window })
    }

    /// The first moment after `from`.
    ///
    /// # Errors
    /// When the stored expression cannot be read; it was checked when it was written.
    pub(super) fn next(&self, from: Timestamp) -> Result<Timestamp, Error> {
        match self {
            Self::Period(seconds) => Ok(add_seconds(from, *seconds)),
            Self::Cron { expression, .. } => next_of(expression, from),
        }
    }

    /// Whether a rotation that was planned for `planned` may not begin any more at `now`.
    pub(super) fn is_over(&self, planned: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Period(_) | Self::Cron { window: 0, .. } => false,
            Self::Cron { window, .. } => now > add_seconds(planned, *window),
        }
    }

    /// Adds the fields of a read.
    pub(in crate::secrets::database) fn describe(&self, data: &mut Map<String, Value>) {
        match self {
            Self::Period(seconds) => {
                data.insert("rotation_period".into(), json!(seconds));
            }
            Self::Cron { expression, window } => {
                data.insert("rotation_schedule".into(), json!(expression));
                data.insert("rotation_window".into(), json!(window));
            }
        }
    }
}

fn next_of(expression: &str, from: Timestamp) -> Result<Timestamp, Error> {
    let moment = parse(expression)?.find_next(from);
    let moment = moment.map_err(|error| unreadable(error.to_string()).caused_by(error))?;
    Ok(moment.timestamp())
}

/// Five fields, as Vault's parser takes them: no time zone, no seconds, and none of the extensions `L`, `W` and `#`, which
/// cron implementations understand differently.
fn parse(expression: &str) -> Result<Crontab, Error> {
    let fields: Vec<_> = expression.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(unreadable(format!(
            "expected 5 fields (minute, hour, day of month, month, day of week, in UTC), found {}",
            fields.len()
        )));
    }
    let words = |field: &&str| field.split(|c: char| !c.is_ascii_alphabetic()).any(|word| matches!(word.len(), 1 | 2));
    if let Some(field) = fields.iter().find(|field| words(field) || field.contains('#')) {
        return Err(unreadable(format!("{field:?} is an extension that is not supported")));
    }
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    cronexpr::parse_crontab_with(&fields.join(" "), options)
        .map_err(|error| unreadable(error.to_string().replace('\n', " ")).caused_by(error))
}

fn unreadable(problem: String) -> Error {
    Error::bad_request(format!("could not parse rotation_schedule: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(present: Option<&Schedule>, fields: Value) -> Result<Option<Schedule>, String> {
        let fields = fields.as_object().unwrap().clone().into();
        Schedule::merge(present.cloned(), &fields).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_sent_is_kept() {
        let period = Schedule::Period(3600);
        let cron = Schedule::Cron { expression: "0 3 * * SUN".into(), window: 7200 };
        let none = None;
        for (present, sent, expected) in [
            (none, json!({}), None),
            (none, json!({"rotation_period": "1h"}), Some(period.clone())),
            (Some(&period), json!({}), Some(period.clone())),
            (Some(&period), json!({"rotation_window": 0, "rotation_schedule": ""}), Some(period.clone())),
            (Some(&period), json!({"rotation_schedule": " 0 3  * * SUN", "rotation_window": "2h"}), Some(cron.clone())),
            (Some(&cron), json!({}), Some(cron.clone())),
            (Some(&cron), json!({"rotation_period": 3600}), Some(period.clone())),
            (
                Some(&cron),
                json!({"rotation_schedule": "0 4 * * *"}),
                Some(Schedule::Cron { expression: "0 4 * * *".into(), window: 7200 }),
            ),
        ] {
            assert_eq!(merge(present, sent.clone()), Ok(expected), "{sent}");
        }
    }

    #[test]
    fn wrong_fields_are_refused_in_vaults_words() {
        for (sent, expected) in [
            (json!({"rotation_period": 4}), "rotation_period must be 5 seconds or more"),
            (
                json!({"rotation_period": 5, "rotation_window": 3600}),
                "rotation_window is invalid with use of rotation_period",
            ),
            (json!({"rotation_period": 5, "rotation_schedule": "* * * * *"}), "mutually exclusive fields"),
            (
                json!({"rotation_schedule": "* * * * *", "rotation_window": 3599}),
                "rotation_window must be 3600 seconds or more",
            ),
            (json!({"rotation_window": 3600}), "rotation_window needs rotation_schedule"),
            (json!({"rotation_schedule": "* * * *"}), "could not parse rotation_schedule: expected 5 fields"),
            (json!({"rotation_schedule": "* * * * * UTC"}), "found 6"),
            (json!({"rotation_schedule": "61 * * * *"}), "could not parse rotation_schedule: "),
            (json!({"rotation_schedule": "0 0 L * *"}), "is an extension"),
            (json!({"rotation_schedule": "0 0 * * 5#3"}), "is an extension"),
            (json!({"rotation_schedule": "0 0 31 2 *"}), "could not parse rotation_schedule: "),
        ] {
            let error = merge(None, sent.clone()).unwrap_err();
            assert!(error.contains(expected), "{sent}: {error}");
        }
    }

    #[test]
    fn the_next_moment_lies_after_the_given_one() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let cron = |expression: &str| Schedule::Cron { expression: expression.into(), window: 3600 };
        for (schedule, from, next) in [
            (Schedule::Period(5), "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:05.5Z"),
            (cron("* * * * *"), "2026-01-01T00:00:45Z", "2026-01-01T00:01:00Z"),
            (cron("30 2 * * *"), "2026-01-01T02:30:00Z", "2026-01-02T02:30:00Z"),
            (cron("0 0 1 jan *"), "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (cron("0 0 29 2 *"), "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            (cron("0 0 31 12 *"), "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z"),
            (cron("0 12 * * WED"), "2026-01-01T00:00:00Z", "2026-01-07T12:00:00Z"),
        ] {
            assert_eq!(schedule.next(at(from)).unwrap(), at(next), "{schedule:?}");
        }
        let planned = at("2026-01-01T00:00:00Z");
        assert!(!cron("0 0 * * *").is_over(planned, at("2026-01-01T01:00:00Z")));
        assert!(cron("0 0 * * *").is_over(planned, at("2026-01-01T01:00:01Z")));
        assert!(!Schedule::Period(5).is_over(planned, at("2027-01-01T00:00:00Z")));
    }
}
