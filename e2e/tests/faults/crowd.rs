//! Many requests for one role at the same moment, each of which changes the same object of the database.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use lessor_e2e::site::{Credential, Site};
use serde_json::json;

const REQUESTS: usize = 200;

/// The most waves until the database has met a conflict.
const WAVES: usize = 10;

/// Every user gets a grant of its own on one table, so that all transactions change one row of `pg_class`.
const SHARED: &str = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; \
                      GRANT SELECT ON shared TO \"{{name}}\";";

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_on_one_role_all_succeed_though_the_database_meets_conflicts() {
    let site = Site::start(&["max_connections=100"]).await;
    site.server.run("app", "CREATE TABLE shared (text text); ALTER TABLE shared OWNER TO lessor_admin").await;
    let mut connection = site.connection(&site.address());
    connection["max_open_connections"] = json!(16);
    site.http.post("database/config/pg", connection).await.expect_status(204);
    site.role("crowd", "pg", json!({ "creation_statements": SHARED })).await;

    let (mut conflicts, mut waves) = (0, 0);
    while conflicts == 0 {
        assert!(waves < WAVES, "{waves} waves of {REQUESTS} and no conflict: this test shows nothing");
        waves += 1;
        let answers = join_all((0..REQUESTS).map(|_| site.http.get("database/creds/crowd"))).await;
        let errors: BTreeSet<_> =
            answers.iter().filter(|answer| answer.status != 200).map(|answer| answer.error().to_owned()).collect();
        assert_eq!(errors, BTreeSet::new(), "errors that clients saw");
        let users: BTreeSet<_> = answers.iter().map(|answer| Credential::of(&answer.body).user).collect();
        assert_eq!(users.len(), REQUESTS);
        let revoked = site.http.post("sys/leases/revoke-prefix/database/creds/crowd", json!({})).await;
        revoked.expect_status(204);
        conflicts = site.server.log().matches("tuple concurrently updated").count();
    }
    assert!(site.users("v-%").await.is_empty());
    eprintln!(
        "{waves} waves of {REQUESTS} requests: 0 errors, {conflicts} times \"tuple concurrently updated\" in the server's log"
    );
}
