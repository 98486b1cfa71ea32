//! The window in which users are exchanged and workloads rolled.

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions};

use crate::api::restart::RotationWindow;
use crate::base::{Timestamp, clock};
use crate::operator::error::Error;

/// How far back an opening is looked for, whole seconds: an hour, a day, a week and a day, a month, a year and a day.
const STEPS: [u64; 5] = [3_600, 86_400, 8 * 86_400, 32 * 86_400, 367 * 86_400];

/// Opens at moments of the calendar and stays open for a while.
#[derive(Debug, Clone)]
pub struct Window {
    opens: Crontab,
    /// Whole seconds.
    duration: u64,
}

impl Window {
    /// Reads the window of a specification.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the field.
    pub fn parse(window: &RotationWindow) -> Result<Self, Error> {
        let refused = |problem: String| Error::refused("InvalidSpec", problem);
        let field = "spec.rotation.window";
        if window.schedule.split_whitespace().count() != 5 {
            let fields = "minute, hour, day of month, month, day of week, in UTC";
            return Err(refused(format!("{field}.schedule: five fields are needed: {fields}")));
        }
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let unreadable =
            |error: cronexpr::Error| refused(format!("{field}.schedule: {}", error.to_string().replace('\n', " ")));
        let opens = cronexpr::parse_crontab_with(&window.schedule, options).map_err(unreadable)?;
        // A date that never comes (31 February) is found by asking for the next one.
        opens.find_next(Timestamp::UNIX_EPOCH).map_err(unreadable)?;
        let duration = window.duration.seconds(&format!("{field}.duration")).map_err(refused)?;
        Ok(Self { opens, duration })
    }

    fn opening_after(&self, moment: Timestamp) -> Option<Timestamp> {
        self.opens.find_next(moment).ok().map(|found| found.timestamp())
    }

    /// The last opening at `moment` or before.
    fn opening_before(&self, moment: Timestamp) -> Option<Timestamp> {
        let first = STEPS.iter().find_map(|step| {
            let from = moment.checked_sub(std::time::Duration::from_secs(*step)).ok()?;
            self.opening_after(from).filter(|opening| *opening <= moment)
        })?;
        let next = |opening: &Timestamp| self.opening_after(*opening).filter(|next| *next <= moment);
        std::iter::successors(Some(first), next).last()
    }

    /// When it is next open: `now`, if it is open.
    pub fn open_from(&self, now: Timestamp) -> Timestamp {
        match self.opening_before(now) {
            Some(opening) if now < clock::add_seconds(opening, self.duration) => now,
            _ => self.opening_after(now).unwrap_or(now),
        }
    }

    /// The best moment for what is due at `due` and may not be done before `earliest`: `due` itself if the window is open then,
    /// else when it opens for the last time before; `due`, too, where that was too early, or was missed by `now`.
    pub fn moment(&self, now: Timestamp, earliest: Timestamp, due: Timestamp) -> Timestamp {
        let Some(opening) = self.opening_before(due) else { return due };
        let closing = clock::add_seconds(opening, self.duration);
        let usable = opening.max(earliest);
        if due < closing || usable >= closing || now >= closing { due } else { usable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Period;

    fn window(schedule: &str, duration: &str) -> Result<Window, Error> {
        Window::parse(&RotationWindow { schedule: schedule.into(), duration: Period::new(duration) })
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-03-{text}:00Z").parse().unwrap()
    }

    #[test]
    fn it_is_open_for_its_duration() {
        let nightly = window("0 2 * * *", "2h").unwrap();
        assert_eq!(nightly.open_from(at("05T01:00")), at("05T02:00"));
        assert_eq!(nightly.open_from(at("05T02:00")), at("05T02:00"));
        assert_eq!(nightly.open_from(at("05T03:59")), at("05T03:59"));
        assert_eq!(nightly.open_from(at("05T04:00")), at("06T02:00"));
        assert_eq!(window("0 2 * * SAT", "4h").unwrap().open_from(at("05T12:00")), at("07T02:00"));
    }

    #[test]
    fn what_is_due_is_done_in_the_last_window_before() {
        let nightly = window("0 2 * * *", "2h").unwrap();
        let moment = |now, earliest, due| nightly.moment(at(now), at(earliest), at(due));
        assert_eq!(moment("05T12:00", "05T10:00", "07T20:00"), at("07T02:00"));
        assert_eq!(moment("05T12:00", "05T10:00", "07T03:00"), at("07T03:00"), "due while it is open");
        assert_eq!(moment("07T02:30", "05T10:00", "07T20:00"), at("07T02:00"));
        assert_eq!(moment("07T05:00", "05T10:00", "07T20:00"), at("07T20:00"), "missed");
        assert_eq!(moment("05T04:30", "05T04:10", "05T20:00"), at("05T20:00"), "none before it is due");
        assert_eq!(moment("05T02:30", "05T03:00", "05T20:00"), at("05T03:00"), "not before it may");
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_name() {
        for schedule in ["0 2 * *", "61 2 * * *", "0 0 31 2 *", "every night at two o'clock"] {
            let error = window(schedule, "1h").unwrap_err();
            assert!(error.story().starts_with("spec.rotation.window.schedule: "), "{}", error.story());
        }
    }
}
