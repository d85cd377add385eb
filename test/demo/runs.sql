SELECT run_id, kind, target, state, trigger, steps, date_trunc('milliseconds', finished_at - started_at) AS took FROM orchestry.runs ORDER BY run_id;
SELECT action, object, reason, state FROM orchestry.run_steps WHERE action = 'create' ORDER BY run_id, seq LIMIT 4;
