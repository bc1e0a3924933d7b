/* Shell commands and files: each job has a source that goes to the host, and a sink for what comes from it. */

#define _GNU_SOURCE
#include "job.h"
#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

Job jobs[JOBS];

static void send_done(unsigned id, int kind, int value)
{
    unsigned char done[5 + 200];
    const char *text = kind == FAILED ? strerror(value) : "";
    size_t length = strlen(text);
    done[0] = (unsigned char)kind;
    put32(done + 1, (uint32_t)value);
    memcpy(done + 5, text, length);
    send_frame(DONE, id, done, (unsigned)(5 + length));
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void job_drop(Job *job)
{
    if (job->child > 0 && !job->exited) {
        kill(-job->child, SIGKILL);
    }
    close_fd(&job->source);
    close_fd(&job->sink);
    if (job->partial) {
        unlink(job->partial);
    }
    free(job->partial);
    free(job->path);
    free(job->command);
    job->type = 0;
}

static void finish(Job *job, int kind, int value)
{
    send_done(job->id, kind, value);
    job_drop(job);
}

static void start_command(Job *job)
{
    int input[2], output[2];
    if (pipe2(input, O_CLOEXEC)) {
        finish(job, FAILED, errno);
        return;
    }
    if (pipe2(output, O_CLOEXEC)) {
        int error = errno;
        close(input[0]);
        close(input[1]);
        finish(job, FAILED, error);
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGINT, SIG_DFL); /* a shell that starts the agent with & has these ignored, which is inherited */
        signal(SIGQUIT, SIG_DFL);
        setpgid(0, 0);
        int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (score >= 0 && write(score, "0", 1) < 0) {
            /* no memory control here: nothing to undo */
        }
        dup2(input[0], 0);
        dup2(output[1], 1);
        dup2(output[1], 2);
        execl("/bin/sh", "sh", "-c", job->command, (char *)NULL);
        dprintf(2, "/bin/sh: %s\n", strerror(errno));
        _exit(127);
    }
    int error = errno;
    close(input[0]);
    close(output[1]);
    job->sink = input[1];
    job->source = output[0];
    if (child < 0) {
        finish(job, FAILED, error);
        return;
    }
    setpgid(child, child); /* here too: a signal may come before the child got to it */
    job->child = child;
    fcntl(job->sink, F_SETFL, O_NONBLOCK);
    fcntl(job->source, F_SETFL, O_NONBLOCK);
    free(job->command);
    job->command = NULL;
}

static void open_put(Job *job, unsigned mode, const char *path)
{
    struct stat old;
    int there = stat(path, &old) == 0;
    job->mode = mode & 07777;
    job->path = strdup(path);
    if (job->path && (!there || S_ISREG(old.st_mode))) {
        /* Beside it first: a program that runs can be replaced, and half a file is never seen. */
        char *real = realpath(path, NULL);
        if (real) {
            free(job->path);
            job->path = real;
        }
        if (asprintf(&job->partial, "%s.partial-%u-%u", job->path, (unsigned)getpid(), job->id) < 0) {
            job->partial = NULL;
            finish(job, FAILED, ENOMEM);
            return;
        }
        job->sink = open(job->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    } else if (job->path) {
        job->sink = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    }
    if (job->sink < 0) {
        int error = errno;
        free(job->partial);
        job->partial = NULL;
        finish(job, FAILED, error);
    }
}

static void finish_put(Job *job)
{
    int error = 0;
    if (job->partial && fchmod(job->sink, job->mode)) {
        error = errno;
    }
    if (close(job->sink) && !error) {
        error = errno;
    }
    job->sink = -1;
    if (!error && job->partial) {
        if (rename(job->partial, job->path)) {
            error = errno;
        } else {
            free(job->partial);
            job->partial = NULL;
        }
    }
    finish(job, error ? FAILED : EXITED, error);
}

static void open_get(Job *job, const char *path)
{
    struct stat about;
    job->source = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (job->source < 0) {
        finish(job, FAILED, errno);
    } else if (fstat(job->source, &about) == 0 && S_ISDIR(about.st_mode)) {
        finish(job, FAILED, EISDIR);
    }
}

Job *job_find(unsigned id)
{
    for (Job *job = jobs; job < jobs + JOBS; job++) {
        if (job->type && job->id == id) {
            return job;
        }
    }
    return NULL;
}

void job_open(int type, unsigned id, const unsigned char *payload, unsigned length)
{
    char path[CHUNK + 1];
    unsigned fixed = type == GET ? 0 : 4;
    Job *job = jobs;
    while (job < jobs + JOBS && job->type) {
        job++;
    }
    if (job == jobs + JOBS || length < fixed || job_find(id)) {
        send_done(id, FAILED, job == jobs + JOBS ? EBUSY : EINVAL);
        return;
    }
    memset(job, 0, sizeof *job);
    job->type = type;
    job->id = id;
    job->source = job->sink = -1;
    memcpy(path, payload + fixed, length - fixed);
    path[length - fixed] = 0;
    if (type == PUT) {
        open_put(job, get32(payload), path);
    } else if (type == GET) {
        open_get(job, path);
    } else {
        job->command_length = get32(payload);
        job->command = job->command_length <= COMMAND_MAX ? malloc(job->command_length + 1) : NULL;
        if (!job->command) {
            finish(job, FAILED, job->command_length <= COMMAND_MAX ? ENOMEM : E2BIG);
        }
    }
}

static void credit(Job *job, unsigned count)
{
    unsigned char payload[4];
    put32(payload, count);
    send_frame(CREDIT, job->id, payload, 4);
}

/* Bytes of a request: a command's text first, then its standard input; or a file's content. */
void job_take_data(Job *job, const unsigned char *data, unsigned length)
{
    if (job->command) {
        unsigned part = job->command_length - job->command_have;
        part = part < length ? part : length;
        if (part) {
            memcpy(job->command + job->command_have, data, part);
            job->command_have += part;
            data += part;
            length -= part;
            credit(job, part);
        }
        if (job->command_have == job->command_length) {
            job->command[job->command_length] = 0;
            start_command(job);
        }
    }
    if (!job->type || !length) {
        return;
    }
    if (job->have + length > WINDOW) {
        finish(job, FAILED, EPROTO); /* the host sent more than it was given credit for */
        return;
    }
    memcpy(job->in + job->have, data, length);
    job->have += length;
}

void job_end(Job *job)
{
    job->ended = 1;
    if (job->command && job->command_length == 0) {
        job_take_data(job, NULL, 0);
    }
}

void job_signal(Job *job, int number)
{
    if (job->type != RUN) {
        finish(job, FAILED, ECANCELED);
    } else if (job->child > 0) {
        kill(-job->child, number);
        job->killed = 1;
    } else {
        finish(job, SIGNALLED, number);
    }
}

static void write_sink(Job *job)
{
    if (job->have) {
        ssize_t count = job->sink < 0 ? (ssize_t)job->have : write(job->sink, job->in, job->have);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (count < 0 && job->type == PUT) {
            finish(job, FAILED, errno);
            return;
        }
        if (count < 0) { /* the command does not read its input (any more) */
            close_fd(&job->sink);
            count = (ssize_t)job->have;
        }
        memmove(job->in, job->in + count, job->have - (size_t)count);
        job->have -= (unsigned)count;
        credit(job, (unsigned)count);
    }
    if (job->ended && !job->have) {
        if (job->type == PUT) {
            finish_put(job);
        } else {
            close_fd(&job->sink);
        }
    }
}

static void read_source(Job *job)
{
    unsigned char data[CHUNK];
    ssize_t count = job->source < 0 ? 0 : read(job->source, data, sizeof data);
    if (count > 0) {
        send_frame(DATA, job->id, data, (unsigned)count);
        return;
    }
    int error = count < 0 ? errno : 0;
    if (error == EINTR || (error == EAGAIN && !job->exited)) {
        return;
    }
    if (job->type == GET) {
        finish(job, error ? FAILED : EXITED, error);
        return;
    }
    if (job->exited) { /* what runs on in the background has the pipe still, and is not waited for */
        int status = job->status;
        finish(job, WIFSIGNALED(status) ? SIGNALLED : EXITED, WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        return;
    }
    close_fd(&job->source);
}

void job_reap(void)
{
    int status;
    pid_t child;
    while ((child = waitpid(-1, &status, WNOHANG)) > 0) {
        for (Job *job = jobs; job < jobs + JOBS; job++) {
            if (job->type == RUN && job->child == child) {
                job->exited = 1;
                job->status = status;
            }
        }
    }
}

/* A command's output is read until it is empty once the command has ended. */
static int may_read(const Job *job)
{
    return job->type && line_waiting() < OUT_BUSY;
}

static int may_write(const Job *job)
{
    return job->type && !job->command && (job->have || job->ended);
}

int job_poll(const Job *job, struct pollfd *fds)
{
    fds[0] = (struct pollfd){may_read(job) ? job->source : -1, POLLIN, 0};
    fds[1] = (struct pollfd){may_write(job) && job->have ? job->sink : -1, POLLOUT, 0};
    return (may_read(job) && job->exited) || (may_write(job) && (job->sink < 0 ? job->have != 0 : !job->have));
}

void job_serve(Job *job, const struct pollfd *fds)
{
    if (may_write(job) && (fds[1].revents || !job->have || job->sink < 0)) {
        write_sink(job);
    }
    if (may_read(job) && (fds[0].revents || job->exited)) {
        read_source(job);
    }
}
