//! `reload-NAME`: who hears of a change.

use super::value;

/// One way to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reload {
    /// Nothing was said: files change and nobody is told; a variable's change restarts its process.
    #[default]
    Unsaid,
    /// Nobody is told, whatever changes.
    None,
    /// A process gets a signal.
    Signal {
        /// Without `SIG`.
        signal: String,
        /// Its program's name; without one, that of the container.
        process: Option<String>,
    },
    /// A URL is called.
    Http(String),
}

const SIGNALS: &[&str] =
    &["HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "USR2", "PIPE", "ALRM", "TERM", "CONT", "WINCH"];

impl Reload {
    /// # Errors
    /// A text that says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "none" {
            return Ok(Self::None);
        }
        match text.split_once(':') {
            Some(("signal", rest)) => Self::signal(rest),
            // `http:URL`, or the URL alone.
            Some(("http" | "https", rest)) if rest.starts_with("//") => Ok(Self::Http(value::address(text)?)),
            Some(("http", url)) => Ok(Self::Http(value::address(url)?)),
            _ => Err(format!(
                "{text:?} is not known: use \"signal:HUP\", \"signal:HUP:PROGRAM\", \"http:URL\" or \"none\""
            )),
        }
    }

    fn signal(text: &str) -> Result<Self, String> {
        let (signal, process) = match text.split_once(':') {
            Some((signal, process)) => (signal, Some(value::text(process)?)),
            None => (text, None),
        };
        let upper = signal.trim().to_ascii_uppercase();
        let short = upper.strip_prefix("SIG").unwrap_or(&upper);
        if !SIGNALS.contains(&short) {
            return Err(format!("{signal:?} is no signal: use one of {}", SIGNALS.join(", ")));
        }
        if let Some(odd) = process.as_ref().filter(|name| name.contains('/')) {
            return Err(format!("{odd:?} is no program's name: leave its folder out"));
        }
        Ok(Self::Signal { signal: short.to_owned(), process })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_understood() {
        let signal =
            |process: Option<&str>| Reload::Signal { signal: "HUP".into(), process: process.map(str::to_owned) };
        assert_eq!(Reload::parse("signal:HUP"), Ok(signal(None)));
        assert_eq!(Reload::parse("signal:sighup:nginx"), Ok(signal(Some("nginx"))));
        for text in ["http:http://127.0.0.1:8080/-/reload", "http://127.0.0.1:8080/-/reload"] {
            assert_eq!(Reload::parse(text), Ok(Reload::Http("http://127.0.0.1:8080/-/reload".into())));
        }
        assert_eq!(Reload::parse(" none "), Ok(Reload::None));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(Reload::parse("restart").unwrap_err().contains("use \"signal:HUP\""));
        assert!(Reload::parse("signal:LOUD").unwrap_err().contains("is no signal"));
        assert!(Reload::parse("signal:HUP:/usr/bin/x").unwrap_err().contains("leave its folder out"));
        assert!(Reload::parse("http:localhost").unwrap_err().contains("is no address"));
    }
}
