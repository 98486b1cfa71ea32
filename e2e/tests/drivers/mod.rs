//! The conformance suite of the database drivers: every promise of `suite.rs` on every database that has a recipe.
//!
//! A new driver joins with a file that implements `Recipe` and one line below; what only it can do it tests in that file.

#[macro_use]
mod postgres_releases;

mod postgres;
mod postgres_catalogue;
mod postgres_certificates;
mod postgres_logs;
mod postgres_presets;
mod postgres_revocation;
mod postgres_tls;
mod recipe;
mod suite;

/// One module of tests for each recipe.
macro_rules! conformance {
    ($($name:ident: $recipe:ty),* $(,)?) => {
        $(mod $name {
            use super::*;

            conformance!(@tests $recipe, whole_life, own_passwords_rotate, sessions_and_objects_hold_no_user,
                sessions_stay_where_that_is_wanted, users_are_known_by_their_mark, spares_wait_for_their_login, many_at_once,
                nobody_exists_before_the_lease, a_crash_is_survived, errors_keep_secrets);
        })*

        #[test]
        fn every_driver_has_a_recipe() {
            use recipe::Recipe as _;
            let tested = [$(<$recipe>::PLUGIN),*];
            for spec in lessor::drivers::TABLE {
                assert!(spec.plugins.iter().any(|plugin| tested.contains(plugin)), "no recipe for {:?}", spec.plugins);
            }
        }
    };
    (@tests $recipe:ty, $($test:ident),*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            suite::$test::<$recipe>().await;
        })*
    };
}

conformance! {
    on_postgres_15: postgres::Postgres<postgres_releases::Fifteen>,
    on_postgres_18: postgres::Postgres<postgres_releases::Eighteen>,
}
