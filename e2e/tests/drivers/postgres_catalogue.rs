//! Issuing and revoking leaves the server's catalogues as they were, however often it is done.

use lessor_e2e::postgres_server::PostgresServer;

use super::postgres::Postgres;
use super::postgres_releases::Release;
use super::recipe::Recipe as _;
use super::suite::{create_all, delete_all, open};

/// Cycles after the first hundred, unless `LESSOR_TEST_CYCLES` says how many.
const CYCLES: usize = 300;

/// Cycles that show what the catalogues need.
const HUNDRED: usize = 100;

/// How much larger than after the first hundred a catalogue may be that is only vacuumed: pages of an index that are empty
/// are used again a while later.
const MOST: i64 = 2;

/// Users that exist at a time.
const TOGETHER: usize = 50;

/// What keeps a row for each role, membership, grant or comment.
const CATALOGUES: [&str; 5] = ["pg_authid", "pg_auth_members", "pg_shdepend", "pg_shdescription", "pg_db_role_setting"];

async fn vacuum(server: &PostgresServer, how: &str) {
    let client = server.login("app", "postgres", server.password()).await.unwrap();
    for catalogue in CATALOGUES {
        client.batch_execute(&format!("{how} {catalogue}")).await.unwrap();
    }
}

/// The sizes of the catalogues with their indexes, bytes, and of all grants on tables, characters.
async fn sizes(server: &PostgresServer) -> Vec<(&'static str, i64)> {
    let client = server.login("app", "postgres", server.password()).await.unwrap();
    let mut found = Vec::new();
    for catalogue in CATALOGUES {
        let query = format!("SELECT pg_total_relation_size('{catalogue}')");
        found.push((catalogue, client.query_one(&query, &[]).await.unwrap().get(0)));
    }
    let grants = "SELECT coalesce(sum(length(relacl::text)), 0)::bigint FROM pg_class";
    found.push(("pg_class.relacl", client.query_one(grants, &[]).await.unwrap().get(0)));
    found
}

async fn catalogues_do_not_grow<R: Release>() {
    let cycles = match std::env::var("LESSOR_TEST_CYCLES") {
        Ok(text) => text.parse().expect("LESSOR_TEST_CYCLES is a number"),
        Err(_) => CYCLES,
    };
    let recipe = Postgres::<R>::start().await;
    let driver = open(&recipe);
    let names: Vec<_> = (0..TOGETHER).map(|number| format!("v-cycle-{number}")).collect();
    // Vacuumed after each hundred, as autovacuum does it in a server that runs.
    let run = async |cycles: usize| {
        for begun in (0..cycles).step_by(TOGETHER) {
            let names = &names[..TOGETHER.min(cycles - begun)];
            create_all(&driver, names, &recipe.creation()).await;
            delete_all(&driver, names).await;
            if (begun + TOGETHER).is_multiple_of(HUNDRED) {
                vacuum(&recipe.0, "VACUUM").await;
            }
        }
    };
    run(HUNDRED).await;
    let vacuumed_before = sizes(&recipe.0).await;
    vacuum(&recipe.0, "VACUUM (FULL)").await;
    let before = sizes(&recipe.0).await;
    run(cycles).await;
    let vacuumed = sizes(&recipe.0).await;
    vacuum(&recipe.0, "VACUUM (FULL)").await;
    let after = sizes(&recipe.0).await;
    eprintln!("after 100 cycles {vacuumed_before:?}, rewritten {before:?}");
    eprintln!("after {cycles} more {vacuumed:?}, rewritten {after:?}");
    assert_eq!(before, after);
    for ((what, before), (_, vacuumed)) in vacuumed_before.iter().zip(&vacuumed) {
        assert!(*vacuumed <= before * MOST, "{what}: {before} after 100 cycles, {vacuumed} after {cycles} more");
    }
}

on_each_release! { release_15: Fifteen, release_18: Eighteen; [catalogues_do_not_grow] }
