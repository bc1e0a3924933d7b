/* The server's side of vfio-user: the system, what serves one of its slots, and the parts that the protocol falls into.
 * Ref: QEMU, docs/interop/vfio-user.rst. */
#ifndef HDVLAB_VFIO_USER_H
#define HDVLAB_VFIO_USER_H

#include "system.h"
#include "watch.h"

#define HEADER_BYTES 16u
#define DATA_MAX (1u << 20)               /* bytes of one region access or DMA message */
#define MESSAGE_MAX (DATA_MAX + 32u)      /* header included */
#define FDS_MAX 16u                       /* of one message */
#define AHEAD_BYTES 36u                   /* of the first read of a message: the shortest that has descriptors */
#define MSI_VECTORS 32u
#define MSIX_VECTORS 2048u
#define INTERRUPT_WINDOW 0xFEE00000ull /* Intel SDM volume 3, section 11.11.1 */
#define INTERRUPT_WINDOW_END 0xFEF00000ull

enum command {
    COMMAND_VERSION = 1,
    COMMAND_DMA_MAP,
    COMMAND_DMA_UNMAP,
    COMMAND_GET_INFO,
    COMMAND_GET_REGION_INFO,
    COMMAND_GET_REGION_IO_FDS,
    COMMAND_GET_IRQ_INFO,
    COMMAND_SET_IRQS,
    COMMAND_REGION_READ,
    COMMAND_REGION_WRITE,
    COMMAND_DMA_READ,
    COMMAND_DMA_WRITE,
    COMMAND_RESET,
    COMMAND_REGION_WRITE_MULTI = 15,
};
enum { TYPE_MASK = 0xF, TYPE_COMMAND = 0, TYPE_REPLY = 1, FLAG_NO_REPLY = 0x10, FLAG_ERROR = 0x20 };
enum { REGION_ROM = 6, REGION_CONFIG = 7, REGION_COUNT = 9 };
enum { IRQ_INTX, IRQ_MSI, IRQ_MSIX, IRQ_ERR, IRQ_REQ, IRQ_COUNT };

struct header {
    uint16_t id, command;
    uint32_t bytes, flags, error;
};

struct received_fds {
    uint32_t count;
    int fd[FDS_MAX]; /* -1 once somebody has taken it */
    int lost;        /* more came than there is room for */
};

struct message {
    struct header header;
    struct received_fds fds;
    uint8_t *payload; /* header.bytes - HEADER_BYTES of it; aligned to 8 */
    uint8_t *reply;   /* HEADER_BYTES are left free before it */
    uint64_t done;  /* bytes of the access that have been served, and of the piece that is being */
    uint32_t piece, entry; /* entry: of REGION_WRITE_MULTI */
    int is_resumed; /* by another thread: what was being served when the first one was replaced is not done again */
    uint32_t reply_bytes;
    uint32_t reply_fd_count;
    int reply_fd[FDS_MAX]; /* copies, closed once they are sent */
};

/* What a VM has to be told of a device and what the server must know of its capabilities, as read from config space. */
struct capabilities {
    int is_known;
    uint32_t pin; /* 1 = INTA */
    uint32_t msi, msi_vectors;
    int msi_is_wide;
    uint32_t msix, msix_vectors, table_bar, pba_bar;
    uint64_t table_offset, pba_offset;
    int is_express;
};

struct vfio_user;

/* Interrupts of one slot's VM. */
struct lines {
    pthread_mutex_t lock; /* an eventfd is written, replaced and closed under it */
    int fd[IRQ_COUNT][MSIX_VECTORS]; /* -1 = none; the inner bound is that of the largest */
    int is_masked, is_raised; /* INTx */
    int unmask_fd;            /* INTx: the VM writes it when the guest has acknowledged; -1 = none */
    uint32_t enabled;         /* bit per index: the VM has given events, or said that it will */
    uint8_t msi[24];          /* the MSI capability as the guest wrote it */
    uint64_t shown[MSIX_VECTORS / 64];   /* vectors that the device's own table has unmasked */
    uint64_t pending[MSIX_VECTORS / 64]; /* messages that came while the vector had no event */
};

/* A thread that serves a connection, until it ends or is replaced. */
struct worker {
    struct watch watch; /* first */
    struct server *server;
    pthread_t thread;
    struct device *stuck_device; /* with a reference, once replaced */
    struct worker *next;
    uint64_t seen_turn; /* whoever watches: when it first saw this turn */
    int64_t seen_ns;
};

struct server {
    struct vfio_user *machine;
    uint32_t slot, references; /* under the machine's servers_lock */
    HDVLAB_VFIO_USER_OPTIONS options;
    char *path; /* NULL: none was made */
    int is_attached; /* the socket was given; nobody has served it yet */
    int listener, socket, wake; /* -1 = none; wake is an eventfd that is readable once it is to end */
    _Atomic int is_ending;
    pthread_mutex_t send_lock; /* one message at a time; socket is closed under it */
    pthread_mutex_t lock;      /* state and the workers */
    struct worker *worker;     /* who serves */
    struct worker *stuck;      /* who have been replaced */
    int is_served;             /* there is a worker */
    pthread_cond_t changed;
    HDVLAB_VFIO_USER_STATE state;
    _Atomic uint64_t messages;
    int is_negotiated;
    _Atomic int is_guests; /* the guest runs: there was a reset */
    struct memory_map *memory;
    int is_remapped; /* something was unmapped since a message that is no DMA_MAP or DMA_UNMAP */
    struct capabilities capabilities;
    struct lines lines;
    struct message message;
    struct { size_t bytes; uint8_t data[AHEAD_BYTES]; struct received_fds fds; } ahead; /* of the next message */
    int may_ask;         /* under send_lock: VERSION has its reply */
    uint16_t next_id;    /* likewise */
    _Atomic uint64_t ask_most; /* bytes of one DMA message that the VM takes */
    pthread_mutex_t ask_lock;
    pthread_cond_t answered;
    struct ask *asks;    /* that wait for their reply */
    int is_quick; /* messages come close together */
    uint32_t rest, next_rest; /* messages that are slept for although they do, and how many the next time */
};

struct vfio_user {
    struct system system; /* first: the generic code sees this one */
    pthread_mutex_t servers_lock;
    struct server *server[HDVLAB_SLOT_COUNT];
    pthread_mutex_t watch_lock;
    pthread_cond_t watch_wake;
    pthread_t watch_thread;
    int has_watch, watch_quit;
    _Atomic int is_watch_asleep;
};

/* vfio_user_linux.c */
extern const struct system_ops vfio_user_ops;
void vfio_user_free(struct server *server);
void vfio_user_end(struct vfio_user *machine, uint32_t slot); /* waits until nobody is served */
void vfio_user_end_server(struct server *server); /* the same, of this one; takes the caller's reference */
HRESULT vfio_user_listen_at(const char *path, int *listener); /* vfio_user_listen_linux.c */
struct server *vfio_user_server_of(struct system *system, const struct device *device); /* with a reference, or NULL */
struct server *vfio_user_any_server(struct vfio_user *machine); /* one that has a VM */
void vfio_user_let_go(struct server *server);
void vfio_user_changed(struct server *server); /* under its lock */
struct server *vfio_user_acquire(struct vfio_user *machine, uint32_t slot);


/* vfio_user_watch_linux.c */
int vfio_user_watch_start(struct vfio_user *machine);
void vfio_user_watch_stop(struct vfio_user *machine);
int vfio_user_start_worker(struct server *server);
void vfio_user_retire_stuck(struct worker *worker);
/* After everything that may have called a device: the connection is another thread's now. What a function learns so is
 * ESTALE, and is handed up untouched. */
static inline int vfio_user_is_replaced(void) { return thread_context.watch && watch_is_taken(thread_context.watch); }

/* vfio_user_connection_linux.c: a worker serves until its server ends. */
void *vfio_user_serve(void *worker);

/* vfio_user_socket_linux.c */
struct iovec;
/* Under send_lock: all of the parts, which are used up, or EPIPE; then the connection is shut down. */
int vfio_user_send(struct server *server, struct iovec *part, int parts, const int *fds, uint32_t fd_count);
/* Waits for bytes; fds NULL: descriptors that come along are closed. 0, or why the connection ends. */
int vfio_user_receive_some(struct server *server, void *to, size_t most, struct received_fds *fds, size_t *got);
void vfio_user_close_fds(struct received_fds *fds);

/* vfio_user_ask_linux.c: commands to the VM. */
/* DMA_WRITE that wants no reply. 0, or why not. */
int vfio_user_tell(struct server *server, uint64_t address, uint32_t data);
/* Memory of a VM that gave no descriptor of it, into `to` or out of `from`. ERROR_INVALID_STATE: within a callback for which
 * the VM may be waiting; ERROR_TIMEOUT: it has not answered in 5 s. */
HRESULT vfio_user_ask(struct server *server, uint64_t gpa, uint64_t bytes, void *to, const void *from);
void vfio_user_answered(struct server *server, const struct message *reply);
void vfio_user_nobody_answers(struct server *server); /* the VM is gone */

/* vfio_user_message_linux.c: does what the message says; the reply is in it. 0, or the errno of the reply. */
int vfio_user_dispatch(struct server *server, struct message *message);

/* vfio_user_region_linux.c */
int vfio_user_region_read(struct server *server, struct message *message);
int vfio_user_region_write(struct server *server, struct message *message);
int vfio_user_region_info(struct server *server, struct message *message);
int vfio_user_region_write_multi(struct server *server, struct message *message);

/* vfio_user_learn_linux.c */
void vfio_user_learn(struct server *server);
void vfio_user_forget(struct server *server); /* what it learnt: another VM connects */

/* vfio_user_share_linux.c */
/* The sections of a BAR that the VM may map: bytes of the capability, 0 = there are none. When they fit, the capability is
 * at 32 in the reply, which has the descriptor too; *file_offset is where the BAR begins in its file. */
uint32_t vfio_user_share_sections(struct server *server, struct device *device, uint32_t bar, uint32_t room,
                                  struct message *message, uint64_t *file_offset);
int vfio_user_io_fds(struct server *server, struct message *message);

/* vfio_user_memory_linux.c */
int vfio_user_dma_map(struct server *server, struct message *message);
int vfio_user_dma_unmap(struct server *server, struct message *message);
HRESULT vfio_user_read_memory(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes, void *buffer);
HRESULT vfio_user_write_memory(struct system *system, struct device *requestor, uint64_t gpa, uint64_t bytes,
                               const void *buffer);
struct memory_map *vfio_user_memory_of(struct device *device); /* with a reference; NULL: no VM is there */
void vfio_user_memory_drop(struct server *server);
void vfio_user_memory_settled(struct server *server);

/* vfio_user_interrupt_linux.c */
void vfio_user_lines_init(struct lines *lines);
void vfio_user_lines_reset(struct lines *lines);
void vfio_user_lines_close(struct lines *lines);
int vfio_user_irq_info(struct server *server, struct message *message);
int vfio_user_set_irqs(struct server *server, struct message *message);
/* The device's line or its command register changed, or the VM says that the guest acknowledged. */
void vfio_user_line_changed(struct server *server, struct device *device, int acknowledged);
void vfio_user_signal(int fd); /* under lines.lock; -1 = nobody */
/* vfio_user_vector_linux.c */
HRESULT vfio_user_deliver(struct system *system, struct device *requestor, uint64_t address, uint32_t data);
void vfio_user_show_table(struct server *server, struct device *device, uint32_t start, uint32_t count);
/* A part of the MSI capability was written. */
void vfio_user_msi_given(struct server *server, uint32_t dword, uint32_t value);

#endif
