//! CPU time of the processes that take part, from `/proc`.

use std::time::Duration;

/// Length of the kernel's clock tick in `/proc`: Linux has 100 a second on every platform that is built for.
const TICK: Duration = Duration::from_millis(10);

/// CPU times since the processes began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// The program under load; zero when its process is not known.
    pub program: Duration,
    /// PostgreSQL with all its processes.
    pub postgres: Duration,
    /// This process.
    pub client: Duration,
    /// Everything on the machine together.
    pub machine: Duration,
}

impl Cpu {
    /// What was used since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            program: self.program.saturating_sub(before.program),
            postgres: self.postgres.saturating_sub(before.postgres),
            client: self.client.saturating_sub(before.client),
            machine: self.machine.saturating_sub(before.machine),
        }
    }

    /// What others than those that take part used.
    pub fn elsewhere(self) -> Duration {
        self.machine.saturating_sub(self.program + self.postgres + self.client)
    }
}

/// Which program is under load.
#[derive(Debug, Clone, Copy)]
pub enum Who {
    /// That process.
    Pid(u32),
    /// A child of this process that has ended when the time is read.
    Child,
    /// A process elsewhere.
    Unknown,
}

/// Reads the CPU times of now.
pub fn now(program: Who) -> Cpu {
    let own = Stat::of("self").expect("/proc/self/stat can be read");
    let program = match program {
        Who::Pid(pid) => Stat::of(&pid.to_string()).map_or(Duration::ZERO, |stat| stat.own),
        Who::Child => own.children,
        Who::Unknown => Duration::ZERO,
    };
    Cpu { program, postgres: postgres(), client: own.own, machine: machine() }
}

/// How long the threads of a process have run, to the nanosecond: for what hardly ever runs.
pub fn running(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    texts.filter_map(|text| text.split_whitespace().next()?.parse().ok()).map(Duration::from_nanos).sum()
}

/// All processors: the first line of `/proc/stat` without its fourth and fifth figure, which are idleness.
fn machine() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let figures = text.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    let busy = figures.enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks.parse::<u32>());
    busy.map(|ticks| TICK * ticks.unwrap_or(0)).sum()
}

/// The postmaster, its ended children and those that live.
fn postgres() -> Duration {
    let Ok(pid) = std::env::var("LESSOR_BENCH_POSTMASTER") else { return Duration::ZERO };
    loop {
        let Some(master) = Stat::of(&pid) else { return Duration::ZERO };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let live = processes
            .filter_map(|entry| Stat::of(entry.file_name().to_str().filter(|name| name.parse::<u32>().is_ok())?))
            .filter(|stat| stat.parent == pid)
            .map(|stat| stat.own)
            .sum::<Duration>();
        // A child that ended in between would be counted twice or not at all.
        if Stat::of(&pid).is_none_or(|now| now.children == master.children) {
            return master.own + master.children + live;
        }
    }
}

struct Stat {
    parent: String,
    own: Duration,
    children: Duration,
}

impl Stat {
    fn of(process: &str) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The second field is the program's name in brackets, which may hold anything.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok().map(|ticks| TICK * ticks);
        let (own, children) = (ticks(11)? + ticks(12)?, ticks(13)? + ticks(14)?);
        Some(Self { parent: (*fields.get(1)?).to_owned(), own, children })
    }
}
