SELECT object, state, reason, next_action, next_at FROM orchestry.explain('events') WHERE state <> 'past';
