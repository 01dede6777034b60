//! What upstreams that never answer cost the log of a real run: a line each, however often they are dialed. Hour by hour of a day, on
//! virtual time, this is in `connector::lines`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{GraspSync, PATIENCE, Relay};
use testkit::wait_for;

const DEAD: usize = 100;
/// Lines that have nothing to do with them: the start, home, progress.
const OTHERS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn o1_a_hundred_upstreams_that_never_answer_have_a_line_each_and_no_more() {
    let home = Relay::counting().await;
    let dead: Vec<String> = (0..DEAD).map(|_| format!("ws://127.0.0.1:{}", testkit::free_port())).collect();
    let mut installed = GraspSync::keeping(&home.url()).pulling_from(&dead);
    let running = installed.run_with(&[("GRASP_SYNC_DIALS_PER_MINUTE", "10000")]);
    wait_for("each of them to have failed three times", PATIENCE, || async {
        let said = installed.says(&["status", "--json"]).await;
        let status: serde_json::Value = serde_json::from_str(&said.stdout).map_err(|_| said.stderr)?;
        let failed = |one: &&serde_json::Value| one["role"] == "bootstrap" && one["failures"].as_u64() >= Some(3);
        let count = status["upstreams"].as_array().unwrap().iter().filter(failed).count();
        if count == DEAD { Ok(()) } else { Err(format!("{count} of them")) }
    })
    .await;
    let log = running.log();
    let port = home.url().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let down = log.lines().filter(|line| line.contains("link down") && !line.contains(&port)).count();
    assert_eq!(down, DEAD, "each is told once:\n{log}");
    assert!(log.lines().count() < DEAD + OTHERS, "{} lines:\n{log}", log.lines().count());
    running.killed().await;
}
