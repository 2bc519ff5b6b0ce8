/* Bytes through a buffer of 32 KiB, a byte, a word or a block at a time, to and from memory:
 * the work of QEMU's QEMUFile over a channel. Fds go into a queue beside the bytes.
 * Compiled with LEAN, writing leaves out what QEMU does beyond filling and flushing the buffer:
 * the list of written pieces it keeps for writev, and the flush before every fd. */
#ifndef PEERS_STREAM_H
#define PEERS_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define STREAM_BUFFER 32768
#define STREAM_PIECES 64
#define FD_DUMMY 0x20 /* the byte that stands for an fd */

/* What was written, or is to be read. */
typedef struct Memory {
    uint8_t *bytes;
    size_t length, capacity, position;
    int *fds;
    size_t fd_count, fd_capacity, fd_position;
} Memory;

typedef struct Stream {
    Memory *memory;
    int error; /* the first, a negative errno */
    size_t index, filled;
    struct iovec pieces[STREAM_PIECES]; /* written, not flushed */
    size_t piece_count;
    uint8_t buffer[STREAM_BUFFER];
} Stream;

Stream *stream_new(Memory *memory);
int stream_close(Stream *stream); /* frees it; gives its error */
void memory_free(Memory *memory);

void stream_put_byte(Stream *stream, int value);
void stream_put_be32(Stream *stream, uint32_t value);
void stream_put_buffer(Stream *stream, const uint8_t *bytes, size_t size);
void stream_put_fd(Stream *stream, int fd);
void stream_flush(Stream *stream);

int stream_peek_byte(Stream *stream); /* 0 at the end, as QEMU has it, and no error */
int stream_get_byte(Stream *stream);
uint32_t stream_get_be32(Stream *stream);
size_t stream_get_buffer(Stream *stream, uint8_t *bytes, size_t size);
int stream_get_fd(Stream *stream);

#endif
