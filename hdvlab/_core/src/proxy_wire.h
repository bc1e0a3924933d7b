/* Messages between a device host and a machine, over one SOCK_SEQPACKET socket: a header, then `bytes` of data; both
 * sides ask and answer, and an answer has the number of what it answers. Linux only: on Windows COM carries the calls. */
#ifndef HDVLAB_PROXY_WIRE_H
#define HDVLAB_PROXY_WIRE_H

#include "proxy.h"

#define WIRE_MAGIC 0x31505648u /* "HVP1" */
#define WIRE_VERSION 1u
#define WIRE_FOR_EVER UINT32_MAX

enum wire_operation {
    /* beside enum proxy_operation */
    WIRE_HELLO = 64,   /* device to machine; argument: version; data: GUID of the VM. Answered by the registration. */
    WIRE_GET_INSTANCE, /* machine to device; data: GUIDs of class and instance; answer: its number */
    WIRE_CONNECT,      /* machine to device; target: that number; argument: the machine's name for it */
    WIRE_RELEASE,      /* machine to device, never answered; target: a number that is used no more */
};
enum { WIRE_ANSWER = 1 };

struct wire_header {
    uint32_t magic;
    uint16_t operation, flags;
    uint64_t id, target;
    int64_t cause;
    int32_t status; /* of an answer */
    uint32_t bytes;
    uint64_t argument[5]; /* the first two are an answer's answers */
};

struct wire_message {
    struct wire_header header;
    uint8_t data[PROXY_DATA_MAX];
};

struct wire_pending;
struct wire_abandoned;

struct connection {
    void *handle; /* HANDLE_PROXY */
    int socket;
    pthread_t reader;
    _Atomic uint32_t is_held; /* at the gate, in what the peer asked: no answer of the peer's is read, and nobody's patience ends */
    int has_reader;
    uint32_t send_patience_ms;
    pthread_mutex_t send_lock; /* taken alone */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    HRESULT why; /* nothing comes or goes any more; 0 = it is up */
    uint64_t last_id;
    struct wire_pending *pending;
    struct wire_abandoned *abandoned;
    /* Filled by whoever opens it. `serve`: a request came; failure cuts the peer off. `late`: an answer to a call of
     * `target` that had been given up. `ended`: the last thing the reader does. All on the reader's thread. */
    HRESULT (*serve)(struct connection *connection, const struct wire_message *message);
    void (*late)(struct connection *connection, uint64_t target);
    void (*given_up)(struct connection *connection, uint64_t target); /* with the lock, on the caller's thread */
    void (*ended)(struct connection *connection, HRESULT why);
    void (*destroy)(struct connection *connection); /* its owner's part */
    void *owner;
};

/* Takes the socket. One reference, given back with handle_release(connection->handle). NULL: no memory, socket closed. */
struct connection *connection_open(int socket);
HRESULT connection_start(struct connection *connection); /* the reader, which has a reference of its own */
/* Waits for the reader's end, where the calling thread can; else lets it end by itself. Once. */
void connection_leave_reader(struct connection *connection, int may_wait);
/* Ends it for everyone; the first reason counts. */
void connection_fail(struct connection *connection, HRESULT why);
/* Asks the peer. ERROR_TIMEOUT after timeout_ms: the answer, when it comes, is thrown away. 0 = it is not waited for. */
HRESULT connection_call(struct connection *connection, uint64_t target, struct proxy_call *call, uint32_t timeout_ms);
/* Sends a request that has no answer. */
void connection_tell(struct connection *connection, uint32_t operation, uint64_t target);
/* Answers a request; descriptor -1 = none goes with it. */
void connection_answer(struct connection *connection, const struct wire_header *request, HRESULT status,
                       const uint64_t answer[2], const void *data, uint32_t bytes, int descriptor);
/* Receives one message: HCS_E_SERVICE_DISCONNECT at the end, HCS_E_PROTOCOL_ERROR when it is none. *descriptor: -1, or
 * one that came along. */
HRESULT wire_receive(int socket, struct wire_message *message, int *descriptor);

#endif
