-- Properties of the bounds that a policy makes, over zones, steps and client settings: no hole, no overlap, local
-- midnights, every instant routed to the partition that says so, and the same bounds whoever asks.
SET client_min_messages = warning;
SELECT * FROM no_plan();

CREATE TABLE cases (zone text, step interval, at timestamptz, around interval);
INSERT INTO cases
SELECT zone, step, at, around
FROM (VALUES ('America/New_York', '2026-03-08 12:00Z'::timestamptz), ('America/New_York', '2026-11-01 12:00Z'),
             ('Asia/Kolkata', '2026-07-01 00:00Z'), ('Australia/Lord_Howe', '2026-04-05 00:00Z'),
             ('Africa/Cairo', '2026-04-24 00:00Z'), ('Pacific/Chatham', '2026-09-27 00:00Z'),
             ('America/Sao_Paulo', '2018-11-04 12:00Z'), ('Pacific/Apia', '2011-12-30 12:00Z')) z (zone, at),
     (VALUES (interval '1 hour', interval '12 hours'), ('6 hours', '2 days'), ('1 day', '4 days'), ('7 days', '35 days'),
             ('1 month', '5 months'), ('3 months', '1 year'), ('1 year', '5 years')) s (step, around);

CREATE FUNCTION bounds(target regclass) RETURNS TABLE (partition regclass, lower_at timestamptz, upper_at timestamptz)
LANGUAGE sql AS $$ SELECT p.partition, p.lower_at, p.upper_at FROM orchestry.partitions p WHERE p.parent = target $$;

-- Makes the set of one case under the session's settings and answers its bounds as instants.
CREATE FUNCTION made(target text, c cases) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('orchestry.now', to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), false);
    EXECUTE format('CREATE TABLE %I (at timestamptz NOT NULL) PARTITION BY RANGE (at)', target);
    PERFORM orchestry.add_partition_policy(target::regclass, every => c.step, ahead => c.around, past => c.around, time_zone => c.zone);
    RETURN (SELECT string_agg(extract(epoch FROM lower_at) || '-' || extract(epoch FROM upper_at), ' ' ORDER BY lower_at) FROM bounds(target::regclass));
END $$;

CREATE FUNCTION check_case(c cases) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    label text := format('%s every %s around %s', c.zone, c.step, c.at AT TIME ZONE 'UTC');
    first_seen text;
    client record;
BEGIN
    FOR client IN SELECT * FROM unnest(ARRAY['UTC', 'Asia/Tokyo', 'America/Los_Angeles'], ARRAY['ISO, YMD', 'German', 'SQL, DMY']) u (zone, style) LOOP
        PERFORM set_config('TimeZone', client.zone, true), set_config('DateStyle', client.style, true);
        IF first_seen IS NULL THEN
            first_seen := made('t', c);
        ELSE
            RETURN NEXT is(made('u', c), first_seen, label || ': the same bounds for a client in ' || client.zone);
            DROP TABLE u;
        END IF;
    END LOOP;
    PERFORM set_config('TimeZone', c.zone, true); -- days and months of the checks themselves are the zone's
    RETURN NEXT is((SELECT count(*) FROM (SELECT lower_at, lag(upper_at) OVER (ORDER BY lower_at) AS before FROM bounds('t')) b
                    WHERE before <> lower_at), 0::bigint, label || ': no hole, no overlap');
    RETURN NEXT is((SELECT count(*) FROM bounds('t') WHERE lower_at >= upper_at), 0::bigint, label || ': no empty partition');
    RETURN NEXT ok((SELECT min(lower_at) <= c.at - c.around AND max(upper_at) > c.at + c.around FROM bounds('t')), label || ': all that was asked for');
    IF c.step >= interval '1 day' THEN
        RETURN NEXT is((SELECT count(*) FROM bounds('t') WHERE lower_at <> date_trunc('day', lower_at AT TIME ZONE c.zone) AT TIME ZONE c.zone),
                       0::bigint, label || ': local midnights');
    ELSE
        RETURN NEXT is((SELECT count(*) FROM bounds('t') WHERE upper_at - lower_at <> c.step), 0::bigint, label || ': all of one length');
    END IF;
    RETURN NEXT is((SELECT count(*) FROM bounds('t') b WHERE orchestry.partition_of('t', b.lower_at) <> b.partition
                    OR orchestry.partition_of('t', b.upper_at - interval '1 microsecond') <> b.partition), 0::bigint,
                   label || ': the first and the last instant are in');
    INSERT INTO t SELECT lower_at FROM bounds('t');
    RETURN NEXT is((SELECT count(*) FROM t), (SELECT count(*) FROM bounds('t')), label || ': rows are taken');
    DROP TABLE t;
END $$;

SELECT check_case(c) FROM cases c ORDER BY zone, at, step;
SELECT * FROM finish();
