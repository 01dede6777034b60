//! From every schema that was ever current to today's: the database opens, keeps its rows, and works.
//!
//! `upgrades/<store>/<number>.sql` are rows of the time of that migration. A new migration is met here without a word; one that
//! adds tables or columns deserves rows of its own.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stderr, reason = "a failure is preceded by the schema that it is about")]

#[path = "cases/world.rs"]
#[allow(dead_code, reason = "a case needs some of its words")]
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{EventId, Kind, LinkView, Outcome, Said, Status};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};
use state::postgres::Time;
use state::{PostgresStore, Settings, SqliteStore, Store};
use world::{Backend, World, announced, home, id, progress, relay, root, row};

fn files(folder: &str) -> BTreeMap<u32, PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_stem().unwrap().to_str().unwrap()[..4].parse().unwrap(), path)).collect()
}

/// The migrations and the rows of one store, up to a number.
struct Past {
    store: &'static str,
    newest: u32,
}

impl Past {
    /// One for every migration, oldest first.
    fn all(store: &'static str) -> Vec<Self> {
        let numbers = files(&format!("../../migrations/{store}")).into_keys();
        numbers.map(|newest| Self { store, newest }).collect()
    }

    /// Every migration with the rows that came while it was the newest.
    async fn steps(&self) -> Vec<(Migrator, String)> {
        let folder = tempfile::tempdir().unwrap();
        let rows = files(&format!("tests/upgrades/{}", self.store));
        let mut steps = Vec::new();
        for (number, path) in files(&format!("../../migrations/{}", self.store)).range(..=self.newest) {
            std::fs::copy(path, folder.path().join(path.file_name().unwrap())).unwrap();
            let rows = rows.get(number).map(|path| std::fs::read_to_string(path).unwrap());
            steps.push((Migrator::new(folder.path()).await.unwrap(), rows.unwrap_or_default()));
        }
        steps
    }
}

struct SqliteOfThePast(tempfile::TempDir, Past);

#[async_trait::async_trait]
impl Backend for SqliteOfThePast {
    async fn open(&self, database: &str, settings: Settings) -> Arc<dyn Store> {
        let path = self.0.path().join(database);
        if !path.exists() {
            let url = format!("sqlite://{}?mode=rwc", path.display());
            let own = SqlitePool::connect(&url).await.unwrap();
            for (migrations, rows) in self.1.steps().await {
                migrations.run(&own).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(rows)).execute(&own).await.unwrap();
            }
            own.close().await;
        }
        Arc::new(SqliteStore::open(&path, settings).await.unwrap())
    }
}

struct PostgresOfThePast(String, Past);

#[async_trait::async_trait]
impl Backend for PostgresOfThePast {
    async fn open(&self, _database: &str, settings: Settings) -> Arc<dyn Store> {
        let own = PgPool::connect(&self.0).await.unwrap();
        for (migrations, rows) in self.1.steps().await {
            migrations.run(&own).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(rows)).execute(&own).await.unwrap();
        }
        own.close().await;
        let time = Time::Given(Arc::clone(&settings.clock));
        Arc::new(PostgresStore::connect(&self.0, settings, time).await.unwrap())
    }
}

#[tokio::test]
async fn who_only_looks_at_an_earlier_file_is_told_to_bring_it_up_to_date_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let first = Past::all("sqlite").remove(0);
    let own = SqlitePool::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    first.steps().await[0].0.run(&own).await.unwrap();
    own.close().await;
    let before = std::fs::read(&path).unwrap();
    let told = SqliteStore::look_at(&path).await.err().unwrap().to_string();
    for words in ["earlier version of grasp-sync (schema 1;", "`grasp-sync migrate`"] {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let migrated = state::sqlite::migrate(&path).await.unwrap();
    assert_eq!(migrated.before, Some(1));
    SqliteStore::look_at(&path).await.unwrap();
}

/// The issue, and the repo's announcement.
const KEPT: [usize; 2] = [1, 1_001_005];

async fn keeps_its_rows(world: &World) {
    let Status { repos, roots, at_home, .. } = world.store.status().await.unwrap();
    assert_eq!((repos, roots, at_home), (1, 1, 2));
    let (wanted, pending, confirmed) = world.counts(&relay(1)).await;
    assert_eq!((wanted + pending, confirmed), (1, 1), "the open batch of a dead process is nobody's confirmation");
    assert_eq!(world.counts(&home()).await, (0, 0, 2));
    let upstream = world.status_of(&relay(1)).await.unwrap();
    assert_eq!(upstream.learned.page_cap, Some(500));
    let mut known: Vec<EventId> = world.store.known(&KEPT.map(id)).await.unwrap();
    known.sort();
    assert_eq!(known, KEPT.map(id));
}

async fn works(world: &mut World, newest: u32) {
    // From here on there are rows of ids that are looked for.
    let named = u64::from(newest >= 5);
    // Whoever had a lease is dead.
    world.store.sweep().await.unwrap();
    assert!(matches!(world.status_of(&relay(1)).await.unwrap().link, LinkView::Down { .. }));
    assert_eq!(world.counts(&relay(1)).await, (1 + named, 0, 1), "S10");
    let mut link = world.caught_up(&relay(1)).await;
    assert!(link.epoch.0 > 7, "an epoch never comes twice: {:?}", link.epoch);
    world.say(&mut link, progress(vec![], vec![row(900, Kind::TextNote, 5, Outcome::Stored)])).await;
    assert_eq!(world.store.known(&[id(900)]).await.unwrap(), [id(900)]);
    let dirty = world.discover(&[announced(2, 6, &[1])], &[root(5, &[1, 2])]).await;
    assert!(dirty.contains(&relay(1)), "{dirty:?}");
    assert_eq!(world.status_of(&relay(1)).await.unwrap().wanted, 3 + named);
    world.say(&mut link, Said::Down { class: model::DownClass::Closed, detail: String::new() }).await;
    assert_eq!(world.store.status().await.unwrap().at_home, 3);
}

#[tokio::test]
async fn a_file_of_every_earlier_schema_opens_keeps_its_rows_and_works() {
    for past in Past::all("sqlite") {
        eprintln!("migrations up to {}", past.newest);
        let newest = past.newest;
        let mut world = World::new(SqliteOfThePast(tempfile::tempdir().unwrap(), past)).await;
        keeps_its_rows(&world).await;
        works(&mut world, newest).await;
    }
}

#[tokio::test]
async fn a_database_of_every_earlier_schema_opens_keeps_its_rows_and_works() {
    for past in Past::all("postgres") {
        eprintln!("migrations up to {}", past.newest);
        let newest = past.newest;
        let mut world = World::new(PostgresOfThePast(testkit::postgres::database(), past)).await;
        keeps_its_rows(&world).await;
        works(&mut world, newest).await;
    }
}

#[test]
fn both_stores_have_rows_of_the_same_times_each_of_which_had_a_migration() {
    let [sqlite, postgres] = ["sqlite", "postgres"].map(|store| {
        let migrations = files(&format!("../../migrations/{store}"));
        let rows: Vec<u32> = files(&format!("tests/upgrades/{store}")).into_keys().collect();
        assert!(rows.iter().all(|number| migrations.contains_key(number)), "{store}: {rows:?}");
        rows
    });
    assert_eq!(sqlite, postgres);
}
