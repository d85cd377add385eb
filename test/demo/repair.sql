SELECT orchestry.start_job(job_id) AS run_id FROM orchestry.jobs WHERE target = 'events'::regclass;
