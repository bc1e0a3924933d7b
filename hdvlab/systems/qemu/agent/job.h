/* What the host asked for and has not got yet. */

#ifndef HDVLAB_AGENT_JOB_H
#define HDVLAB_AGENT_JOB_H

#include <poll.h>
#include <sys/types.h>

enum { JOBS = 12, WINDOW = 4096 };
enum { COMMAND_MAX = 128 * 1024 - 1 }; /* Linux takes no longer argument */
enum { EXITED = 0, SIGNALLED = 1, FAILED = 2 };

typedef struct Job {
    int type;          /* RUN, PUT, GET; 0 = free */
    unsigned id;
    int source, sink;  /* to the host, from the host; -1 = none */
    pid_t child;
    int exited, status, killed;
    char *command;     /* being received */
    unsigned command_length, command_have;
    int ended;         /* the host sends no more */
    unsigned have;     /* bytes in `in` */
    unsigned mode;
    char *path, *partial; /* PUT: goes to `partial`, becomes `path` when all of it is there */
    unsigned char in[WINDOW];
} Job;

extern Job jobs[JOBS];

Job *job_find(unsigned id);
void job_open(int type, unsigned id, const unsigned char *payload, unsigned length);
void job_take_data(Job *job, const unsigned char *data, unsigned length);
void job_end(Job *job); /* the host sends no more */
void job_signal(Job *job, int number);

/* Forget it; a command that still runs is killed with all of its process group. */
void job_drop(Job *job);

/* What it waits for: two descriptors. Returns whether it has something to do at once. */
int job_poll(const Job *job, struct pollfd *fds);
void job_serve(Job *job, const struct pollfd *fds);

/* Take the status of every child that ended. */
void job_reap(void);

#endif
