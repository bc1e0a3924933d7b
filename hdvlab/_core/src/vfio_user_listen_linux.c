/* The socket that a VM connects to. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vfio_user.h"

static HRESULT hresult_of(int error) {
    switch (error) {
    case EADDRINUSE: return HRESULT_FROM_WIN32(ERROR_ALREADY_EXISTS);
    case EACCES:
    case EPERM:
    case EROFS: return E_ACCESSDENIED;
    case ENOENT:
    case ENOTDIR: return HRESULT_FROM_WIN32(ERROR_NOT_FOUND);
    case EMFILE:
    case ENFILE: return HRESULT_FROM_WIN32(ERROR_NOT_ENOUGH_QUOTA);
    case ENOSPC:
    case EDQUOT: return HRESULT_FROM_WIN32(ERROR_DISK_FULL);
    default: return E_OUTOFMEMORY;
    }
}

/* A socket at the path that answers nobody is left over from somebody who died. */
static int is_left_over(const struct sockaddr_un *address) {
    struct stat file;
    if (lstat(address->sun_path, &file) || !S_ISSOCK(file.st_mode))
        return 0;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int refused = probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof *address) &&
                  errno == ECONNREFUSED;
    if (probe >= 0)
        close(probe);
    return refused;
}

HRESULT vfio_user_listen_at(const char *path, int *listener) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof address.sun_path)
        return E_INVALIDARG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = fd < 0 ? errno : 0;
    if (fd >= 0 && fchmod(fd, 0600)) /* what the name is made with */
        error = errno;
    if (!error && bind(fd, (struct sockaddr *)&address, sizeof address)) {
        error = errno;
        if (error == EADDRINUSE && is_left_over(&address) && !unlink(path))
            error = bind(fd, (struct sockaddr *)&address, sizeof address) ? errno : 0;
    }
    if (!error && listen(fd, 1))
        error = errno;
    if (error) {
        if (fd >= 0)
            close(fd);
        return hresult_of(error);
    }
    *listener = fd;
    return S_OK;
}
