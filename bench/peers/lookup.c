/*
 * Saving, finding, missing and deleting fds in the linked list and in the hash table, and the
 * memory an fd costs. See README.md for the cases and the files.
 */
#include "fd-table.h"
#include "names.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a caller asks for: a whole name, and the parts it is formatted from. */
typedef struct Query {
    const char *name;
    const char *format, *device, *suffix;
    int32_t id;
} Query;

typedef union Table {
    FdList list;
    GHashTable *hash;
} Table;

typedef enum { LIST, HASH } Kind;

typedef struct Bench {
    const Options *options;
    Names names;
    Query *found, *missing; /* both in look-up order */
    Table table;
    size_t n, passes;
    const struct Case *current;
} Bench;

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Inlined with a constant kind, so that both tables are called directly. */
ALWAYS_INLINE int find(Table *table, Kind kind, const char *name, int id)
{
    return kind == LIST ? list_find_fd(&table->list, name, id) : hash_find_fd(table->hash, name, id);
}

ALWAYS_INLINE void save_all(Bench *bench, Kind kind)
{
    for (size_t i = 0; i < bench->n; i++) {
        if (kind == LIST) {
            list_save_fd(&bench->table.list, bench->names.name[i], bench->names.id[i], i);
        } else {
            hash_save_fd(bench->table.hash, bench->names.name[i], bench->names.id[i], i);
        }
    }
}

static void table_open(Bench *bench, Kind kind)
{
    if (kind == LIST) {
        LIST_INIT(&bench->table.list);
    } else {
        bench->table.hash = fd_hash_new();
    }
}

static void table_close(Bench *bench, Kind kind)
{
    if (kind == LIST) {
        list_clear(&bench->table.list);
    } else {
        g_hash_table_destroy(bench->table.hash);
    }
}

static uint32_t table_count(Bench *bench, Kind kind)
{
    if (kind == HASH) {
        return g_hash_table_size(bench->table.hash);
    }
    uint32_t count = 0;
    FdEntry *entry;
    LIST_FOREACH(entry, &bench->table.list, next) {
        count++;
    }
    return count;
}

/* The check of a look-up pass: h = h * 31 + fd, modulo 2^32, over the fds in look-up order. */
ALWAYS_INLINE uint64_t find_round(Bench *bench, Kind kind, const Query *queries, uint32_t *check)
{
    uint64_t start = now_ns();
    for (size_t pass = 0; pass < bench->passes; pass++) {
        uint32_t h = 0;
        for (size_t i = 0; i < bench->n; i++) {
            h = h * 31 + (uint32_t)find(&bench->table, kind, queries[i].name, queries[i].id);
        }
        *check = h;
    }
    return now_ns() - start;
}

ALWAYS_INLINE uint64_t find_snprintf_round(Bench *bench, Kind kind, uint32_t *check)
{
    uint64_t start = now_ns();
    for (size_t pass = 0; pass < bench->passes; pass++) {
        uint32_t h = 0;
        for (size_t i = 0; i < bench->n; i++) {
            const Query *query = &bench->found[i];
            char name[NAME_MAX_BYTES + 1];
            snprintf(name, sizeof name, query->format, query->device, query->suffix);
            h = h * 31 + (uint32_t)find(&bench->table, kind, name, query->id);
        }
        *check = h;
    }
    return now_ns() - start;
}

ALWAYS_INLINE uint64_t find_strdup_round(Bench *bench, Kind kind, uint32_t *check)
{
    uint64_t start = now_ns();
    for (size_t pass = 0; pass < bench->passes; pass++) {
        uint32_t h = 0;
        for (size_t i = 0; i < bench->n; i++) {
            const Query *query = &bench->found[i];
            char *name = g_strdup_printf(query->format, query->device, query->suffix);
            h = h * 31 + (uint32_t)find(&bench->table, kind, name, query->id);
            g_free(name);
        }
        *check = h;
    }
    return now_ns() - start;
}

/* A fresh table each pass; only the saves, or only the deletes, are in the time. */
ALWAYS_INLINE uint64_t save_round(Bench *bench, Kind kind, uint32_t *check)
{
    uint64_t ns = 0;
    for (size_t pass = 0; pass < bench->passes; pass++) {
        table_open(bench, kind);
        uint64_t start = now_ns();
        save_all(bench, kind);
        ns += now_ns() - start;
        *check = table_count(bench, kind);
        table_close(bench, kind);
    }
    return ns;
}

ALWAYS_INLINE uint64_t delete_round(Bench *bench, Kind kind, uint32_t *check)
{
    uint64_t ns = 0;
    for (size_t pass = 0; pass < bench->passes; pass++) {
        table_open(bench, kind);
        save_all(bench, kind);
        uint64_t start = now_ns();
        for (size_t i = 0; i < bench->n; i++) {
            if (kind == LIST) {
                list_delete_fd(&bench->table.list, bench->found[i].name, bench->found[i].id);
            } else {
                hash_delete_fd(bench->table.hash, bench->found[i].name, bench->found[i].id);
            }
        }
        ns += now_ns() - start;
        *check = bench->n - table_count(bench, kind);
        table_close(bench, kind);
    }
    return ns;
}

#define ROUNDS_OF(kind, KIND)                                                                                          \
    static uint64_t kind##_find(void *bench, uint32_t *check)                                                          \
    {                                                                                                                  \
        return find_round(bench, KIND, ((Bench *)bench)->found, check);                                                \
    }                                                                                                                  \
    static uint64_t kind##_miss(void *bench, uint32_t *check)                                                          \
    {                                                                                                                  \
        return find_round(bench, KIND, ((Bench *)bench)->missing, check);                                              \
    }                                                                                                                  \
    static uint64_t kind##_find_snprintf(void *bench, uint32_t *check)                                                 \
    {                                                                                                                  \
        return find_snprintf_round(bench, KIND, check);                                                                \
    }                                                                                                                  \
    static uint64_t kind##_find_strdup(void *bench, uint32_t *check) { return find_strdup_round(bench, KIND, check); } \
    static uint64_t kind##_save(void *bench, uint32_t *check) { return save_round(bench, KIND, check); }               \
    static uint64_t kind##_delete(void *bench, uint32_t *check) { return delete_round(bench, KIND, check); }

ROUNDS_OF(list, LIST)
ROUNDS_OF(hash, HASH)

/* A program that interns its names (g_intern_string) and compares pointers: a name is hashed once, when it is made. */
static guint interned_key_hash(gconstpointer key)
{
    const FdKey *k = key;
    return g_direct_hash(k->name) / 16 ^ (guint)k->id * 0x9e3779b1u;
}

static gboolean interned_key_equal(gconstpointer a, gconstpointer b)
{
    const FdKey *x = a, *y = b;
    return x->id == y->id && x->name == y->name;
}

static void measure_interned(void *context)
{
    Bench *bench = context;
    bench->passes = bench->n < 20000 ? 20000 / bench->n : 1;
    bench->table.hash = g_hash_table_new(interned_key_hash, interned_key_equal);
    FdEntry *entries = g_new0(FdEntry, bench->n);
    for (size_t i = 0; i < bench->n; i++) {
        entries[i].key.name = (char *)g_intern_string(bench->names.name[i]);
        entries[i].key.id = bench->names.id[i];
        entries[i].fd = (int)i;
        g_hash_table_insert(bench->table.hash, &entries[i], &entries[i]);
        bench->found[i].name = g_intern_string(bench->found[i].name);
    }
    measure(bench->options, "interned.find", bench->n, bench->passes, "", hash_find, bench);
}

typedef struct Case {
    const char *name;
    Kind kind;
    bool on_full_table; /* else the round makes its own tables */
    Round *round;
} Case;

static const Case cases[] = {
    { "list.save", LIST, false, list_save },
    { "list.find", LIST, true, list_find },
    { "list.find_snprintf", LIST, true, list_find_snprintf },
    { "list.find_strdup_printf", LIST, true, list_find_strdup },
    { "list.miss", LIST, true, list_miss },
    { "list.delete", LIST, false, list_delete },
    { "hash.save", HASH, false, hash_save },
    { "hash.find", HASH, true, hash_find },
    { "hash.find_snprintf", HASH, true, hash_find_snprintf },
    { "hash.find_strdup_printf", HASH, true, hash_find_strdup },
    { "hash.miss", HASH, true, hash_miss },
    { "hash.delete", HASH, false, hash_delete },
};

/* Enough passes that a round of few fds is long against the clock's grain. The list's work
 * grows with n * n, except in saving. */
static size_t passes_for(const Case *each, size_t n)
{
    double work = each->kind == HASH || each->round == list_save ? 20000.0 / n : 4e6 / ((double)n * n);
    return work < 1 ? 1 : (size_t)work;
}

static size_t resident_bytes(void)
{
    size_t total, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%zu %zu", &total, &resident) != 2) {
        fail(EXIT_SYSTEM, "/proc/self/statm can't be read");
    }
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd; /* the heap's blocks, and those that malloc maps */
}

static void measure_memory(Bench *bench, Kind kind, const char *name)
{
    malloc_trim(0);
    resident_bytes(); /* its buffers are there before the first measure */
    size_t heap = heap_bytes(), resident = resident_bytes();
    table_open(bench, kind);
    save_all(bench, kind);
    heap = heap_bytes() - heap;
    resident = resident_bytes() - resident;
    printf("{\"case\":\"%s\",\"n\":%zu,\"rounds\":1,\"bytes_per_fd\":%.2f,\"rss_bytes_per_fd\":%.2f,\"check\":%u}\n",
           name, bench->n, (double)heap / bench->n, (double)resident / bench->n, table_count(bench, kind));
}

static void list_memory(void *bench) { measure_memory(bench, LIST, "list.memory"); }

static void hash_memory(void *bench) { measure_memory(bench, HASH, "hash.memory"); }

static void measure_case(void *context)
{
    Bench *bench = context;
    const Case *each = bench->current;
    bench->passes = passes_for(each, bench->n);
    if (each->on_full_table) {
        table_open(bench, each->kind);
        save_all(bench, each->kind);
    }
    measure(bench->options, each->name, bench->n, bench->passes, "", each->round, bench);
}

/* Device and rest: split behind the last '_', else the last '/', else not at all. */
static Query split_name(GStringChunk *parts, const char *name, int32_t id)
{
    const char *at = strrchr(name, '_');
    const char *format = "%s_%s";
    if (!at) {
        at = strrchr(name, '/');
        format = "%s/%s";
    }
    if (!at) {
        at = name + strlen(name);
        format = "%s%s";
    }
    char *device = g_strndup(name, at - name);
    Query query = {
        .format = format,
        .device = g_string_chunk_insert_const(parts, device),
        .suffix = g_string_chunk_insert_const(parts, *at ? at + 1 : ""),
        .id = id,
    };
    g_free(device);
    return query;
}

/* Query strings of their own, next to each other in look-up order: the order that suits C best. */
static void make_queries(Bench *bench)
{
    const Names *names = &bench->names;
    uint32_t *order = read_permutation(bench->options, bench->n);
    /* Device names are shared by their fds, as a device's are. */
    GStringChunk *parts = g_string_chunk_new(1 << 16), *whole = g_string_chunk_new(1 << 20);
    GHashTable *all = fd_hash_new();
    bench->found = g_new0(Query, bench->n);
    bench->missing = g_new0(Query, bench->n);
    for (size_t i = 0; i < bench->n; i++) {
        if (hash_find_fd(all, names->name[i], names->id[i]) != -1) {
            fail(EXIT_INPUT, "%s, line %zu: (%s, %d) is there twice", bench->options->names, i + 1, names->name[i],
                 names->id[i]);
        }
        hash_save_fd(all, names->name[i], names->id[i], i);
    }
    for (size_t i = 0; i < bench->n; i++) {
        uint32_t at = order[i];
        bench->found[i] = split_name(parts, names->name[at], names->id[at]);
        bench->found[i].name = g_string_chunk_insert(whole, names->name[at]);
    }
    for (size_t i = 0; i < bench->n; i++) {
        /* By turns a known name with an id it hasn't, and an unknown name. */
        Query *query = &bench->missing[i];
        query->id = i % 2 == 0 ? bench->found[i].id ^ 0x40000000 : bench->found[i].id;
        char *name = g_strconcat(bench->found[i].name, i % 2 == 0 ? "" : "?", NULL);
        query->name = g_string_chunk_insert(whole, name);
        g_free(name);
        if (hash_find_fd(all, query->name, query->id) != -1) {
            fail(EXIT_INPUT, "%s: (%s, %d) is there, but is needed as a miss", bench->options->names, query->name,
                 query->id);
        }
    }
    g_hash_table_destroy(all);
    free(order);
}

int main(int argc, char **argv)
{
    Options options;
    parse_options(argc, argv, "f:p:n:r:c:", &options);
    Bench bench = { .options = &options, .names = read_names(&options) };
    bench.n = bench.names.n;
    if (case_wanted(&options, "list.memory")) {
        run_in_child(list_memory, &bench);
    }
    if (case_wanted(&options, "hash.memory")) {
        run_in_child(hash_memory, &bench);
    }
    make_queries(&bench);
    if (case_wanted(&options, "interned.find")) {
        run_in_child(measure_interned, &bench);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench.current = &cases[i];
        if (case_wanted(&options, bench.current->name)) {
            run_in_child(measure_case, &bench);
        }
    }
    return 0;
}
