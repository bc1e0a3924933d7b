/* The vfio-user server with memory for a socket, served by the thread that asks for it: vfio_user_memory.c stands in for
 * what the library has of sockets and of threads there. */
#ifndef FUZZ_VFIO_USER_MEMORY_H
#define FUZZ_VFIO_USER_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void wire_open(void); /* a new connection */
/* To the server: bytes, and descriptors of which it gets copies with the first of them. is_alone: the read that gets the
 * last of these bytes gets none after them; else it may get the next's too, as of a stream. */
void wire_put(const uint8_t *bytes, size_t length, const int *fds, uint32_t fd_count, int is_alone);
void wire_break(uint32_t messages); /* the server can send so many more; then the VM is gone */
void wire_end(void); /* the server is told to end, as by another thread */
int wire_is_served(void);
/* Who attached a socket last is served here until its connection or its server ends. True: all bytes were read. */
int wire_serve(void);

/* The target has these. */
int vm_speaks(void); /* the server waits for bytes; 0: there will be none any more */
void vm_hears(const uint8_t *message, size_t bytes, const int *fds, uint32_t fd_count);
size_t vm_answers(uint8_t *message); /* a command of the server; the reply, as many bytes, goes in its place */

#endif
