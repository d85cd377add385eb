-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION orchestry_ext" to load this file. \quit

-- Everything is created here by plain CREATE in a schema that must not exist yet, so nothing that somebody
-- made beforehand can be taken for ours. search_path holds for the rest of the script.
CREATE SCHEMA orchestry;
COMMENT ON SCHEMA orchestry IS 'orchestry_ext: partitions, retention, event compression, rollups and view refresh for tables that only grow';
REVOKE ALL ON SCHEMA orchestry FROM PUBLIC;
GRANT USAGE ON SCHEMA orchestry TO PUBLIC;

SET LOCAL search_path = pg_catalog, pg_temp;

-- The whole text is read before the first statement is run, so it is too late to say it here.
DO $$
BEGIN
    IF current_setting('standard_conforming_strings') = 'off' THEN
        RAISE EXCEPTION 'the extension cannot be created while standard_conforming_strings is off' USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'Backslashes in its text would be taken for something else.',
            HINT = 'Run SET standard_conforming_strings = on; and then CREATE EXTENSION again.';
    END IF;
END $$;
