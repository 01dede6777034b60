//! Which worker should hold which upstream: rendezvous hashing of worker and host, with bounded load.
//!
//! A pure function of what there is, so that every replica of the store says the same, and a worker that comes or goes moves
//! little beside its own. Upstreams of one host stay together: what a host allows is then one worker's business.

use std::collections::BTreeMap;

use model::UpstreamId;

/// No worker holds more than this part of an even share, in percent: a bare hash splits a thousand upstreams over three
/// workers with a tenth more for one of them, and a bound below that moves upstreams for nothing.
const MOST_OF_EVEN_SHARE: usize = 110;

/// Upstreams of one host, and how many they are.
struct Group<'a> {
    host: &'a str,
    members: Vec<UpstreamId>,
}

/// The worker of every upstream. `upstreams` are pairs of number and host; their order, and that of `workers`, says nothing.
///
/// Hosts are taken in the order of their lowest upstream; each goes to the first worker, in its own ranking, that has room
/// for all of it under ⌈1.1 · upstreams / workers⌉. A host with more upstreams than that goes to the first of its ranking;
/// one that fits nowhere goes where the least is. Empty without workers.
#[must_use]
pub fn place<'w>(upstreams: &[(UpstreamId, &str)], workers: &[&'w str]) -> BTreeMap<UpstreamId, &'w str> {
    let mut load: BTreeMap<&str, usize> = workers.iter().map(|worker| (*worker, 0)).collect();
    if load.is_empty() {
        return BTreeMap::new();
    }
    let most = bound(upstreams.len(), load.len());
    let mut placed = BTreeMap::new();
    for group in groups(upstreams) {
        let worker = choose(&ranking(workers, group.host), &load, group.members.len(), most);
        *load.entry(worker).or_default() += group.members.len();
        placed.extend(group.members.into_iter().map(|upstream| (upstream, worker)));
    }
    placed
}

/// The most upstreams of one worker, but for whole hosts that are larger or fit nowhere.
fn bound(upstreams: usize, workers: usize) -> usize {
    (upstreams * MOST_OF_EVEN_SHARE).div_ceil(workers * 100)
}

fn groups<'a>(upstreams: &[(UpstreamId, &'a str)]) -> Vec<Group<'a>> {
    let mut by_host: BTreeMap<&str, Vec<UpstreamId>> = BTreeMap::new();
    for (upstream, host) in upstreams {
        by_host.entry(host).or_default().push(*upstream);
    }
    let mut groups: Vec<Group<'_>> = by_host.into_iter().map(|(host, members)| Group { host, members }).collect();
    groups.sort_by_key(|group| group.members.iter().min().copied());
    groups
}

/// Workers, the one that the host likes best first; without repeats.
fn ranking<'w>(workers: &[&'w str], host: &str) -> Vec<&'w str> {
    let mut ranked: Vec<(u64, &str)> = workers.iter().map(|worker| (weight(worker, host), *worker)).collect();
    ranked.sort_by_key(|(weight, worker)| (std::cmp::Reverse(*weight), *worker));
    ranked.dedup();
    ranked.into_iter().map(|(_, worker)| worker).collect()
}

fn choose<'w>(ranked: &[&'w str], load: &BTreeMap<&str, usize>, size: usize, most: usize) -> &'w str {
    let fits = |worker: &&&str| size > most || load[**worker] + size <= most;
    let least = || ranked.iter().min_by_key(|worker| load[**worker]);
    ranked.iter().find(fits).or_else(least).copied().expect("there is a worker")
}

/// FNV-1a over both names, then the finalizer of SplitMix64, for FNV alone mixes its high bits badly. It may never change:
/// replicas of two versions would place the same upstream on two workers.
fn weight(worker: &str, host: &str) -> u64 {
    let bytes = worker.bytes().chain([0]).chain(host.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("relay{n}.example")).collect()
    }

    fn numbered(hosts: &[String]) -> Vec<(UpstreamId, &str)> {
        (1..).map(UpstreamId).zip(hosts.iter().map(String::as_str)).collect()
    }

    fn loads(placed: &BTreeMap<UpstreamId, &str>) -> BTreeMap<String, usize> {
        let mut loads = BTreeMap::new();
        for worker in placed.values() {
            *loads.entry((*worker).to_owned()).or_default() += 1;
        }
        loads
    }

    fn moved(before: &BTreeMap<UpstreamId, &str>, after: &BTreeMap<UpstreamId, &str>) -> usize {
        before.iter().filter(|(upstream, worker)| after[*upstream] != **worker).count()
    }

    #[test]
    fn the_hash_is_the_same_in_every_version() {
        assert_eq!(weight("one", "relay.example"), 0xe223_fbfc_d770_a827);
        assert_eq!(weight("", ""), 0x25fc_6dd3_6ce0_4b20);
        let hosts = hosts(12);
        let placed = place(&numbered(&hosts), &["one", "two", "three"]);
        let names: Vec<&str> = placed.into_values().collect();
        assert_eq!(names, ["one", "three", "two", "two", "three", "two", "two", "two", "one", "one", "three", "one"]);
    }

    #[test]
    fn no_worker_is_above_the_bound_and_none_idles() {
        let hosts = hosts(1000);
        for workers in [&["a", "b", "c"][..], &["a", "b", "c", "d", "e"]] {
            let placed = place(&numbered(&hosts), workers);
            assert_eq!(placed.len(), 1000);
            let loads = loads(&placed);
            let most = bound(1000, workers.len());
            assert!(loads.values().all(|load| *load <= most && *load > 1000 / workers.len() / 2), "{loads:?}");
        }
    }

    #[test]
    fn the_order_of_upstreams_and_workers_changes_nothing() {
        let hosts = hosts(200);
        let mut upstreams = numbered(&hosts);
        let before = place(&upstreams, &["a", "b", "c"]);
        upstreams.reverse();
        assert_eq!(place(&upstreams, &["c", "a", "b", "a"]), before);
    }

    #[test]
    fn a_worker_that_goes_moves_little_beside_its_own() {
        let hosts = hosts(1000);
        let four = place(&numbered(&hosts), &["a", "b", "c", "d"]);
        let three = place(&numbered(&hosts), &["a", "b", "c"]);
        let gone = loads(&four)["d"];
        let moved = moved(&four, &three);
        assert!(moved >= gone && moved < gone + 100, "{moved} moved, {gone} were its own");
    }

    #[test]
    fn an_upstream_more_moves_hardly_anything() {
        let hosts = hosts(1001);
        let upstreams = numbered(&hosts);
        let before = place(&upstreams[..1000], &["a", "b", "c"]);
        assert!(moved(&before, &place(&upstreams, &["a", "b", "c"])) <= 3);
    }

    #[test]
    fn upstreams_of_one_host_stay_together_however_many_they_are() {
        let mut hosts = hosts(20);
        hosts.extend(vec!["crowded.example".to_owned(); 30]);
        let placed = place(&numbered(&hosts), &["a", "b"]);
        let crowded: Vec<&str> = placed.iter().filter(|(upstream, _)| upstream.0 > 20).map(|(_, worker)| *worker).collect();
        assert_eq!(crowded, [crowded[0]; 30]);
        assert!(loads(&placed).len() == 2, "the others have room elsewhere");
    }

    #[test]
    fn a_host_that_fits_nowhere_goes_where_the_least_is() {
        let hosts: Vec<String> = (0..9).map(|n| format!("relay{}.example", n / 3)).collect();
        let loads = loads(&place(&numbered(&hosts), &["a", "b"]));
        assert_eq!(loads.into_values().max(), Some(6), "three hosts of three on two workers");
    }

    #[test]
    fn without_workers_nothing_is_placed() {
        assert!(place(&[(UpstreamId(1), "relay.example")], &[]).is_empty());
    }
}
