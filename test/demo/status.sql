SELECT job_id, kind, target, owner, state, schedule, date_trunc('second', next_run_at) AS next_run_at, last_state
FROM orchestry.jobs;
SELECT run_id, target, state, trigger, steps, date_trunc('milliseconds', finished_at - started_at) AS took, message
FROM orchestry.runs ORDER BY run_id;
SELECT run_id, seq, action, object, attempts, lock_wait_ms FROM orchestry.run_steps ORDER BY run_id DESC, seq LIMIT 5;
\pset tuples_only on
\o |tail -n 8
SELECT * FROM orchestry.timeline('events');
\o
\pset tuples_only off
SELECT * FROM orchestry.capabilities();
