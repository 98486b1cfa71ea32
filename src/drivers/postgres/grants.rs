//! Takes back what a role was granted by others than the administrator.
//!
//! DROP OWNED acts as the administrator: a grant that came by way of somebody's grant option, or from an owner whose rights
//! the administrator does not inherit, stays. Each is revoked in the name of who gave it, as far as the administrator may act
//! as that role or, for the time of the transaction, give itself the right to. What it may not revoke stays, and DROP ROLE
//! names it.

use std::collections::BTreeMap;

use tokio_postgres::SimpleQueryRow;

use super::identifier;
use super::transaction::alone;

/// A catalogue, its acl column, and how REVOKE names the object.
const OBJECTS: &[(&str, &str, &str)] = &[
    ("pg_class", "relacl", "CASE o.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || o.oid::regclass"),
    ("pg_namespace", "nspacl", "'SCHEMA ' || quote_ident(o.nspname)"),
    ("pg_proc", "proacl", "'ROUTINE ' || o.oid::regprocedure"),
    ("pg_type", "typacl", "'TYPE ' || o.oid::regtype"),
    ("pg_language", "lanacl", "'LANGUAGE ' || quote_ident(o.lanname)"),
    ("pg_largeobject_metadata", "lomacl", "'LARGE OBJECT ' || o.oid"),
    ("pg_foreign_data_wrapper", "fdwacl", "'FOREIGN DATA WRAPPER ' || quote_ident(o.fdwname)"),
    ("pg_foreign_server", "srvacl", "'FOREIGN SERVER ' || quote_ident(o.srvname)"),
    ("pg_database", "datacl", "'DATABASE ' || quote_ident(o.datname)"),
    ("pg_tablespace", "spcacl", "'TABLESPACE ' || quote_ident(o.spcname)"),
];

/// The release from which memberships have the options INHERIT and SET.
const OPTIONS: u32 = 160_000;

/// Names in grants are complete, whatever roles and settings say.
const NO_PATH: &str = "SET LOCAL search_path = ''";

/// A query for every grant to the role that the administrator may take back: grantor, `privilege ON object`, and, where the
/// administrator has to make itself a member of the grantor first, how to undo that.
pub(super) fn left(role: u32, server_version: u32) -> String {
    let grants = OBJECTS.iter().map(|(catalogue, acl, object)| {
        format!(
            "SELECT a.grantor, a.privilege_type || ' ON ' || {object} \
             FROM pg_catalog.{catalogue} o, aclexplode(o.{acl}) a WHERE a.grantee = {role}"
        )
    });
    let columns = format!(
        "SELECT a.grantor, a.privilege_type || ' (' || quote_ident(c.attname) || ') ON TABLE ' || c.attrelid::regclass \
         FROM pg_catalog.pg_attribute c, aclexplode(c.attacl) a WHERE a.grantee = {role}"
    );
    let grants = grants.chain([columns]).collect::<Vec<_>>().join(" UNION ALL ");
    // Before 16 CREATEROLE alone gives every membership but those of superusers.
    let (act, may_join) = if server_version >= OPTIONS {
        ("SET", "false")
    } else {
        ("MEMBER", "NOT g.rolsuper AND (SELECT rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user)")
    };
    format!(
        "BEGIN;\n{NO_PATH};\n\
         SELECT g.rolname, x.grant, CASE WHEN pg_has_role(g.oid, '{act}') THEN NULL \
             WHEN EXISTS (SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles u ON u.oid = m.member \
               WHERE m.roleid = g.oid AND m.grantor = m.member AND u.rolname = current_user) THEN 'SET OPTION FOR ' \
             ELSE '' END \
           FROM ({grants}) AS x (grantor, \"grant\") JOIN pg_catalog.pg_roles g ON g.oid = x.grantor \
           WHERE pg_has_role(g.oid, '{act}') OR pg_has_role(g.oid, 'MEMBER WITH ADMIN OPTION') OR {may_join};\n\
         COMMIT"
    )
}

/// What one role has granted.
#[derive(Default)]
struct Granted<'a> {
    /// `privilege ON object`.
    grants: Vec<&'a str>,
    /// What has to be undone of the administrator's membership.
    undo: Option<&'a str>,
}

/// The transaction that takes back what [`left`] has found; `None` when that is nothing.
pub(super) fn take_back(username: &str, server_version: u32, found: &[SimpleQueryRow]) -> Option<String> {
    let text = |row: &'_ SimpleQueryRow, at: usize| row.try_get(at).ok().flatten().map(str::to_owned);
    let rows: Vec<_> = found.iter().filter_map(|row| Some((text(row, 0)?, text(row, 1)?, text(row, 2)))).collect();
    let mut grantors = BTreeMap::<&str, Granted<'_>>::new();
    for (grantor, grant, undo) in &rows {
        let granted = grantors.entry(grantor).or_default();
        granted.grants.push(grant);
        granted.undo = undo.as_deref();
    }
    (!grantors.is_empty()).then(|| revocations(username, server_version, &grantors))
}

fn revocations(username: &str, server_version: u32, grantors: &BTreeMap<&str, Granted<'_>>) -> String {
    let user = identifier(username);
    let mut statements = vec![NO_PATH.to_owned()];
    for (grantor, Granted { grants, undo }) in grantors {
        let grantor = identifier(grantor);
        if undo.is_some() {
            let option = if server_version >= OPTIONS { " WITH SET TRUE" } else { "" };
            statements.push(format!("GRANT {grantor} TO CURRENT_USER{option}"));
        }
        statements.push(format!("SET LOCAL ROLE {grantor}"));
        statements.extend(grants.iter().map(|grant| format!("REVOKE {grant} FROM {user} CASCADE")));
        statements.push("RESET ROLE".to_owned());
        if let Some(undo) = undo {
            statements.push(format!("REVOKE {undo}{grantor} FROM CURRENT_USER"));
        }
    }
    // Two revocations that join the same grantor at once would be in each other's way.
    let locked: Vec<_> = grantors.keys().copied().chain([username]).collect();
    alone(&locked, &statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(undo: Option<&str>, server_version: u32) -> String {
        let granted = Granted { grants: vec!["SELECT ON TABLE public.notes", "USAGE ON SCHEMA lent"], undo };
        revocations("v-1", server_version, &BTreeMap::from([("len\"der", granted)]))
    }

    #[test]
    fn grants_are_revoked_in_the_name_of_who_gave_them() {
        let sql = statements(None, 180_000);
        let expected = "SET LOCAL ROLE \"len\"\"der\"\n;\nREVOKE SELECT ON TABLE public.notes FROM \"v-1\" CASCADE\n;\n\
                        REVOKE USAGE ON SCHEMA lent FROM \"v-1\" CASCADE\n;\nRESET ROLE\n;\nCOMMIT";
        assert!(sql.ends_with(expected) && !sql.contains("GRANT"), "{sql}");
    }

    #[test]
    fn a_membership_lasts_as_long_as_the_transaction() {
        for (undo, version, grant, revoke) in [
            (
                "",
                180_000,
                "GRANT \"len\"\"der\" TO CURRENT_USER WITH SET TRUE\n",
                "REVOKE \"len\"\"der\" FROM CURRENT_USER\n",
            ),
            (
                "SET OPTION FOR ",
                160_000,
                "CURRENT_USER WITH SET TRUE\n",
                "REVOKE SET OPTION FOR \"len\"\"der\" FROM CURRENT_USER\n",
            ),
            ("", 150_000, "GRANT \"len\"\"der\" TO CURRENT_USER\n", "REVOKE \"len\"\"der\" FROM CURRENT_USER\n"),
        ] {
            let sql = statements(Some(undo), version);
            let (granted, revoked) = (sql.find(grant), sql.find(revoke));
            assert!(granted.is_some() && granted < revoked, "{sql}");
        }
    }
}
