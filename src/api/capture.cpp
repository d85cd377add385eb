// SQL entry point of change capture.
#include "capture/capture.hpp"
#include "pg/entry.hpp"

namespace orchestry::api {

ORCHESTRY_FUNCTION(orchestry_capture) {
    if (!CALLED_AS_TRIGGER(fcinfo) ||
        !TRIGGER_FIRED_AFTER(reinterpret_cast<TriggerData*>(fcinfo->context)->tg_event))
        throw base::Error(base::errc::feature_not_supported,
                          "_capture() must be called as an AFTER trigger");
    capture::note_change(*reinterpret_cast<const TriggerData*>(fcinfo->context));
    return PointerGetDatum(nullptr);
}

} // namespace orchestry::api
