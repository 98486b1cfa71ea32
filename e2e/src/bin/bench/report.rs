//! The report in Markdown: sections that are replaced one by one, so that a part may be measured anew without the others.

use std::fmt::Write as _;
use std::path::Path;

use crate::budget::number;
use crate::sample::Samples;

/// One line of a table of measurements.
pub struct Row<'a> {
    /// What was done, by how many clients.
    pub what: String,
    /// By which program.
    pub program: &'a str,
    /// The measurements.
    pub samples: &'a Samples,
}

/// `operation` done by that many clients.
pub fn by_clients(operation: &str, count: usize) -> String {
    format!("{operation}, {count} {}", if count == 1 { "client" } else { "clients" })
}

/// A part of the report.
pub struct Section {
    /// Its heading, by which it is found again.
    pub title: &'static str,
    /// Markdown.
    pub body: String,
}

/// A table of measurements.
pub fn table(rows: &[Row<'_>]) -> String {
    let mut text = String::from(
        "| what | program | per second | p50 ms | p95 ms | p99 ms | CPU ms each: program | PostgreSQL | client | other programs, cores | measured |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let known = |figure: Option<f64>| figure.map_or("-".to_owned(), number);
    for Row { what, program, samples } in rows {
        let [p50, p95, p99] = [50, 95, 99].map(|percent| known(samples.percentile(percent)));
        let (own, postgres) = (known(samples.cpu(|cpu| cpu.program)), known(samples.cpu(|cpu| cpu.postgres)));
        let (client, elsewhere) = (known(samples.cpu(|cpu| cpu.client)), number(samples.elsewhere()));
        let (rate, count) = (number(samples.rate()), samples.count());
        let line =
            [what.as_str(), program, &rate, &p50, &p95, &p99, &own, &postgres, &client, &elsewhere, &count.to_string()];
        writeln!(text, "| {} |", line.join(" | ")).expect("a string takes everything");
    }
    text
}

/// Replaces one section of the report in the file, or adds it at its end.
pub fn write(file: &Path, section: &Section) {
    let old = std::fs::read_to_string(file).unwrap_or_default();
    let (head, sections) = match old.split_once("\n## ") {
        Some((head, sections)) => (head, sections),
        None => (old.as_str(), ""),
    };
    let mut sections: Vec<String> =
        sections.split("\n## ").filter(|text| !text.is_empty()).map(|text| text.trim_end().to_owned()).collect();
    let new = format!("{}\n\n{}", section.title, section.body.trim_end());
    match sections.iter_mut().find(|text| text.lines().next() == Some(section.title)) {
        Some(old) => *old = new,
        None => sections.push(new),
    }
    let mut text = head.trim_end().to_owned();
    for section in sections {
        write!(text, "\n\n## {section}").expect("a string takes everything");
    }
    text.push('\n');
    std::fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// Cores, processor and memory.
pub fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(field).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total: u64 = memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
    format!("{cores} cores ({model}), {} GiB", (total + 524_288) / 1_048_576)
}
