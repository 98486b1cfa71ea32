//! Keys that begin with a moment, so that an index reads in the order of time: whole Unix seconds, 11 digits.

use super::Error;
use crate::base::Timestamp;

/// The second at which something that is due at `moment` has certainly become due.
pub fn second(moment: Timestamp) -> String {
    let seconds = moment.as_second() + i64::from(moment.subsec_nanosecond() > 0);
    format!("{:011}", seconds.max(0))
}

/// The moment that a key begins with.
///
/// # Errors
/// [`Error::Corrupt`] when it does not begin with one.
pub fn at(key: &str) -> Result<Timestamp, Error> {
    let corrupt = |problem: String| Error::Corrupt { key: key.to_owned(), problem };
    let digits = key.split('/').next().unwrap_or_default();
    let seconds: i64 = digits.parse().map_err(|_| corrupt("it does not begin with a time".into()))?;
    Timestamp::from_second(seconds).map_err(|error| corrupt(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_a_second_is_rounded_up() {
        let moment = Timestamp::new(5, 1).unwrap();
        assert_eq!(second(moment), "00000000006");
        assert_eq!(at("00000000006/x").unwrap(), Timestamp::from_second(6).unwrap());
        assert!(at("x/00000000006").is_err());
    }
}
