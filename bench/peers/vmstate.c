#include "vmstate.h"

#include <errno.h>
#include <glib.h>

#define SUBSECTION 0x05

static bool field_is_there(const Field *field, void *opaque, int version_id)
{
    return field->exists ? field->exists(opaque, version_id) : field->version_id <= version_id;
}

static size_t field_size(const Field *field, void *opaque)
{
    return field->flags & FIELD_SIZED ? *(uint32_t *)((char *)opaque + field->size_offset) : field->size;
}

int vmstate_save(Stream *stream, const Description *description, void *opaque)
{
    if (description->pre_save) {
        int result = description->pre_save(opaque);
        if (result) {
            return result;
        }
    }
    for (const Field *field = description->fields; field->name; field++) {
        if (!field_is_there(field, opaque, description->version_id)) {
            continue;
        }
        void *at = (char *)opaque + field->offset;
        size_t size = field_size(field, opaque);
        if (field->flags & FIELD_POINTER) {
            at = *(void **)at;
        }
        int result = field->kind->put(stream, at, size, field);
        if (result || (result = stream->error)) {
            return result;
        }
    }
    return 0;
}

int vmstate_load(Stream *stream, const Description *description, void *opaque, int version_id)
{
    if (version_id > description->version_id || version_id < description->minimum_version_id) {
        return -EINVAL;
    }
    for (const Field *field = description->fields; field->name; field++) {
        if (!field_is_there(field, opaque, version_id)) {
            continue;
        }
        void *at = (char *)opaque + field->offset;
        size_t size = field_size(field, opaque);
        if (field->flags & FIELD_ALLOC) {
            *(void **)at = g_malloc(size);
        }
        if (field->flags & FIELD_POINTER) {
            at = *(void **)at;
        }
        int result = field->kind->get(stream, at, size, field);
        if (result || (result = stream->error)) {
            return result;
        }
    }
    /* A reader looks for a subsection behind every structure; none is described here. */
    if (stream_peek_byte(stream) == SUBSECTION) {
        return -ENOENT;
    }
    return description->post_load ? description->post_load(opaque, version_id) : 0;
}

static int get_uint32(Stream *stream, void *at, size_t size, const Field *field)
{
    (void)size, (void)field;
    *(uint32_t *)at = stream_get_be32(stream);
    return 0;
}

static int put_uint32(Stream *stream, void *at, size_t size, const Field *field)
{
    (void)size, (void)field;
    stream_put_be32(stream, *(uint32_t *)at);
    return 0;
}

static int get_buffer(Stream *stream, void *at, size_t size, const Field *field)
{
    (void)field;
    stream_get_buffer(stream, at, size);
    return 0;
}

static int put_buffer(Stream *stream, void *at, size_t size, const Field *field)
{
    (void)field;
    stream_put_buffer(stream, at, size);
    return 0;
}

static int get_fd(Stream *stream, void *at, size_t size, const Field *field)
{
    (void)size, (void)field;
    *(int *)at = stream_get_fd(stream);
    return 0;
}

static int put_fd(Stream *stream, void *at, size_t size, const Field *field)
{
    (void)size, (void)field;
    stream_put_fd(stream, *(int *)at);
    return 0;
}

/* The links of <sys/queue.h>'s LIST, reached through offsets, as the loader knows no element's type. */
typedef struct Links {
    void *next;
    void **previous_next;
} Links;

static Links *links_of(void *element, const Field *field)
{
    return (Links *)((char *)element + field->link_offset);
}

static int put_list(Stream *stream, void *at, size_t size, const Field *field)
{
    (void)size;
    for (void *element = *(void **)at; element; element = links_of(element, field)->next) {
        stream_put_byte(stream, 1);
        int result = vmstate_save(stream, field->element, element);
        if (result) {
            return result;
        }
    }
    stream_put_byte(stream, 0);
    return 0;
}

static int get_list(Stream *stream, void *at, size_t size, const Field *field)
{
    (void)size;
    void **tail = at; /* where the next element is hung in: stream order is kept */
    while (stream_get_byte(stream)) {
        void *element = g_malloc(field->element_size);
        int result = vmstate_load(stream, field->element, element, field->element->version_id);
        if (result) {
            g_free(element);
            return result;
        }
        Links *links = links_of(element, field);
        links->next = NULL;
        links->previous_next = tail;
        *tail = element;
        tail = &links->next;
    }
    return stream->error;
}

static int put_hash(Stream *stream, void *at, size_t size, const Field *field)
{
    (void)size;
    GHashTable *table = *(GHashTable **)at;
    GHashTableIter iter;
    gpointer key, value;
    stream_put_be32(stream, g_hash_table_size(table));
    g_hash_table_iter_init(&iter, table);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        stream_put_byte(stream, 1);
        int result = vmstate_save(stream, field->key, key);
        if (result || (result = vmstate_save(stream, field->element, value))) {
            return result;
        }
    }
    stream_put_byte(stream, 0);
    return 0;
}

static int get_hash(Stream *stream, void *at, size_t size, const Field *field)
{
    (void)size;
    GHashTable *table = *(GHashTable **)at;
    uint32_t announced = stream_get_be32(stream), count = 0;
    while (stream_get_byte(stream)) {
        if (++count > announced) {
            return -EINVAL;
        }
        void *key = g_malloc0(field->key_size), *value = g_malloc0(field->element_size);
        int result = vmstate_load(stream, field->key, key, field->key->version_id);
        if (result || (result = vmstate_load(stream, field->element, value, field->element->version_id))) {
            g_free(key);
            g_free(value);
            return result;
        }
        g_hash_table_insert(table, key, value);
    }
    return stream->error ? stream->error : count == announced ? 0 : -EINVAL;
}

const FieldKind kind_int32 = { "int32", get_uint32, put_uint32 };
const FieldKind kind_uint32 = { "uint32", get_uint32, put_uint32 };
const FieldKind kind_buffer = { "buffer", get_buffer, put_buffer };
const FieldKind kind_fd = { "fd", get_fd, put_fd };
const FieldKind kind_list = { "qlist", get_list, put_list };
const FieldKind kind_hash = { "ghash", get_hash, put_hash };
