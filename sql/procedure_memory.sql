-- A procedure that commits many times keeps nothing of what was between: each job of a run would leave a hundred kilobytes.
SET client_min_messages = warning;
SELECT setval('orchestry.job_job_id_seq', 33201, false);
CREATE SCHEMA memory;
CREATE TABLE memory.log (nth serial, bytes bigint);
CREATE TABLE memory.t (at timestamptz, v int) PARTITION BY RANGE (at);
CREATE FUNCTION memory.measure() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO memory.log (bytes) SELECT sum(used_bytes) FROM pg_backend_memory_contexts WHERE name IN ('SPI Proc', 'orchestry procedure', 'PortalContext');
END $$;
SELECT orchestry.add_partition_policy('memory.t', every => '1 day', ahead => '2 days');
SELECT orchestry.alter_policy(33201, '{"ahead": "60 days"}');
CREATE EVENT TRIGGER regress_measure ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION memory.measure();
CALL orchestry.run('memory.t');
DROP EVENT TRIGGER regress_measure;
SELECT count(*) > 50 AS many, max(bytes) FILTER (WHERE nth > 50) - max(bytes) FILTER (WHERE nth <= 5) < 1000000 AS keeps_nothing FROM memory.log;
SELECT orchestry.remove_policy(33201);
DROP SCHEMA memory CASCADE;
