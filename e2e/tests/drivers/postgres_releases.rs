//! The releases of PostgreSQL that tests run on, each with a server of its own.

use std::path::PathBuf;

use lessor_e2e::postgres_server;

/// Which PostgreSQL.
pub trait Release: Send + Sync + 'static {
    /// Where its programs are.
    fn programs() -> PathBuf;
}

/// The release that is installed: Debian's.
pub struct Installed;

impl Release for Installed {
    fn programs() -> PathBuf {
        postgres_server::installed()
    }
}

/// Declares a type for each numbered release.
macro_rules! releases {
    ($($name:ident = $number:literal),* $(,)?) => {
        $(
            #[doc = concat!("PostgreSQL ", $number, ".")]
            pub struct $name;

            impl Release for $name {
                fn programs() -> PathBuf {
                    postgres_server::release($number)
                }
            }
        )*
    };
}

releases! { Fifteen = "15", Sixteen = "16", Seventeen = "17", Eighteen = "18" }

/// Runs each test on every release that is named: `release_15: Fifteen, release_18: Eighteen; [one_test, another]`.
macro_rules! on_each_release {
    ($($release:ident: $type:ident),*; $tests:tt) => { $(on_each_release!(@one $release, $type, $tests);)* };
    (@one $release:ident, $type:ident, [$($test:ident),* $(,)?]) => {
        mod $release {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test::<crate::drivers::postgres_releases::$type>().await;
            })*
        }
    };
}
