//! What the operating system knows: of the machine, of processes, and of who else uses it. Linux
//! tells all of it; elsewhere the columns stay empty.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};

/// The kernel's unit of processor time, on every Linux that this runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// Sockets are files, and ten thousand connections are more than a shell allows.
pub(crate) fn allow_many_files() -> Result<()> {
    rlimit::increase_nofile_limit(65_536).context("the limit on open files")?;
    Ok(())
}

/// The machine in one line for each of its parts.
pub(crate) fn describe(folder: &Path) -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let find = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let mounts = read("/proc/self/mounts");
    let folder = folder.canonicalize().unwrap_or_default();
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?, words.next()?))
        })
        .filter(|(_, at, _)| folder.starts_with(at))
        .max_by_key(|(_, at, _)| at.len());
    let disk = mount.map_or_else(
        || "unknown".into(),
        |(device, _, system)| format!("{system} on {device}"),
    );
    [
        ("processor", find(&read("/proc/cpuinfo"), "model name")),
        ("cores", cores.to_string()),
        ("memory", find(&read("/proc/meminfo"), "MemTotal")),
        ("kernel", kernel.trim().to_owned()),
        ("disk", disk),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// What the servers of a system and the machine have used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    at: Instant,
    /// Seconds of processor time.
    server: f64,
    database: Option<f64>,
    own: f64,
    machine: f64,
    written: u64,
    flushes: Option<u64>,
}

impl Used {
    /// Looks at the processes of servers, and at a PostgreSQL by the process above all of its own.
    pub(crate) fn now(servers: &[u32], database: Option<u32>, folder: &Path) -> Self {
        let each = servers.iter().map(|server| stat(*server).processor);
        Self {
            at: Instant::now(),
            server: each.sum(),
            database: database.map(family),
            own: stat(std::process::id()).processor,
            machine: busy(),
            written: servers.iter().map(|server| written(*server)).sum(),
            flushes: flushes(folder),
        }
    }

    /// What has been used since an earlier look.
    pub(crate) fn since(self, before: Self) -> Spent {
        let elapsed = self.at.duration_since(before.at).as_secs_f64().max(1e-9);
        let server = self.server - before.server;
        let own = self.own - before.own;
        let machine = self.machine - before.machine;
        let database = self.database.zip(before.database);
        let database = database.map(|(now, then)| now - then);
        let ours = server + own + database.unwrap_or(0.0);
        Spent {
            server,
            database,
            own,
            foreign: ((machine - ours) / elapsed).max(0.0),
            written: self.written.saturating_sub(before.written),
            flushes: self
                .flushes
                .zip(before.flushes)
                .map(|(now, then)| now.saturating_sub(then)),
        }
    }
}

/// What a run has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Seconds of processor time, of the servers.
    pub(crate) server: f64,
    /// The same of the database, if it is on this machine.
    pub(crate) database: Option<f64>,
    /// Seconds of processor time, of the load.
    pub(crate) own: f64,
    /// Processors that others were using, the kernel's own threads among them.
    pub(crate) foreign: f64,
    pub(crate) written: u64,
    /// Flushes of the whole disk.
    pub(crate) flushes: Option<u64>,
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1_024
}

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Stat {
    parent: u32,
    /// Seconds of processor time.
    processor: f64,
    /// The same of its children that have ended.
    ended: f64,
}

fn stat(process: u32) -> Stat {
    let text = fs::read_to_string(format!("/proc/{process}/stat"));
    parse_stat(&text.unwrap_or_default())
}

fn parse_stat(text: &str) -> Stat {
    // The name of the program is in brackets and may contain any character.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let seconds = |from: usize| {
        let ticks = fields.iter().skip(from).take(2);
        ticks.filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / TICKS_A_SECOND
    };
    Stat {
        parent: fields.get(1).and_then(|it| it.parse().ok()).unwrap_or(0),
        processor: seconds(11),
        ended: seconds(13),
    }
}

/// The parent of a process that runs.
pub(crate) fn parent_of(process: u32) -> Option<u32> {
    Some(stat(process).parent).filter(|parent| *parent > 0)
}

/// Seconds of processor time of a process and of all its children, those that have ended included.
fn family(process: u32) -> f64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let others = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children = others.map(stat).filter(|child| child.parent == process);
    let living: f64 = children.map(|child| child.processor + child.ended).sum();
    let own = stat(process);
    living + own.processor + own.ended
}

/// Seconds for which the machine's processors were busy.
fn busy() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|it| it.parse().ok())
        .collect();
    // user, nice, system, then idle and waiting, then interrupts.
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    let all: f64 = ticks.iter().take(7).sum();
    (all - idle) / TICKS_A_SECOND
}

fn written(process: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

fn flushes(folder: &Path) -> Option<u64> {
    let device = fs::metadata(folder).ok()?.dev();
    // As glibc packs the two numbers of a device.
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xfff_ff00),
    );
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    stat.split_whitespace().nth(15)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processes_time_stands_behind_its_name() {
        let text = "7 (a) b (c)) S 42 7 7 0 -1 4194560 1 2 3 4 150 50 1000 25 20 0 1 0 9";
        let Stat {
            parent,
            processor,
            ended,
        } = parse_stat(text);
        assert_eq!((parent, processor, ended), (42, 2.0, 10.25));
    }
}
