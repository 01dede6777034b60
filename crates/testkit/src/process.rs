//! Processes by their number: what the kernel says of them, and signals to them. Linux only: it reads `/proc`.

use std::process::{Command, Stdio};

/// What `/proc` counts processor time in: 1/100 s, on every Linux.
const TICKS_PER_SECOND: u32 = 100;

/// Sends a signal (`KILL`, `STOP`, …) to each of these processes; one that is gone is passed over.
pub(crate) fn signal(name: &str, processes: &[u32]) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"kill -"$0" "$@""#, name]).args(processes.iter().map(u32::to_string));
    shell.stdin(Stdio::null()).stderr(Stdio::null()).status().expect("a shell can be started");
}

/// Whether a process is gone, or only waits for its parent to notice.
pub(crate) fn has_ended(process: u32) -> bool {
    stat(process).is_none_or(|stat| matches!(stat.state, 'Z' | 'X'))
}

/// Whether a process is stopped, by SIGSTOP or the like.
pub(crate) fn is_stopped(process: u32) -> bool {
    stat(process).is_some_and(|stat| stat.state == 'T')
}

/// The processes that a process has started itself.
pub(crate) fn children_of(process: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("this is Linux").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number| stat(*number).is_some_and(|stat| stat.parent == process)).collect()
}

/// The processor time that a process has used so far, in seconds; `None` once it is gone.
pub(crate) fn cpu_seconds(process: u32) -> Option<f64> {
    Some(stat(process)?.ticks as f64 / f64::from(TICKS_PER_SECOND))
}

/// The memory of a process that is in memory now, in KiB; `None` once it is gone.
pub(crate) fn rss_kb(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())
}

/// One line of `/proc/<number>/stat`.
struct Stat {
    state: char,
    parent: u32,
    ticks: u64,
}

/// The name, in brackets, may hold anything: the fields behind it count from the last bracket.
fn stat(process: u32) -> Option<Stat> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let parent = u32::try_from(number(1)?).ok()?;
    Some(Stat { state: fields.first()?.chars().next()?, parent, ticks: number(11)? + number(12)? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wait_until;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_child_is_seen_stopped_continued_and_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let number = child.id();
        assert!(children_of(std::process::id()).contains(&number));
        signal("STOP", &[number]);
        wait_until("it to be stopped", PATIENCE, || async { is_stopped(number) }).await;
        signal("CONT", &[number]);
        wait_until("it to go on", PATIENCE, || async { !is_stopped(number) && !has_ended(number) }).await;
        signal("KILL", &[number]);
        wait_until("it to have ended", PATIENCE, || async { has_ended(number) }).await;
        child.wait().unwrap();
        assert!(has_ended(number) && rss_kb(number).is_none() && cpu_seconds(number).is_none());
    }

    #[test]
    fn this_process_has_used_memory_and_time() {
        let own = std::process::id();
        let before = cpu_seconds(own).unwrap();
        while cpu_seconds(own).unwrap() < before + 0.02 {}
        assert!((1_000..10_000_000).contains(&rss_kb(own).unwrap()));
        assert!(cpu_seconds(own).unwrap() < 3_600.0);
    }
}
