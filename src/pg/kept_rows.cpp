#include "pg/kept_rows.hpp"

namespace orchestry::pg {

namespace {

SPIPlanPtr prepared(const std::string& query) {
    const char* const sql = query.c_str();
    const SPIPlanPtr plan =
        protect([&] { return SPI_prepare_cursor(sql, 0, nullptr, CURSOR_OPT_PARALLEL_OK); });
    if (!plan)
        throw base::Error(base::errc::internal,
                          std::string("SPI_prepare failed: ") + SPI_result_code_string(SPI_result));
    return plan;
}

} // namespace

KeptRows::KeptRows(Spi&, const char* name, const std::string& query, Seeing seeing) {
    const SPIPlanPtr plan = prepared(query);
    Tuplestorestate* rows = nullptr;
    // All memory is that of the SPI connection.
    const int result = protect([&] {
        rows = tuplestore_begin_heap(false, false, work_mem);
        DestReceiver* const receiver = CreateDestReceiver(DestTuplestore);
        SetTuplestoreDestReceiverParams(receiver, rows, CurrentMemoryContext, true, nullptr,
                                        nullptr);
        SPIExecuteOptions options{};
        options.dest = receiver;
        options.read_only = seeing == Seeing::active_snapshot;
        const int code = SPI_execute_plan_extended(plan, &options);
        if (code < 0)
            return code;
        const auto* const source =
            static_cast<const CachedPlanSource*>(linitial(SPI_plan_get_plan_sources(plan)));
        auto* const relation =
            static_cast<EphemeralNamedRelation>(palloc0(sizeof(EphemeralNamedRelationData)));
        relation->md.name = const_cast<char*>(name);
        relation->md.reliddesc = InvalidOid;
        relation->md.tupdesc = CreateTupleDescCopy(source->resultDesc);
        relation->md.enrtype = ENR_NAMED_TUPLESTORE;
        relation->md.enrtuples = static_cast<double>(tuplestore_tuple_count(rows));
        relation->reldata = rows;
        return SPI_register_relation(relation);
    });
    rows_ = rows;
    if (result < 0)
        throw base::Error(base::errc::internal,
                          std::string("SPI failed: ") + SPI_result_code_string(result));
}

KeptRows::~KeptRows() {
    // After an error the transaction's abort closes the files.
    if (!unwinding())
        quiet([this] { tuplestore_end(rows_); });
}

} // namespace orchestry::pg
