-- The default store of a Temporal server: current state, read and written by key.

CREATE TABLE @schema@.executions (
    shard_id integer NOT NULL,
    namespace_id varchar(64) NOT NULL,
    workflow_id varchar(255) NOT NULL,
    run_id varchar(64) NOT NULL,
    next_event_id bigint NOT NULL,
    last_write_version bigint NOT NULL,
    data bytea NOT NULL,
    data_encoding varchar(16) NOT NULL,
    state bytea NOT NULL,
    state_encoding varchar(16) NOT NULL,
    db_record_version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id)
);
COMMENT ON TABLE @schema@.executions IS 'The state of each run of a workflow.';

CREATE TABLE @schema@.history_tree (
    shard_id integer NOT NULL,
    tree_id varchar(64) NOT NULL,
    branch_id varchar(64) NOT NULL,
    data bytea NOT NULL,
    data_encoding varchar(16) NOT NULL,
    PRIMARY KEY (shard_id, tree_id, branch_id)
);
COMMENT ON TABLE @schema@.history_tree IS 'The branches of workflow histories.';

CREATE TABLE @schema@.current_executions (
    shard_id integer NOT NULL,
    namespace_id varchar(64) NOT NULL,
    workflow_id varchar(255) NOT NULL,
    run_id varchar(64) NOT NULL,
    create_request_id varchar(64) NOT NULL,
    state integer NOT NULL,
    status integer NOT NULL,
    start_version bigint NOT NULL,
    last_write_version bigint NOT NULL,
    PRIMARY KEY (shard_id, namespace_id, workflow_id)
);
COMMENT ON TABLE @schema@.current_executions IS 'The current run of each workflow.';
COMMENT ON COLUMN @schema@.current_executions.status IS '1 running, 2 completed, 3 failed, 4 canceled, 5 terminated, 6 continued as new, 7 timed out, 8 paused';

CREATE TABLE @schema@.tasks (
    range_hash bigint NOT NULL,
    task_queue_id bytea NOT NULL,
    task_id bigint NOT NULL,
    data bytea NOT NULL,
    data_encoding varchar(16) NOT NULL,
    PRIMARY KEY (range_hash, task_queue_id, task_id)
);
COMMENT ON TABLE @schema@.tasks IS 'The items of task queues.';

CREATE TABLE @schema@.activity_info_maps (
    shard_id integer NOT NULL,
    namespace_id varchar(64) NOT NULL,
    workflow_id varchar(255) NOT NULL,
    run_id varchar(64) NOT NULL,
    schedule_id bigint NOT NULL,
    data bytea NOT NULL,
    data_encoding varchar(16) NOT NULL,
    last_heartbeat_updated_time timestamp NOT NULL,
    PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, schedule_id)
);
COMMENT ON TABLE @schema@.activity_info_maps IS 'The activities of each run.';
COMMENT ON COLUMN @schema@.activity_info_maps.last_heartbeat_updated_time IS 'In UTC';

CREATE TABLE @schema@.timer_info_maps (
    shard_id integer NOT NULL,
    namespace_id varchar(64) NOT NULL,
    workflow_id varchar(255) NOT NULL,
    run_id varchar(64) NOT NULL,
    timer_id varchar(255) NOT NULL,
    data bytea NOT NULL,
    data_encoding varchar(16) NOT NULL,
    PRIMARY KEY (shard_id, namespace_id, workflow_id, run_id, timer_id)
);
COMMENT ON TABLE @schema@.timer_info_maps IS 'The timers of each run.';

CREATE TABLE @schema@.schema_migrations (
    version varchar(255) PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now(),
    checksum varchar(64) NOT NULL,
    description text
);
COMMENT ON TABLE @schema@.schema_migrations IS 'The migrations that were applied.';
