#include "metrics/summary_state.hpp"

#include "metrics/aggregate.hpp"

namespace orchestry::metrics {

namespace {

/// Decoded summaries live on the heap for the length of a call.
std::pmr::memory_resource* heap() { return std::pmr::new_delete_resource(); }

/// In the value itself, unless it is compressed or stored elsewhere.
std::string_view bytes_of(Datum value) {
    auto* bytes = reinterpret_cast<bytea*>(DatumGetPointer(value));
    if (VARATT_IS_COMPRESSED(bytes) || VARATT_IS_EXTERNAL(bytes))
        bytes = pg::call<pg_detoast_datum>(bytes);
    return {VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)};
}

int digit_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

} // namespace

SummaryState* new_summary_state(FunctionCallInfo fcinfo) {
    const MemoryContext context = pg::call<aggregate_context>(fcinfo);
    void* const memory =
        pg::call<MemoryContextAlloc>(context, static_cast<Size>(sizeof(SummaryState)));
    return new (memory) SummaryState(context);
}

Datum to_datum(const base::Summary& summary) {
    const std::string bytes = summary.encode();
    const Size size = bytes.size() + VARHDRSZ;
    auto* const value = static_cast<bytea*>(pg::call<palloc>(size));
    SET_VARSIZE(value, size);
    std::memcpy(VARDATA(value), bytes.data(), bytes.size());
    return PointerGetDatum(value);
}

base::Summary from_datum(Datum value) { return base::Summary::decode(bytes_of(value), heap()); }

void SummaryState::merge(Datum value) { summary_.merge_encoded(bytes_of(value)); }

std::string summary_text(const base::Summary& summary) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text = "\\x";
    for (const char c : summary.encode()) {
        const auto byte = static_cast<unsigned char>(c);
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

base::Summary summary_of_text(const std::string& text) {
    const auto refuse = [](const std::string& detail) {
        return base::Error(base::errc::invalid_text_representation,
                           "invalid input syntax for type orchestry.summary")
            .detail(detail)
            .hint("Summaries are made by orchestry.summarize(value) and orchestry.from_histogram("
                  "histogram).");
    };
    if (!text.starts_with("\\x") || text.size() % 2 != 0)
        throw refuse("It is not \\x and pairs of hexadecimal digits.");
    std::string bytes;
    for (std::size_t i = 2; i < text.size(); i += 2) {
        const int high = digit_of(text[i]);
        const int low = digit_of(text[i + 1]);
        if (high < 0 || low < 0)
            throw refuse("It is not \\x and pairs of hexadecimal digits.");
        bytes += static_cast<char>(high * 16 + low);
    }
    try {
        return base::Summary::decode(bytes, heap());
    } catch (const base::Error& error) {
        throw refuse(error.detail());
    }
}

} // namespace orchestry::metrics
