-- For PgBouncer's auth_query where nobody may read pg_authid, as on managed servers: verifiers are kept in a table.
-- Run it as the account that makes users (`lessor_admin`), once in each database that PgBouncer serves.
CREATE ROLE pgbouncer LOGIN PASSWORD 'change-me';
CREATE SCHEMA pgbouncer;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
CREATE TABLE pgbouncer.users (name text PRIMARY KEY, verifier text NOT NULL);

-- Called by the creation statements of roles. Rows of users that are gone go with the next one.
CREATE FUNCTION pgbouncer.remember(name text, verifier text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM pgbouncer.users WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = users.name);
  INSERT INTO pgbouncer.users VALUES (remember.name, remember.verifier);
$$;
REVOKE ALL ON FUNCTION pgbouncer.remember(text, text) FROM PUBLIC;

CREATE FUNCTION pgbouncer.lookup(wanted text) RETURNS TABLE (name text, verifier text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT users.name, users.verifier FROM pgbouncer.users JOIN pg_roles ON rolname = users.name
  WHERE users.name = wanted AND rolcanlogin AND (rolvaliduntil IS NULL OR rolvaliduntil > now())
$$;
REVOKE ALL ON FUNCTION pgbouncer.lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.lookup(text) TO pgbouncer;
