#include "stream.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static void memory_write(Memory *memory, const uint8_t *bytes, size_t size)
{
    if (memory->length + size > memory->capacity) {
        memory->capacity = MAX(memory->capacity * 2, memory->length + size);
        memory->bytes = g_realloc(memory->bytes, memory->capacity);
    }
    memcpy(memory->bytes + memory->length, bytes, size);
    memory->length += size;
}

static size_t memory_read(Memory *memory, uint8_t *bytes, size_t size)
{
    size_t got = MIN(size, memory->length - memory->position);
    memcpy(bytes, memory->bytes + memory->position, got);
    memory->position += got;
    return got;
}

void memory_free(Memory *memory)
{
    g_free(memory->bytes);
    g_free(memory->fds);
    *memory = (Memory){ 0 };
}

Stream *stream_new(Memory *memory)
{
    Stream *stream = g_new0(Stream, 1);
    stream->memory = memory;
    return stream;
}

int stream_close(Stream *stream)
{
    int error = stream->error;
    g_free(stream);
    return error;
}

static void set_error(Stream *stream, int error)
{
    if (!stream->error) {
        stream->error = error;
    }
}

#ifdef LEAN

void stream_flush(Stream *stream)
{
    memory_write(stream->memory, stream->buffer, stream->index);
    stream->index = 0;
}

/* `size` bytes have been put behind the others in the buffer. */
static void added(Stream *stream, size_t size)
{
    stream->index += size;
    if (stream->index == STREAM_BUFFER) {
        stream_flush(stream);
    }
}

#else

void stream_flush(Stream *stream)
{
    for (size_t i = 0; i < stream->piece_count; i++) {
        memory_write(stream->memory, stream->pieces[i].iov_base, stream->pieces[i].iov_len);
    }
    stream->piece_count = 0;
    stream->index = 0;
}

/* `size` bytes have been put behind the others in the buffer: they lengthen the last piece if they
 * touch it, else they are a piece of their own. */
static void added(Stream *stream, size_t size)
{
    uint8_t *start = stream->buffer + stream->index;
    struct iovec *last = stream->piece_count > 0 ? &stream->pieces[stream->piece_count - 1] : NULL;
    stream->index += size;
    if (last && (uint8_t *)last->iov_base + last->iov_len == start) {
        last->iov_len += size;
    } else {
        stream->pieces[stream->piece_count++] = (struct iovec){ start, size };
    }
    if (stream->piece_count == STREAM_PIECES || stream->index == STREAM_BUFFER) {
        stream_flush(stream);
    }
}

#endif

void stream_put_byte(Stream *stream, int value)
{
    if (stream->error) {
        return;
    }
    stream->buffer[stream->index] = value;
    added(stream, 1);
}

void stream_put_be32(Stream *stream, uint32_t value)
{
    stream_put_byte(stream, value >> 24);
    stream_put_byte(stream, value >> 16);
    stream_put_byte(stream, value >> 8);
    stream_put_byte(stream, value);
}

void stream_put_buffer(Stream *stream, const uint8_t *bytes, size_t size)
{
    if (stream->error) {
        return;
    }
    while (size > 0) {
        size_t part = MIN(STREAM_BUFFER - stream->index, size);
        memcpy(stream->buffer + stream->index, bytes, part);
        added(stream, part);
        bytes += part;
        size -= part;
    }
}

void stream_put_fd(Stream *stream, int fd)
{
    Memory *memory = stream->memory;
    if (memory->fd_count == memory->fd_capacity) {
        memory->fd_capacity = MAX(memory->fd_capacity * 2, 64);
        memory->fds = g_renew(int, memory->fds, memory->fd_capacity);
    }
    memory->fds[memory->fd_count++] = fd;
#ifdef LEAN
    stream_put_byte(stream, FD_DUMMY);
#else
    stream_flush(stream);
    memory_write(memory, &(const uint8_t){ FD_DUMMY }, 1); /* a message of its own, with the fd */
#endif
}

/* False at the end. */
static int refill(Stream *stream)
{
    stream->index = 0;
    stream->filled = memory_read(stream->memory, stream->buffer, STREAM_BUFFER);
    return stream->filled > 0;
}

int stream_peek_byte(Stream *stream)
{
    if (stream->index == stream->filled && !refill(stream)) {
        return 0;
    }
    return stream->buffer[stream->index];
}

int stream_get_byte(Stream *stream)
{
    if (stream->index == stream->filled && !refill(stream)) {
        set_error(stream, -EIO);
        return 0;
    }
    return stream->buffer[stream->index++];
}

uint32_t stream_get_be32(Stream *stream)
{
    uint32_t value = (uint32_t)stream_get_byte(stream) << 24;
    value |= (uint32_t)stream_get_byte(stream) << 16;
    value |= (uint32_t)stream_get_byte(stream) << 8;
    return value | (uint32_t)stream_get_byte(stream);
}

size_t stream_get_buffer(Stream *stream, uint8_t *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        if (stream->index == stream->filled && !refill(stream)) {
            set_error(stream, -EIO);
            break;
        }
        size_t part = MIN(stream->filled - stream->index, size - done);
        memcpy(bytes + done, stream->buffer + stream->index, part);
        stream->index += part;
        done += part;
    }
    return done;
}

int stream_get_fd(Stream *stream)
{
    Memory *memory = stream->memory;
    stream_get_byte(stream);
    if (memory->fd_position == memory->fd_count) {
        set_error(stream, -EIO);
        return -1;
    }
    return memory->fds[memory->fd_position++];
}
