// A disk that is full, for tests: loaded into a server with LD_PRELOAD. While the file that ORCHESTRY_FULL_DISK names
// exists, no file below the directory whose name is its content ("base", "pg_wal") can grow: whatever is written beyond
// a file's end fails with ENOSPC, and the rest goes on as on a disk that is just full.

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

/// "/base/" and the like while the disk is full, else nothing.
std::string full_directory() {
    const char* const flag = std::getenv("ORCHESTRY_FULL_DISK");
    const int fd = flag ? open(flag, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return {};
    char name[32] = {};
    const ssize_t length = read(fd, name, sizeof(name) - 1);
    close(fd);
    return length > 0 ? "/" + std::string(name, static_cast<std::size_t>(length)) + "/" : "";
}

/// Whether a file may not become `end` bytes long.
bool is_refused(int fd, off_t end) {
    const int saved = errno;
    const std::string directory = full_directory();
    bool refused = false;
    if (!directory.empty()) {
        char path[4096] = {};
        struct stat status = {};
        const std::string link = "/proc/self/fd/" + std::to_string(fd);
        refused = readlink(link.c_str(), path, sizeof(path) - 1) > 0 &&
                  std::strstr(path, directory.c_str()) && fstat(fd, &status) == 0 &&
                  end > status.st_size;
    }
    errno = refused ? ENOSPC : saved;
    return refused;
}

template <typename F>
F* next(const char* name) {
    return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

off_t bytes_of(const iovec* parts, int count) {
    off_t bytes = 0;
    for (int i = 0; i < count; ++i)
        bytes += static_cast<off_t>(parts[i].iov_len);
    return bytes;
}

} // namespace

extern "C" {

ssize_t pwrite64(int fd, const void* data, size_t length, off64_t offset) {
    static auto* const real = next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
    return is_refused(fd, offset + static_cast<off_t>(length)) ? -1 : real(fd, data, length, offset);
}

ssize_t pwritev64(int fd, const iovec* parts, int count, off64_t offset) {
    static auto* const real = next<ssize_t(int, const iovec*, int, off64_t)>("pwritev64");
    return is_refused(fd, offset + bytes_of(parts, count)) ? -1 : real(fd, parts, count, offset);
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    static auto* const real = next<int(int, off64_t, off64_t)>("posix_fallocate64");
    return is_refused(fd, offset + length) ? ENOSPC : real(fd, offset, length);
}

ssize_t pwrite(int fd, const void* data, size_t length, off_t offset) {
    return pwrite64(fd, data, length, offset);
}
ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
    return pwritev64(fd, parts, count, offset);
}
int posix_fallocate(int fd, off_t offset, off_t length) {
    return posix_fallocate64(fd, offset, length);
}
}
