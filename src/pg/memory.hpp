// Memory contexts for C++: scopes, an owned context, and an allocator for containers.
#pragma once

#include <boost/container/flat_map.hpp>
#include <boost/container/vector.hpp>

#include <memory_resource>

#include "pg/error.hpp"

namespace orchestry::pg {

/// Makes `context` current for a scope.
class ContextScope {
  public:
    explicit ContextScope(MemoryContext context) noexcept
        : previous_(MemoryContextSwitchTo(context)) {}
    ~ContextScope() { MemoryContextSwitchTo(previous_); }
    ContextScope(const ContextScope&) = delete;
    ContextScope& operator=(const ContextScope&) = delete;

  private:
    MemoryContext previous_;
};

/// A context of our own, gone with the object. Declare it before what lives in it.
class OwnedContext {
  public:
    /// `name` must be a literal: the server keeps the pointer.
    explicit OwnedContext(const char* name, MemoryContext parent = CurrentMemoryContext);
    ~OwnedContext() { MemoryContextDelete(context_); }
    OwnedContext(const OwnedContext&) = delete;
    OwnedContext& operator=(const OwnedContext&) = delete;

    operator MemoryContext() const noexcept { return context_; }
    void reset() noexcept { MemoryContextReset(context_); }

  private:
    MemoryContext context_;
};

/// Allocator over one memory context. It throws std::bad_alloc instead of raising, so containers
/// need no guard; and should a destructor ever be skipped, the context still frees the memory.
template <typename T>
class ContextAllocator {
  public:
    using value_type = T;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;
    using propagate_on_container_copy_assignment = std::false_type;
    using is_always_equal = std::false_type;

    explicit ContextAllocator(MemoryContext context) noexcept : context_(context) {}
    template <typename U>
    ContextAllocator(const ContextAllocator<U>& other) noexcept : context_(other.context()) {}

    [[nodiscard]] T* allocate(std::size_t n) {
        static_assert(alignof(T) <= MAXIMUM_ALIGNOF);
        if (n > MaxAllocHugeSize / sizeof(T))
            throw std::bad_array_new_length();
        void* memory = MemoryContextAllocExtended(context_, n * sizeof(T),
                                                  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
        if (!memory)
            throw std::bad_alloc();
        return static_cast<T*>(memory);
    }
    void deallocate(T* memory, std::size_t) noexcept { pfree(memory); }

    MemoryContext context() const noexcept { return context_; }
    friend bool operator==(const ContextAllocator& a, const ContextAllocator& b) noexcept {
        return a.context_ == b.context_;
    }

  private:
    MemoryContext context_;
};

/// The same for the containers of src/base, which know no memory context: std::pmr.
class ContextResource : public std::pmr::memory_resource {
  public:
    explicit ContextResource(MemoryContext context) noexcept : context_(context) {}

  private:
    void* do_allocate(std::size_t bytes, std::size_t) override {
        return ContextAllocator<std::byte>(context_).allocate(bytes); // aligned for any of ours
    }
    void do_deallocate(void* memory, std::size_t, std::size_t) override { pfree(memory); }
    bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
        return this == &other;
    }

    MemoryContext context_;
};

/// Containers that live in a memory context: `Vector<Oid> oids{ContextAllocator<Oid>(context)};`
template <typename T>
using Vector = boost::container::vector<T, ContextAllocator<T>>;
template <typename K, typename V>
using FlatMap = boost::container::flat_map<K, V, std::less<K>, ContextAllocator<std::pair<K, V>>>;

} // namespace orchestry::pg
