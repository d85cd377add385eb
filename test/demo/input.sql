-- The columns as the files have them.
CREATE UNLOGGED TABLE events_input (at timestamptz, source text, app text, event_type text, severity text,
                                    message text, details jsonb);
CREATE UNLOGGED TABLE metrics_input (source text, app text, metric_type text, unit text, at timestamptz,
                                     value float8);
