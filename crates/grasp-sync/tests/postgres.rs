//! One process with its state in Postgres, and the commands that go straight to that database.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::process::{Command, Output};

use common::{Crowd, GraspSync, Relay, until_home_holds};
use model::Status;

fn grasp_sync(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_grasp-sync"));
    command.current_dir(directory.path()).env_clear().args(arguments).output().unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(output: &[u8]) -> &str {
    std::str::from_utf8(output).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_on_postgres_completes_home_and_goes_on_after_a_kill() {
    let database = testkit::postgres::database();
    let (home, upstream) = (Relay::local().await, Relay::counting().await);
    let crowd = Crowd::of(20, 4, &[upstream.url()]);
    upstream.has_held(crowd.events()).await;
    let mut installed = GraspSync::keeping(&home.url()).pulling_from(&[upstream.url()]).keeping_its_state_in(&database);
    let first = installed.run();
    until_home_holds(&home, &crowd.ids()).await;
    first.until_it_says_complete().await;
    first.killed().await;

    let second = installed.run();
    second.until_it_says_complete().await;
    let shown = grasp_sync(&["status", "--json", "--database-url", &database]);
    let status: Status = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(status.at_home, u64::try_from(crowd.ids().len()).unwrap());
    let ended = second.terminated().await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(!installed.data_dir().join("grasp-sync.db").exists(), "the state is in Postgres");
}

/// The number of the newest migration of a store.
fn newest_migration(store: &str) -> i64 {
    let folder = format!("{}/../../migrations/{store}", env!("CARGO_MANIFEST_DIR"));
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.split_once('_').unwrap().0.parse().unwrap()).max().unwrap()
}

#[test]
fn migrate_says_what_it_did_and_does_it_once() {
    let database = testkit::postgres::database();
    let (first, second) =
        (grasp_sync(&["migrate", "--database-url", &database]), grasp_sync(&["migrate", "--database-url", &database]));
    assert_eq!((code(&first), text(&first.stderr)), (Some(0), ""));
    let newest = newest_migration("postgres");
    assert_eq!(text(&first.stdout), format!("{database}: schema made, version {newest}\n"));
    assert_eq!(text(&second.stdout), format!("{database}: schema is up to date, version {newest}\n"));
    let file = grasp_sync(&["migrate"]);
    let newest = newest_migration("sqlite");
    let made = format!("./grasp-sync-data/grasp-sync.db: schema made, version {newest}\n");
    assert_eq!((code(&file), text(&file.stdout)), (Some(0), made.as_str()));
}

#[test]
fn a_database_that_is_away_and_one_that_refuses_have_exit_codes_of_their_own_and_hide_the_password() {
    let away = "postgres://sync:hunter2@127.0.0.1:1/sync";
    let refused = testkit::postgres::database().replace("test@", "nobody:hunter2@");
    for (url, expected) in [(away, 6), (refused.as_str(), 7)] {
        for command in [&["migrate"][..], &["status"], &["run", "--home", "builtin"]] {
            let ended = grasp_sync(&[command, &["--database-url", url]].concat());
            let said = text(&ended.stderr);
            assert_eq!(code(&ended), Some(expected), "{command:?} {url}: {said}");
            assert!(said.contains(":***@127.0.0.1") && !said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn a_status_of_a_database_without_a_schema_says_what_to_run() {
    let ended = grasp_sync(&["status", "--database-url", &testkit::postgres::database()]);
    assert_eq!((code(&ended), text(&ended.stdout)), (Some(7), ""));
    assert!(text(&ended.stderr).contains("run `grasp-sync migrate`"), "{}", text(&ended.stderr));
}
