/* Patience: when a device's callback does not return within its budget, the VM gets its answer all the same, and another
 * thread takes over the connection. The thread in the callback finds itself replaced when it returns, and ends. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "handle.h"
#include "vfio_user.h"

#define TICKS_PER_BUDGET 20
#define TICK_MIN_NS 1000000
#define TICK_MAX_NS 50000000
#define IDLE_TICKS 40 /* without a callback; then it sleeps until one begins */
#define ENDING_BUDGET_MS 2000

static void wake(struct watch *watch) {
    struct vfio_user *machine = ((struct worker *)watch)->server->machine;
    pthread_mutex_lock(&machine->watch_lock);
    atomic_store(&machine->is_watch_asleep, 0);
    pthread_cond_signal(&machine->watch_wake);
    pthread_mutex_unlock(&machine->watch_lock);
}

/* The turn is taken, and all that follows done, under the server's lock. */
static void settle(struct watch *watch) {
    struct server *server = ((struct worker *)watch)->server;
    pthread_mutex_lock(&server->lock);
    pthread_mutex_unlock(&server->lock);
}

/* Under the server's lock. 0, or errno: then nobody serves the connection. */
int vfio_user_start_worker(struct server *server) {
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return ENOMEM;
    worker->server = server;
    worker->watch.is_asleep = &server->machine->is_watch_asleep;
    worker->watch.is_ending = &server->is_ending;
    worker->watch.wake = wake;
    worker->watch.settle = settle;
    server->worker = worker;
    server->is_served = 1;
    pthread_mutex_lock(&server->machine->servers_lock);
    server->references++;
    pthread_mutex_unlock(&server->machine->servers_lock);
    int error = platform_thread_start(&worker->thread, vfio_user_serve, worker);
    if (!error) {
        pthread_detach(worker->thread);
        return 0;
    }
    server->worker = NULL;
    server->is_served = 0;
    pthread_mutex_lock(&server->machine->servers_lock);
    server->references--; /* the caller has another */
    pthread_mutex_unlock(&server->machine->servers_lock);
    free(worker);
    return error;
}

/* The thread that was in a callback when its patience ended: the callback has returned. */
void vfio_user_retire_stuck(struct worker *worker) {
    struct server *server = worker->server;
    HCS_SYSTEM system = server->machine->system.handle;
    thread_context.watch = NULL;
    device_came_back(worker->stuck_device);
    pthread_mutex_lock(&server->lock);
    struct worker **place = &server->stuck;
    while (*place != worker)
        place = &(*place)->next;
    *place = worker->next;
    server->state.hung = server->stuck != NULL;
    vfio_user_changed(server);
    pthread_mutex_unlock(&server->lock);
    handle_release(worker->stuck_device->handle);
    vfio_user_let_go(server);
    handle_release(system);
    free(worker);
}

static void take_over(struct server *server, struct worker *worker) {
    struct watch *watch = &worker->watch;
    worker->stuck_device = watch->device;
    handle_retain(watch->device->handle); /* the thread has a reference, which it keeps until we are through */
    handle_retain(server->machine->system.handle);
    trace_complete(watch->trace, watch->row, watch->began_ns, watch->all_ones, -1, HRESULT_FROM_WIN32(ERROR_TIMEOUT));
    atomic_store(&watch->device->hung, 1);
    worker->next = server->stuck;
    server->stuck = worker;
    server->state.hung = 1;
    server->state.timeouts++;
    server->message.is_resumed = 1;
    if (vfio_user_start_worker(server) && server->socket >= 0)
        shutdown(server->socket, SHUT_RDWR); /* nobody serves: the VM is to find its device dead, not silent */
    vfio_user_changed(server);
}

/* Returns whether a callback runs or has run since the last look. */
static int look(struct server *server, int64_t now) {
    int is_active = 0;
    pthread_mutex_lock(&server->lock);
    struct worker *worker = server->worker;
    uint64_t turn = worker ? atomic_load(&worker->watch.turn) : 0;
    if (worker && turn != worker->seen_turn) {
        worker->seen_turn = turn;
        worker->seen_ns = now;
        is_active = 1;
    } else if (worker && turn % WATCH_STATES == WATCH_INSIDE) {
        is_active = 1;
        uint32_t budget = server->options.budget_ms;
        if (budget > ENDING_BUDGET_MS && atomic_load(&server->is_ending))
            budget = ENDING_BUDGET_MS;
        if (budget != UINT32_MAX && now - worker->seen_ns >= (int64_t)budget * 1000000 &&
            atomic_compare_exchange_strong(&worker->watch.turn, &turn, turn - WATCH_INSIDE + WATCH_TAKEN))
            take_over(server, worker);
    }
    pthread_mutex_unlock(&server->lock);
    return is_active;
}

static int look_at_all(struct vfio_user *machine, int64_t *tick_ns) {
    int is_active = 0;
    *tick_ns = TICK_MAX_NS;
    for (uint32_t i = 0; i < HDVLAB_SLOT_COUNT; i++) {
        struct server *server = vfio_user_acquire(machine, i);
        if (!server)
            continue;
        int64_t tick = (int64_t)server->options.budget_ms * 1000000 / TICKS_PER_BUDGET;
        tick = tick < TICK_MIN_NS ? TICK_MIN_NS : tick;
        *tick_ns = tick < *tick_ns ? tick : *tick_ns;
        is_active |= look(server, monotonic_ns());
        vfio_user_let_go(server);
    }
    return is_active;
}

static void *keep_watch(void *argument) {
    struct vfio_user *machine = argument;
    int idle = 0;
    pthread_mutex_lock(&machine->watch_lock);
    while (!machine->watch_quit) {
        int64_t tick_ns;
        if (idle >= IDLE_TICKS)
            atomic_store(&machine->is_watch_asleep, 1); /* before the last look: who begins after it wakes us */
        pthread_mutex_unlock(&machine->watch_lock);
        idle = look_at_all(machine, &tick_ns) ? 0 : idle + 1;
        pthread_mutex_lock(&machine->watch_lock);
        if (idle)
            while (atomic_load(&machine->is_watch_asleep) && !machine->watch_quit)
                pthread_cond_wait(&machine->watch_wake, &machine->watch_lock);
        if (!machine->watch_quit)
            (void)platform_wait_until(&machine->watch_wake, &machine->watch_lock, monotonic_ns() + tick_ns);
        if (atomic_exchange(&machine->is_watch_asleep, 0))
            idle = 0;
    }
    pthread_mutex_unlock(&machine->watch_lock);
    return NULL;
}

int vfio_user_watch_start(struct vfio_user *machine) {
    pthread_mutex_init(&machine->watch_lock, NULL);
    platform_condition_init(&machine->watch_wake);
    int error = platform_thread_start(&machine->watch_thread, keep_watch, machine);
    machine->has_watch = !error;
    return error;
}

void vfio_user_watch_stop(struct vfio_user *machine) {
    if (machine->has_watch) {
        pthread_mutex_lock(&machine->watch_lock);
        machine->watch_quit = 1;
        pthread_cond_broadcast(&machine->watch_wake);
        pthread_mutex_unlock(&machine->watch_lock);
        pthread_join(machine->watch_thread, NULL);
    }
    pthread_mutex_destroy(&machine->watch_lock);
    pthread_cond_destroy(&machine->watch_wake);
}
