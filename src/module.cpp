// Loading the library: what is called once, in order.
#include "api/events_task.hpp"
#include "api/matview_task.hpp"
#include "api/migrate_task.hpp"
#include "api/partition_task.hpp"
#include "api/retention_task.hpp"
#include "api/rollup_task.hpp"
#include "capture/capture.hpp"
#include "capture/ddl.hpp"
#include "catalog/look.hpp"
#include "catalog/settings.hpp"
#include "jobs/processes.hpp"
#include "pg/entry.hpp"
#include "pg/fault.hpp"
#include "retention/guard.hpp"

extern "C" {
#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "orchestry_ext", .version = ORCHESTRY_VERSION);
#else
PG_MODULE_MAGIC;
#endif

PGDLLEXPORT void _PG_init(void);
}

void _PG_init(void) {
    orchestry::pg::enter("_PG_init", [] {
        if (IsBinaryUpgrade) // pg_upgrade's servers start workers; none of ours may run there
            return;
        orchestry::pg::define_fault_points();
        orchestry::catalog::settings::define();
        orchestry::jobs::register_task(orchestry::api::partition_task());
        orchestry::jobs::register_task(orchestry::api::retention_task());
        orchestry::jobs::register_task(orchestry::api::events_task());
        orchestry::jobs::register_task(orchestry::api::rollup_task());
        orchestry::jobs::register_task(orchestry::api::backfill_task());
        orchestry::jobs::register_task(orchestry::api::index_task());
        orchestry::jobs::register_task(orchestry::api::matview_task());
        orchestry::capture::install_capture();
        orchestry::capture::install_ddl_hooks();
        orchestry::retention::install_guard();
        if (process_shared_preload_libraries_in_progress) {
            orchestry::catalog::reserve_looks();
            orchestry::jobs::register_launcher();
        }
    });
}
