//! What this process has used, by the word of the kernel.

use std::fs;
use std::io;
use std::time::Duration;

/// `USER_HZ`, which Linux keeps at 100 for every program on every machine (proc(5)).
const TICKS_PER_SECOND: u64 = 100;
/// Asks the kernel to forget the largest size so far (proc(5), clear_refs).
const FORGET_PEAK: &str = "5";

/// Processor time of all threads, in user and kernel; steps of 10 ms.
pub(super) fn processor_time() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program may hold anything but its closing bracket ends it.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// Resident memory now, in bytes.
pub(super) fn resident() -> io::Result<u64> {
    status("VmRSS:")
}

/// The most resident memory since [`forget_peak`], in bytes.
pub(super) fn peak() -> io::Result<u64> {
    status("VmHWM:")
}

/// From now on, [`peak`] is counted anew.
pub(super) fn forget_peak() -> io::Result<()> {
    fs::write("/proc/self/clear_refs", FORGET_PEAK)
}

fn status(name: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|number| number.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| io::Error::other(format!("no {name} in /proc/self/status")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn work_and_memory_are_seen() {
        let before = processor_time().unwrap();
        while processor_time().unwrap() < before + Duration::from_millis(20) {
            std::hint::black_box((0..10_000_u64).sum::<u64>());
        }
        forget_peak().unwrap();
        let before = peak().unwrap();
        let memory = vec![1_u8; 64 << 20];
        assert!(peak().unwrap() >= before + (50 << 20) && resident().unwrap() > 50 << 20, "{} bytes", memory.len());
    }
}
