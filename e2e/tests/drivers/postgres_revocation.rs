//! What users of PostgreSQL leave behind, and that their default revocation gets rid of it for an administrator that has
//! CREATEROLE alone.

use lessor::drivers::DropUser;
use tokio_postgres::Client;

use super::postgres::Postgres;
use super::postgres_releases::Release;
use super::recipe::Recipe as _;
use super::suite::{User, create, delete, open};

/// Who runs statements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Superuser,
    /// The administrator of the connection.
    Admin,
    /// The user that is to go, `$user` in statements.
    User,
}

/// Something that holds a role.
struct Case {
    name: &'static str,
    /// Who runs what in which database before the user goes.
    before: &'static [(By, &'static str, &'static str)],
    /// What must hold afterwards: a database and a condition.
    after: &'static [(&'static str, &'static str)],
}

const CASES: &[Case] = &[
    Case {
        name: "owned",
        before: &[(
            By::User,
            "app",
            "CREATE TABLE kept (id serial PRIMARY KEY, made timestamptz DEFAULT now()); INSERT INTO kept DEFAULT VALUES;
             CREATE SEQUENCE kept_sequence; CREATE VIEW kept_view AS SELECT id FROM kept;
             CREATE MATERIALIZED VIEW kept_copy AS SELECT id FROM kept; CREATE INDEX kept_index ON kept (made);
             CREATE TYPE kept_type AS ENUM ('a'); CREATE DOMAIN kept_domain AS int;
             CREATE FUNCTION kept_function() RETURNS int LANGUAGE sql AS 'SELECT 1';
             CREATE PROCEDURE kept_procedure() LANGUAGE sql AS 'SELECT 1';
             CREATE AGGREGATE kept_sum (int) (SFUNC = int4pl, STYPE = int4);
             ALTER TABLE kept ENABLE ROW LEVEL SECURITY; CREATE POLICY kept_policy ON kept TO CURRENT_USER USING (true);
             CREATE TEMP TABLE mine (id int);",
        )],
        after: &[
            ("app", "(SELECT count(*) FROM kept) = 1"),
            (
                "app",
                "(SELECT count(*) FROM pg_class WHERE relname LIKE 'kept%' AND relkind IN ('r', 'S', 'v', 'm', 'i')
                   AND relowner = 'admin'::regrole) = 7",
            ),
            ("app", "(SELECT count(*) FROM pg_proc WHERE proname LIKE 'kept%' AND proowner = 'admin'::regrole) = 3"),
            ("app", "(SELECT bool_and(typowner = 'admin'::regrole) FROM pg_type WHERE typname IN ('kept_type', 'kept_domain'))"),
        ],
    },
    Case {
        name: "default-privileges",
        before: &[
            (
                By::User,
                "app",
                "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO app_rw;
                 ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;",
            ),
            (
                By::Superuser,
                "app",
                "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO \"$user\";
                 ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO \"$user\";",
            ),
        ],
        after: &[("app", "(SELECT count(*) FROM pg_default_acl WHERE defaclacl::text LIKE '%default-priv%') = 0")],
    },
    Case {
        name: "two-databases",
        before: &[
            (By::User, "app", "CREATE TABLE here (id int)"),
            (By::User, "other one", "CREATE TABLE there (id int); CREATE FUNCTION there() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
            (By::Admin, "other one", "GRANT SELECT ON lendable TO \"$user\""),
        ],
        after: &[
            ("app", "(SELECT relowner = 'admin'::regrole FROM pg_class WHERE relname = 'here')"),
            ("other one", "(SELECT relowner = 'admin'::regrole FROM pg_class WHERE relname = 'there')"),
            ("other one", "(SELECT relacl::text NOT LIKE '%two-databases%' FROM pg_class WHERE relname = 'lendable')"),
        ],
    },
    Case {
        name: "schema",
        before: &[
            (By::Superuser, "app", "GRANT CREATE ON DATABASE app TO \"$user\""),
            (By::User, "app", "CREATE SCHEMA held; CREATE TABLE held.inside (id int); GRANT USAGE ON SCHEMA held TO app_rw"),
            // What the superuser gave only the superuser may take.
            (By::Superuser, "app", "REVOKE CREATE ON DATABASE app FROM \"$user\"; GRANT CREATE ON DATABASE app TO admin"),
        ],
        after: &[
            ("app", "(SELECT nspowner = 'admin'::regrole FROM pg_namespace WHERE nspname = 'held')"),
            ("app", "(SELECT relowner = 'admin'::regrole FROM pg_class WHERE oid = 'held.inside'::regclass)"),
        ],
    },
    Case {
        name: "foreign-grantor",
        before: &[(
            By::Superuser,
            "app",
            "SET ROLE lender;
             GRANT USAGE ON SCHEMA lent TO \"$user\"; GRANT SELECT ON notes TO \"$user\";
             GRANT USAGE ON SEQUENCE numbers TO \"$user\"; GRANT CONNECT ON DATABASE app TO \"$user\";
             GRANT EXECUTE ON FUNCTION lent.work(int, lent.kind) TO \"$user\"; GRANT SELECT (text) ON secrets TO \"$user\";
             GRANT USAGE ON TYPE lent.kind TO \"$user\"; GRANT SELECT ON LARGE OBJECT 4711 TO \"$user\";",
        )],
        after: &[
            ("app", "(SELECT relacl::text LIKE '%lender=%' FROM pg_class WHERE relname = 'notes')"),
            ("app", "(SELECT relacl::text NOT LIKE '%foreign-grantor%' FROM pg_class WHERE relname = 'notes')"),
        ],
    },
    Case {
        name: "owner-that-is-a-group",
        before: &[(By::Superuser, "app", "SET ROLE keeper; GRANT SELECT, INSERT ON kept_by_group TO \"$user\"")],
        after: &[("app", "(SELECT relowner = 'keeper'::regrole FROM pg_class WHERE relname = 'kept_by_group')")],
    },
    Case {
        name: "memberships",
        before: &[
            (By::Superuser, "app", "CREATE ROLE club NOLOGIN; GRANT club TO admin WITH ADMIN OPTION; CREATE ROLE guest NOLOGIN"),
            (By::Admin, "app", "GRANT club TO \"$user\" WITH ADMIN OPTION"),
            (By::User, "app", "GRANT club TO guest"),
            (By::Admin, "app", "GRANT \"$user\" TO guest"),
        ],
        after: &[],
    },
    Case {
        name: "grants-passed-on",
        before: &[
            (By::Superuser, "app", "CREATE ROLE heir NOLOGIN; GRANT SELECT ON handed TO admin WITH GRANT OPTION"),
            (By::Admin, "app", "GRANT SELECT ON handed TO \"$user\" WITH GRANT OPTION"),
            (By::Superuser, "app", "SET ROLE lender; GRANT SELECT ON notes TO \"$user\" WITH GRANT OPTION"),
            (By::User, "app", "GRANT SELECT ON handed TO heir; GRANT SELECT ON notes TO heir"),
            (By::User, "app", "CREATE TABLE passed_on (id int); GRANT SELECT ON passed_on TO heir"),
        ],
        after: &[
            ("app", "(SELECT relacl::text NOT LIKE '%passed-on%' FROM pg_class WHERE relname = 'handed')"),
            ("app", "has_table_privilege('heir', 'passed_on', 'SELECT')"),
        ],
    },
    Case {
        name: "policies-and-mappings",
        before: &[
            (By::Superuser, "app", "CREATE POLICY for_one ON secrets TO \"$user\" USING (true)"),
            (
                By::Superuser,
                "app",
                "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing;
                 CREATE USER MAPPING FOR \"$user\" SERVER far;",
            ),
        ],
        after: &[("app", "(SELECT count(*) FROM pg_user_mapping) = 0")],
    },
    Case {
        name: "settings-and-comments",
        before: &[(
            By::Admin,
            "app",
            "ALTER ROLE \"$user\" SET statement_timeout = '5s'; ALTER ROLE \"$user\" IN DATABASE app SET work_mem = '1MB';
             COMMENT ON ROLE \"$user\" IS 'somebody';",
        )],
        after: &[("app", "(SELECT count(*) FROM pg_db_role_setting s WHERE s.setrole NOT IN (SELECT oid FROM pg_roles) AND s.setrole > 0) = 0")],
    },
];

/// What several cases build on. The administrator may grant `lender` and `keeper` and is, from PostgreSQL 16 on, nothing by it.
const GROUND: &str = "
    CREATE ROLE lender NOLOGIN; CREATE ROLE keeper NOLOGIN; CREATE SCHEMA lent; CREATE SEQUENCE numbers;
    CREATE TYPE lent.kind AS ENUM ('a'); CREATE TABLE handed (id int); SELECT lo_create(4711);
    CREATE FUNCTION lent.work(int, lent.kind) RETURNS int LANGUAGE sql AS 'SELECT $1';
    CREATE TABLE kept_by_group (id int); ALTER TABLE kept_by_group OWNER TO keeper;
    GRANT USAGE ON SCHEMA public TO lender, keeper;
    GRANT USAGE ON SCHEMA lent TO lender WITH GRANT OPTION; GRANT SELECT ON notes TO lender WITH GRANT OPTION;
    GRANT USAGE ON SEQUENCE numbers TO lender WITH GRANT OPTION; GRANT CONNECT ON DATABASE app TO lender WITH GRANT OPTION;
    GRANT EXECUTE ON FUNCTION lent.work(int, lent.kind) TO lender WITH GRANT OPTION;
    GRANT SELECT (text) ON secrets TO lender WITH GRANT OPTION; GRANT USAGE ON TYPE lent.kind TO lender WITH GRANT OPTION;
    GRANT SELECT ON LARGE OBJECT 4711 TO lender WITH GRANT OPTION;
    GRANT lender, keeper TO admin WITH ADMIN OPTION;
    DO $$ BEGIN
      IF current_setting('server_version_num')::int >= 160000 THEN
        EXECUTE 'GRANT lender, keeper, app_rw TO admin WITH INHERIT FALSE, SET FALSE';
      END IF;
    END $$;";

async fn prepared<R: Release>() -> Postgres<R> {
    let recipe = Postgres::<R>::start().await;
    recipe.0.run("postgres", "CREATE DATABASE \"other one\"").await;
    recipe.0.run("app", GROUND).await;
    let other = "GRANT CREATE, USAGE ON SCHEMA public TO app_rw; CREATE TABLE lendable (id int);
                 GRANT SELECT ON lendable TO admin WITH GRANT OPTION";
    recipe.0.run("other one", other).await;
    recipe
}

/// Runs a case's statements and returns the user's connections.
async fn hold<R: Release>(recipe: &Postgres<R>, case: &Case, user: &User) -> Vec<Client> {
    let mut sessions = vec![recipe.0.login("app", &user.name, &user.password).await.unwrap()];
    for &(by, database, statements) in case.before {
        let statements = statements.replace("$user", &user.name);
        let client = match by {
            By::Superuser => recipe.0.login(database, "postgres", recipe.0.password()).await,
            By::Admin => recipe.0.login(database, "admin", &recipe.admin_password()).await,
            By::User => recipe.0.login(database, &user.name, &user.password).await,
        };
        let client = client.unwrap();
        client
            .batch_execute(&statements)
            .await
            .unwrap_or_else(|error| panic!("{}: {statements}: {error:?}", case.name));
        if by == By::User {
            sessions.push(client);
        }
    }
    sessions
}

async fn whatever_a_user_holds_it_goes<R: Release>() {
    let recipe = prepared::<R>().await;
    let driver = open(&recipe);
    let mut problems = Vec::new();
    for case in CASES {
        let user = User::new(&format!("v-{}", case.name));
        create(&recipe, &*driver, &user).await.unwrap();
        let sessions = hold(&recipe, case, &user).await;
        if let Err(error) = delete(&*driver, &user.name).await {
            problems.push(format!("{}: {error}", case.name));
            continue;
        }
        assert_eq!(recipe.users(&user.name).await, 0, "{}", case.name);
        for session in sessions {
            session.batch_execute("SELECT 1").await.expect_err("the user's sessions were ended");
        }
        for (database, condition) in case.after {
            let client = recipe.0.login(database, "postgres", recipe.0.password()).await.unwrap();
            let query = format!("SELECT coalesce({condition}, false)");
            let holds: bool = client.query_one(&query, &[]).await.unwrap().get(0);
            if !holds {
                problems.push(format!("{}: afterwards not {condition}", case.name));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(memberships(&recipe).await, 0, "the administrator is a member of what it was a member of before");
}

/// Memberships of the administrator by which it could act as others, besides `app_rw`.
async fn memberships<R: Release>(recipe: &Postgres<R>) -> i64 {
    let query = "SELECT count(*) FROM pg_auth_members WHERE member = 'admin'::regrole AND NOT admin_option";
    recipe.0.count(query).await
}

async fn what_is_beyond_the_administrators_rights_is_named_and_the_rest_is_done<R: Release>() {
    let recipe = prepared::<R>().await;
    let driver = open(&recipe);
    let user = User::new("v-beyond");
    create(&recipe, &*driver, &user).await.unwrap();
    let session = recipe.0.login("app", &user.name, &user.password).await.unwrap();
    session.batch_execute("CREATE TABLE rest (id int)").await.unwrap();
    recipe
        .0
        .run("app", "GRANT SELECT ON secrets TO \"v-beyond\"; SET ROLE lender; GRANT SELECT ON notes TO \"v-beyond\"")
        .await;
    let error = delete(&*driver, &user.name).await.unwrap_err();
    let text = error.message();
    assert!(
        text.contains("privileges for table secrets") && !text.contains("notes") && !text.contains("rest"),
        "{text}"
    );
    session.batch_execute("SELECT 1").await.expect_err("the session was ended");
    recipe.login(&user.name, &user.password).await.err().expect("it cannot log in");
    recipe.0.run("app", "REVOKE SELECT ON secrets FROM \"v-beyond\"; SELECT * FROM rest").await;
    delete(&*driver, &user.name).await.unwrap();
}

async fn objects_outlive_a_session_that_may_stay<R: Release>() {
    let recipe = prepared::<R>().await;
    let driver = open(&recipe);
    let user = User::new("v-stays");
    create(&recipe, &*driver, &user).await.unwrap();
    let session = recipe.0.login("app", &user.name, &user.password).await.unwrap();
    session.batch_execute("CREATE TABLE stays (id int)").await.unwrap();
    driver.delete(DropUser { username: &user.name, statements: &[], end_sessions: false }).await.unwrap();
    session.batch_execute("SELECT 1").await.expect("the session goes on");
    assert_eq!(recipe.users(&user.name).await, 0);
    recipe.0.run("app", "SELECT * FROM stays").await;
}

on_each_release! {
    release_15: Fifteen, release_16: Sixteen, release_17: Seventeen, release_18: Eighteen;
    [
        whatever_a_user_holds_it_goes,
        what_is_beyond_the_administrators_rights_is_named_and_the_rest_is_done,
        objects_outlive_a_session_that_may_stay,
    ]
}
