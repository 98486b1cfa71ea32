DO $lessor$
DECLARE
  kind CONSTANT text := %kind%;
  target CONSTANT text := %schema%;
  member CONSTANT text := '{{name}}';
  on_schema text[];
  on_tables text[];
  on_sequences text[];
  path text := current_setting('search_path');
  suffix text;
  grp text;
  grp_oid oid;
  space oid;
  space_owner oid;
  missing text[];
  step text;
  locked boolean := false;
BEGIN
  -- Nothing that a user has put into a schema may stand for a function of the server.
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
  on_schema := string_to_array(%on_schema%, ',');
  on_tables := string_to_array(%on_tables%, ',');
  on_sequences := string_to_array(%on_sequences%, ',');
  suffix := current_database() || '.' || target;
  IF octet_length(suffix) > 46 OR suffix <> replace(current_database(), '.', '') || '.' || replace(target, '.', '') THEN
    suffix := left(encode(sha256(convert_to(format('%I.%I', current_database(), target), 'UTF8')), 'hex'), 32);
  END IF;
  grp := format('lessor_%s_%s', kind, suffix);

  FOR turn IN 1..8 LOOP
    grp_oid := (SELECT oid FROM pg_roles WHERE rolname = grp);
    SELECT n.oid, n.nspowner INTO space, space_owner FROM pg_namespace n WHERE n.nspname = target;
    IF space IS NULL AND kind <> 'owner' THEN
      RAISE EXCEPTION 'preset: there is no schema % in the database %', quote_ident(target), quote_ident(current_database());
    ELSIF grp_oid IS NULL THEN
      missing := ARRAY[format('CREATE ROLE %I NOLOGIN', grp)];
    ELSIF kind = 'owner' AND NOT pg_has_role(grp_oid, 'USAGE') THEN
      missing := ARRAY[format('GRANT %I TO CURRENT_USER', grp)
        || CASE WHEN current_setting('server_version_num')::int >= 160000 THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END];
    ELSIF space IS NULL THEN
      missing := ARRAY[format('CREATE SCHEMA %I AUTHORIZATION %I', target, grp)];
    ELSE
      missing := ARRAY(
        SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), grp)
          WHERE NOT has_database_privilege(grp_oid, current_database(), 'CONNECT')
        UNION ALL
        SELECT format('GRANT %s ON SCHEMA %I TO %I', string_agg(p, ', '), target, grp)
          FROM unnest(on_schema) p WHERE NOT has_schema_privilege(grp_oid, space, p) HAVING count(*) > 0
        UNION ALL
        -- Only what is missing and may be granted: a table of somebody else's is left out.
        SELECT format('GRANT %s ON TABLE %s TO %I', string_agg(p, ', '), c.oid::regclass, grp)
          FROM pg_class c, unnest(on_tables) p
          WHERE c.relnamespace = space AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            AND NOT has_table_privilege(grp_oid, c.oid, p) AND has_table_privilege(c.oid, p || ' WITH GRANT OPTION')
          GROUP BY c.oid
        UNION ALL
        SELECT format('GRANT %s ON SEQUENCE %s TO %I', string_agg(p, ', '), c.oid::regclass, grp)
          FROM pg_class c, unnest(on_sequences) p
          WHERE c.relnamespace = space AND c.relkind = 'S'
            AND NOT has_sequence_privilege(grp_oid, c.oid, p) AND has_sequence_privilege(c.oid, p || ' WITH GRANT OPTION')
          GROUP BY c.oid
        UNION ALL
        -- What the administrator, the schema's owner and the users of owner-of-schema make later.
        SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT %s ON %s TO %I', r.rolname, target,
                      array_to_string(o.wanted, ', '), o.objects, grp)
          FROM pg_roles r, (VALUES ('TABLES', 'r', on_tables), ('SEQUENCES', 'S', on_sequences)) o (objects, type, wanted)
          WHERE (r.rolname = current_user OR r.oid = space_owner OR r.rolname = format('lessor_owner_%s', suffix))
            AND r.oid <> grp_oid AND r.rolname <> 'pg_database_owner'
            AND pg_has_role(r.oid, 'USAGE') AND has_schema_privilege(r.oid, space, 'CREATE')
            AND NOT o.wanted <@ ARRAY(
              SELECT a.privilege_type FROM pg_default_acl d, aclexplode(d.defaclacl) a
                WHERE d.defaclrole = r.oid AND d.defaclnamespace = space AND d.defaclobjtype::text = o.type AND a.grantee = grp_oid));
      step := (SELECT string_agg(p, ', ') FROM unnest(on_schema) p
        WHERE NOT has_schema_privilege(grp_oid, space, p) AND NOT has_schema_privilege(space, p || ' WITH GRANT OPTION'));
      IF step IS NOT NULL THEN
        RAISE EXCEPTION 'preset: % may not grant % on schema %: let its owner run GRANT % ON SCHEMA % TO % WITH GRANT OPTION',
          current_user, step, quote_ident(target), step, quote_ident(target), quote_ident(current_user);
      END IF;
    END IF;
    EXIT WHEN cardinality(missing) = 0;
    IF NOT locked THEN
      -- One for all presets of a schema, since they change the same rows. Whoever holds it may be doing our work: look again.
      PERFORM pg_advisory_xact_lock(hashtextextended('lessor preset ' || suffix, 0));
      locked := true;
      CONTINUE;
    END IF;
    FOREACH step IN ARRAY missing LOOP
      EXECUTE step;
    END LOOP;
  END LOOP;

  IF locked AND kind <> 'owner'
    AND EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = space AND c.relkind IN ('r', 'p'))
    AND NOT EXISTS (SELECT FROM pg_class c
      WHERE c.relnamespace = space AND c.relkind IN ('r', 'p') AND has_table_privilege(grp_oid, c.oid, 'SELECT')) THEN
    RAISE EXCEPTION 'preset: % may not grant SELECT on any table of schema %: make it a member of the tables'' owner',
      current_user, quote_ident(target);
  END IF;

  EXECUTE format('GRANT %I TO %I', grp, member);
  IF kind = 'owner' THEN
    -- So that what one user makes is not lost, and not a stranger's, when the next one comes.
    EXECUTE format('ALTER ROLE %I SET role TO %L', member, grp);
  END IF;
  PERFORM set_config('search_path', path, true);
END
$lessor$
