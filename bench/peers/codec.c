/*
 * Saves and loads the CPR state in both wire forms, into and from memory: the list as QEMU 10.0
 * has it, the hash table of the RFC, and QEMU 11.1's hash table that is sent as a list.
 * Compiled with LEAN it only saves, over the lean stream (stream.h).
 */
#include "fd-table.h"
#include "names.h"
#include "vmstate.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef LEAN
enum { LEAN_SAVES = 1 };
#else
enum { LEAN_SAVES = 0 };
#endif

#define QCPR_MAGIC 0x51435052
#define QCPR_VERSION 1

typedef struct CprState {
    FdList list;
    GHashTable *table;
} CprState;

typedef struct FdValue {
    int fd;
} FdValue;

/* The RFC's table: key and value are allocated apart, as a table that is loaded by itself needs. */
static void free_rfc_key(gpointer key)
{
    g_free(((FdKey *)key)->name);
    g_free(key);
}

#define KEY_FIELDS(type, prefix)                                                                          \
    { .name = "namelen", .offset = offsetof(type, prefix namelen), .size = 4, .kind = &kind_uint32 },     \
    { .name = "name", .offset = offsetof(type, prefix name), .size_offset = offsetof(type, prefix namelen), \
      .kind = &kind_buffer, .flags = FIELD_POINTER | FIELD_ALLOC | FIELD_SIZED },                         \
    { .name = "id", .offset = offsetof(type, prefix id), .size = 4, .kind = &kind_int32 }

static const Description fd_entry_description = {
    .name = "cpr fd", .version_id = 1, .minimum_version_id = 1,
    .fields = (const Field[]){
        KEY_FIELDS(FdEntry, key.),
        { .name = "fd", .offset = offsetof(FdEntry, fd), .size = 4, .kind = &kind_fd },
        { 0 },
    },
};

static const Description fd_key_description = {
    .name = "cpr-fd-key", .version_id = 1, .minimum_version_id = 1,
    .fields = (const Field[]){ KEY_FIELDS(FdKey, ), { 0 } },
};

static const Description fd_value_description = {
    .name = "cpr-fd-value", .version_id = 1, .minimum_version_id = 1,
    .fields = (const Field[]){
        { .name = "fd", .offset = offsetof(FdValue, fd), .size = 4, .kind = &kind_fd },
        { 0 },
    },
};

#define LIST_FIELD                                                                                \
    { .name = "fds", .offset = offsetof(CprState, list), .size = sizeof(FdList), .kind = &kind_list, \
      .version_id = 1, .element = &fd_entry_description, .element_size = sizeof(FdEntry),         \
      .link_offset = offsetof(FdEntry, next) }

static int flatten(void *opaque)
{
    CprState *state = opaque;
    GHashTableIter iter;
    gpointer entry;
    LIST_INIT(&state->list);
    g_hash_table_iter_init(&iter, state->table);
    while (g_hash_table_iter_next(&iter, NULL, &entry)) {
        LIST_INSERT_HEAD(&state->list, (FdEntry *)entry, next);
    }
    return 0;
}

static int rebuild(void *opaque, int version_id)
{
    (void)version_id;
    CprState *state = opaque;
    FdEntry *entry;
    while ((entry = LIST_FIRST(&state->list)) != NULL) {
        LIST_REMOVE(entry, next);
        if (g_hash_table_contains(state->table, entry)) {
            fd_entry_free(entry);
        } else {
            g_hash_table_insert(state->table, entry, entry);
        }
    }
    return 0;
}

static const Description list_state = {
    .name = "CprState", .version_id = 1, .minimum_version_id = 1, .fields = (const Field[]){ LIST_FIELD, { 0 } },
};

static const Description flattened_state = {
    .name = "CprState", .version_id = 1, .minimum_version_id = 1, .pre_save = flatten, .post_load = rebuild,
    .fields = (const Field[]){ LIST_FIELD, { 0 } },
};

static const Description hash_state = {
    .name = "CprState", .version_id = 1, .minimum_version_id = 1,
    .fields = (const Field[]){
        { .name = "fds", .offset = offsetof(CprState, table), .size = sizeof(GHashTable *), .kind = &kind_hash,
          .version_id = 1, .element = &fd_value_description, .element_size = sizeof(FdValue),
          .key = &fd_key_description, .key_size = sizeof(FdKey) },
        { 0 },
    },
};

/* One of the three ways a process keeps and sends its fds. */
typedef struct Form {
    const char *name;
    const Description *description;
    void (*open)(CprState *state);
    void (*add)(CprState *state, const char *name, int id, int fd);
    uint32_t (*sum)(CprState *state);
    void (*close)(CprState *state);
} Form;

/* A sum over all fds, whatever their order: hash of name and id, and the fd. */
static uint32_t fd_sum(const FdKey *key, int fd)
{
    return fd_key_hash(key) * 31 + (uint32_t)fd;
}

static void list_open(CprState *state) { LIST_INIT(&state->list); }

static void list_add(CprState *state, const char *name, int id, int fd) { list_save_fd(&state->list, name, id, fd); }

static uint32_t list_sum(CprState *state)
{
    uint32_t sum = 0;
    FdEntry *entry;
    LIST_FOREACH(entry, &state->list, next) {
        sum += fd_sum(&entry->key, entry->fd);
    }
    return sum;
}

static void list_close(CprState *state) { list_clear(&state->list); }

static void flattened_open(CprState *state)
{
    LIST_INIT(&state->list);
    state->table = fd_hash_new();
}

static void flattened_add(CprState *state, const char *name, int id, int fd)
{
    hash_save_fd(state->table, name, id, fd);
}

static uint32_t flattened_sum(CprState *state)
{
    uint32_t sum = 0;
    GHashTableIter iter;
    gpointer entry;
    g_hash_table_iter_init(&iter, state->table);
    while (g_hash_table_iter_next(&iter, NULL, &entry)) {
        sum += fd_sum(entry, ((FdEntry *)entry)->fd);
    }
    return sum;
}

static void hash_open(CprState *state)
{
    state->table = g_hash_table_new_full(fd_key_hash, fd_key_equal, free_rfc_key, g_free);
}

static void hash_add(CprState *state, const char *name, int id, int fd)
{
    FdKey *key = g_new0(FdKey, 1);
    FdValue *value = g_new0(FdValue, 1);
    key->name = g_strdup(name);
    key->namelen = strlen(name) + 1;
    key->id = id;
    value->fd = fd;
    g_hash_table_insert(state->table, key, value);
}

static uint32_t hash_sum(CprState *state)
{
    uint32_t sum = 0;
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, state->table);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        sum += fd_sum(key, ((FdValue *)value)->fd);
    }
    return sum;
}

static void hash_close(CprState *state) { g_hash_table_destroy(state->table); }

static const Form forms[] = {
    { "list", &list_state, list_open, list_add, list_sum, list_close },
    { "flattened", &flattened_state, flattened_open, flattened_add, flattened_sum, hash_close },
    { "hash", &hash_state, hash_open, hash_add, hash_sum, hash_close },
};

typedef struct Bench {
    const Options *options;
    const Names *names;
    const Form *form;
    CprState state; /* full, for saving */
    Memory saved;   /* for loading */
    uint32_t sum;   /* of the state */
} Bench;

static int save_stream(const Form *form, CprState *state, Memory *memory)
{
    Stream *stream = stream_new(memory);
    stream_put_be32(stream, QCPR_MAGIC);
    stream_put_be32(stream, QCPR_VERSION);
    int result = vmstate_save(stream, form->description, state);
    stream_flush(stream);
    int error = stream_close(stream);
    return result ? result : error;
}

static int load_stream(const Form *form, CprState *state, Memory *memory)
{
    memory->position = memory->fd_position = 0;
    Stream *stream = stream_new(memory);
    int result = -1;
    if (stream_get_be32(stream) == QCPR_MAGIC && stream_get_be32(stream) == QCPR_VERSION) {
        result = vmstate_load(stream, form->description, state, QCPR_VERSION);
    }
    int error = stream_close(stream);
    return result ? result : error;
}

/* The check of a save: the sum of its bytes, modulo 2^32. */
static uint64_t save_round(void *context, uint32_t *check)
{
    Bench *bench = context;
    Memory memory = { 0 };
    uint64_t start = now_ns();
    int result = save_stream(bench->form, &bench->state, &memory);
    uint64_t ns = now_ns() - start;
    if (result) {
        fail(1, "%s: saving failed, %d", bench->form->name, result);
    }
    *check = 0;
    for (size_t i = 0; i < memory.length; i++) {
        *check += memory.bytes[i];
    }
    memory_free(&memory);
    return ns;
}

/* The check of a load: the sum of fd_sum over what was loaded; it has to be that of what was saved. */
static uint64_t load_round(void *context, uint32_t *check)
{
    Bench *bench = context;
    const Form *form = bench->form;
    CprState state;
    uint64_t start = now_ns();
    form->open(&state);
    int result = load_stream(form, &state, &bench->saved);
    uint64_t ns = now_ns() - start;
    if (result) {
        fail(1, "%s: loading failed, %d", form->name, result);
    }
    *check = form->sum(&state);
    if (*check != bench->sum) {
        fail(1, "%s: loaded fds sum to %u, saved ones to %u", form->name, *check, bench->sum);
    }
    form->close(&state);
    return ns;
}

static void dump(const Options *options, const char *name, const Memory *memory)
{
    char *path = g_strdup_printf("%s%s.qcpr", options->dump, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(memory->bytes, 1, memory->length, file) != memory->length || fclose(file) != 0) {
        fail(EXIT_SYSTEM, "%s can't be written", path);
    }
    g_free(path);
}

static void measure_form(void *context)
{
    Bench *bench = context;
    const Options *options = bench->options;
    const Names *names = bench->names;
    bench->form->open(&bench->state);
    for (size_t i = 0; i < names->n; i++) {
        bench->form->add(&bench->state, names->name[i], names->id[i], i);
    }
    bench->sum = bench->form->sum(&bench->state);
    if (save_stream(bench->form, &bench->state, &bench->saved)) {
        fail(1, "%s: saving failed", bench->form->name);
    }
    if (options->dump) {
        dump(options, bench->form->name, &bench->saved);
    }
    char extra[64], name[64];
    snprintf(extra, sizeof extra, ",\"bytes\":%zu", bench->saved.length);
    snprintf(name, sizeof name, "%s.%s", bench->form->name, LEAN_SAVES ? "save_lean" : "save");
    measure(options, name, names->n, 1, extra, save_round, bench);
    snprintf(name, sizeof name, "%s.load", bench->form->name);
    if (!LEAN_SAVES) {
        measure(options, name, names->n, 1, extra, load_round, bench);
    }
}

int main(int argc, char **argv)
{
    Options options;
    parse_options(argc, argv, "f:n:r:c:o:", &options);
    Names names = read_names(&options);
    /* Freed memory stays with the process: a round pays for no page that an earlier one had. */
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        Bench bench = { .options = &options, .names = &names, .form = &forms[i] };
        run_in_child(measure_form, &bench);
    }
    return 0;
}
