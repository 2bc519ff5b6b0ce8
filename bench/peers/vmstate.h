/* A structure described by a table of fields and walked through function pointers, as QEMU's VMState is. */
#ifndef PEERS_VMSTATE_H
#define PEERS_VMSTATE_H

#include "stream.h"

#include <stdbool.h>

typedef struct Field Field;
typedef struct Description Description;

/* How one kind of field is read and written; 0 or a negative errno. */
typedef struct FieldKind {
    const char *name;
    int (*get)(Stream *stream, void *at, size_t size, const Field *field);
    int (*put)(Stream *stream, void *at, size_t size, const Field *field);
} FieldKind;

enum {
    FIELD_POINTER = 1, /* the field holds a pointer to its content */
    FIELD_ALLOC = 2,   /* which loading allocates */
    FIELD_SIZED = 4,   /* the size is in the u32 at size_offset */
};

struct Field {
    const char *name; /* NULL ends the table */
    size_t offset, size, size_offset;
    const FieldKind *kind;
    unsigned flags;
    int version_id;
    bool (*exists)(void *opaque, int version_id);
    /* Lists: the element's description, size and the offset of its links. */
    const Description *element;
    size_t element_size, link_offset;
    /* Hash tables: the key's description and size; element is the value's. */
    const Description *key;
    size_t key_size;
};

struct Description {
    const char *name;
    int version_id, minimum_version_id;
    int (*pre_save)(void *opaque);
    int (*post_load)(void *opaque, int version_id);
    const Field *fields;
};

extern const FieldKind kind_int32, kind_uint32, kind_buffer, kind_fd, kind_list, kind_hash;

int vmstate_save(Stream *stream, const Description *description, void *opaque);
int vmstate_load(Stream *stream, const Description *description, void *opaque, int version_id);

#endif
