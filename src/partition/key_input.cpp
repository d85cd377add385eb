#include "partition/key_input.hpp"

namespace orchestry::partition {

namespace {

/// A time as somebody gave it: an instant, or what a wall clock shows.
struct GivenTime {
    bool is_local = false;
    std::int64_t us = 0;
};

std::optional<GivenTime> read_time(Oid type, Datum value) {
    switch (type) {
    case TIMESTAMPTZOID:
        return GivenTime{false, DatumGetTimestampTz(value)};
    case TIMESTAMPOID:
        return GivenTime{true, DatumGetTimestamp(value)};
    case DATEOID:
        return GivenTime{true, DatumGetTimestamp(pg::protect(
                                   [&] { return DirectFunctionCall1(date_timestamp, value); }))};
    default:
        return std::nullopt;
    }
}

std::int64_t position_at(KeyKind kind, const base::Zone& zone, const GivenTime& time) {
    if (!base::is_finite(base::Instant{time.us}))
        return time.us; // the infinities are the same everywhere
    if (time.is_local == is_wall_clock(kind))
        return position_of(kind, base::Instant{time.us});
    return position_of(kind, time.is_local
                                 ? base::to_instant(zone, base::LocalTime{time.us})
                                 : base::Instant{base::to_local(zone, base::Instant{time.us}).us});
}

std::optional<std::int64_t> read_integer(Oid type, Datum value) {
    switch (type) {
    case INT2OID:
        return DatumGetInt16(value);
    case INT4OID:
        return DatumGetInt32(value);
    case INT8OID:
        return DatumGetInt64(value);
    default:
        return std::nullopt;
    }
}

bool is_number(KeyKind kind) {
    return kind == KeyKind::integer || kind == KeyKind::epoch_s || kind == KeyKind::epoch_ms ||
           kind == KeyKind::epoch_us || kind == KeyKind::epoch_ns;
}

Datum from_text(Oid type, Datum literal) {
    return pg::protect([&] {
        Oid input = InvalidOid;
        Oid parameter = InvalidOid;
        getTypeInputInfo(type, &input, &parameter);
        return OidInputFunctionCall(input, TextDatumGetCString(literal), parameter, -1);
    });
}

} // namespace

KeyValue read_key(KeyKind kind, const KeyColumn& key, const base::Zone& zone, Oid type,
                  Datum value) {
    const Oid base_type = pg::call<getBaseType>(type);
    if (base_type == TEXTOID)
        return catalog::decode_key(kind, key.type, from_text(key.type, value));
    if (base_type == key.type)
        return catalog::decode_key(kind, key.type, value);
    if (const auto integer = read_integer(base_type, value); integer && is_number(kind))
        return {*integer, {}};
    if (const auto time = read_time(base_type, value); time && is_time(kind))
        return {position_at(kind, zone, *time), {}};
    const char* const given = pg::call<format_type_be>(type);
    const char* const wanted = pg::call<format_type_be>(key.type);
    throw base::Error("42804", std::string("a key of type ") + given + " does not fit column \"" +
                                   key.name + "\"")
        .detail(std::string("The column is of type ") + wanted + ".")
        .hint("Give a value of that type.");
}

} // namespace orchestry::partition
