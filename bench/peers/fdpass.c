/*
 * Passes n fds (memfds) over a UNIX socket to a child: one a message as QEMU does, 16 and 253.
 * The time runs from the first send to the child's answer that it has them all.
 */
#define _GNU_SOURCE
#include "names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_BATCH 253 /* the kernel's limit for one message */
#define READ_BUFFER 32768

typedef struct Bench {
    size_t n;
    const int *fds;
    const ino_t *inodes;
    const uint8_t *bytes; /* the serialised entries, in order */
    const size_t *ends;   /* where entry i ends in them; its last byte stands for the fd */
    size_t batch;
    int socket;
} Bench;

static void put_be32(uint8_t **to, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        *(*to)++ = value >> shift;
    }
}

static void write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, bytes, size);
        if (done < 0 && errno != EINTR) {
            fail(EXIT_SYSTEM, "write: %s", strerror(errno));
        }
        if (done > 0) {
            bytes += done;
            size -= done;
        }
    }
}

static void send_with_fds(int socket, const uint8_t *bytes, size_t size, const int *fds, size_t count)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(MAX_BATCH * sizeof(int))];
    } control;
    struct iovec iov = { (void *)bytes, size };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    ssize_t done;
    do {
        done = sendmsg(socket, &message, 0);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        fail(EXIT_SYSTEM, "sendmsg of %zu fds: %s%s", count, strerror(errno),
             errno == ETOOMANYREFS ? " (more fds in flight than RLIMIT_NOFILE; raise `ulimit -n`)" : "");
    }
    write_all(socket, bytes + done, size - done);
}

static void read_byte(int fd)
{
    char byte;
    ssize_t got;
    do {
        got = read(fd, &byte, 1);
    } while (got < 0 && errno == EINTR);
    if (got != 1) {
        fail(EXIT_SYSTEM, "the other process is gone");
    }
}

/* Sends all entries and waits for the child's answer. */
static uint64_t pass_round(void *context, uint32_t *check)
{
    const Bench *bench = context;
    uint64_t start = now_ns();
    size_t from = 0;
    for (size_t i = 0; i < bench->n; i += bench->batch) {
        size_t count = bench->n - i < bench->batch ? bench->n - i : bench->batch, end = bench->ends[i + count - 1];
        if (bench->batch == 1) {
            write_all(bench->socket, bench->bytes + from, end - 1 - from);
            from = end - 1;
        }
        send_with_fds(bench->socket, bench->bytes + from, end - from, bench->fds + i, count);
        from = end;
    }
    read_byte(bench->socket);
    uint64_t ns = now_ns() - start;
    read_byte(bench->socket); /* the child has checked and closed them */
    *check = bench->n;
    return ns;
}

/* One round at the child: all fds, then all of them checked and closed. */
static void receive_round(const Bench *bench, int *received)
{
    size_t room = bench->batch <= 16 ? 16 : MAX_BATCH, bytes = 0, total = bench->ends[bench->n - 1], fds = 0;
    uint8_t buffer[READ_BUFFER];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(MAX_BATCH * sizeof(int))];
    } control;
    while (bytes < total) {
        struct iovec iov = { buffer, sizeof buffer };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                                  .msg_controllen = CMSG_SPACE(room * sizeof(int)) };
        ssize_t got = recvmsg(bench->socket, &message, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got == 0 && bytes == 0) {
            _exit(0); /* the parent has done all its rounds */
        }
        if (got <= 0 || message.msg_flags & MSG_CTRUNC) {
            fail(EXIT_SYSTEM, "recvmsg after %zu fds: %s", fds, got < 0 ? strerror(errno) : "fds were cut off, or the end");
        }
        bytes += got;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
            size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            if (header->cmsg_type != SCM_RIGHTS || fds + count > bench->n) {
                fail(EXIT_SYSTEM, "unexpected control message after %zu fds", fds);
            }
            memcpy(received + fds, CMSG_DATA(header), count * sizeof(int));
            fds += count;
        }
    }
    if (fds != bench->n) {
        fail(EXIT_SYSTEM, "%zu fds came, expected %zu", fds, bench->n);
    }
    write_all(bench->socket, (const uint8_t *)"k", 1);
    for (size_t i = 0; i < fds; i++) {
        struct stat stat;
        if (fstat(received[i], &stat) != 0 || stat.st_ino != bench->inodes[i]) {
            fail(EXIT_SYSTEM, "fd %zu is not the file that was sent", i);
        }
        close(received[i]);
    }
    write_all(bench->socket, (const uint8_t *)"k", 1);
}

static void raise_fd_limit(size_t needed)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < needed) {
        limit.rlim_cur = limit.rlim_max < needed ? needed : limit.rlim_max;
        limit.rlim_max = limit.rlim_cur;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            fail(EXIT_SYSTEM, "RLIMIT_NOFILE can't be raised to %zu: %s (raise the hard limit, or take fewer: -n)",
                 needed, strerror(errno));
        }
    }
}

static void run_case(const Options *options, Bench *bench, size_t batch)
{
    char name[32], extra[64];
    snprintf(name, sizeof name, "fdpass.%zu", batch);
    if (!case_wanted(options, name)) {
        return;
    }
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        fail(EXIT_SYSTEM, "socketpair: %s", strerror(errno));
    }
    bench->batch = batch;
    pid_t child = fork();
    if (child == 0) {
        close(pair[0]);
        bench->socket = pair[1];
        for (size_t i = 0; i < bench->n; i++) {
            close(bench->fds[i]); /* those that it inherited: it must hold only what it is passed */
        }
        int *received = calloc(bench->n, sizeof *received);
        for (;;) {
            receive_round(bench, received);
        }
    }
    close(pair[1]);
    bench->socket = pair[0];
    snprintf(extra, sizeof extra, ",\"batch\":%zu,\"bytes\":%zu", batch, bench->ends[bench->n - 1]);
    measure(options, name, bench->n, 1, extra, pass_round, bench);
    close(pair[0]);
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        fail(EXIT_SYSTEM, "the receiving process failed");
    }
}

int main(int argc, char **argv)
{
    Options options;
    parse_options(argc, argv, "f:n:r:c:", &options);
    Names names = read_names(&options);
    size_t n = names.n, room = 8;
    raise_fd_limit(n + 64);
    int *fds = calloc(n, sizeof *fds);
    ino_t *inodes = calloc(n, sizeof *inodes);
    size_t *ends = calloc(n, sizeof *ends);
    for (size_t i = 0; i < n; i++) {
        room += strlen(names.name[i]) + 11;
    }
    uint8_t *bytes = malloc(room), *to = bytes;
    if (!fds || !inodes || !ends || !bytes) {
        fail(EXIT_SYSTEM, "no memory for %zu fds", n);
    }
    for (size_t i = 0; i < n; i++) {
        struct stat stat;
        if ((fds[i] = memfd_create("peer", MFD_CLOEXEC)) < 0 || fstat(fds[i], &stat) != 0) {
            fail(EXIT_SYSTEM, "memfd %zu: %s", i, strerror(errno));
        }
        inodes[i] = stat.st_ino;
        size_t length = strlen(names.name[i]) + 1;
        *to++ = 1;
        put_be32(&to, length);
        memcpy(to, names.name[i], length);
        to += length;
        put_be32(&to, names.id[i]);
        *to++ = 0x20;
        ends[i] = to - bytes;
    }
    Bench bench = { .n = n, .fds = fds, .inodes = inodes, .bytes = bytes, .ends = ends };
    run_case(&options, &bench, 1);
    run_case(&options, &bench, 16);
    run_case(&options, &bench, MAX_BATCH);
    return 0;
}
