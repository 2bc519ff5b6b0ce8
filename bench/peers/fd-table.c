#include "fd-table.h"

#include <string.h>

static FdEntry *entry_new(const char *name, int id, int fd)
{
    FdEntry *entry = g_new0(FdEntry, 1);
    entry->key.name = g_strdup(name);
    entry->key.namelen = strlen(name) + 1;
    entry->key.id = id;
    entry->fd = fd;
    return entry;
}

void fd_entry_free(gpointer entry)
{
    g_free(((FdEntry *)entry)->key.name);
    g_free(entry);
}

void list_save_fd(FdList *list, const char *name, int id, int fd)
{
    FdEntry *entry = entry_new(name, id, fd);
    LIST_INSERT_HEAD(list, entry, next);
}

/* The name is compared before the id, as QEMU does. */
static FdEntry *list_find(FdList *list, const char *name, int id)
{
    FdEntry *entry;
    LIST_FOREACH(entry, list, next) {
        if (strcmp(entry->key.name, name) == 0 && entry->key.id == id) {
            return entry;
        }
    }
    return NULL;
}

int list_find_fd(FdList *list, const char *name, int id)
{
    FdEntry *entry = list_find(list, name, id);
    return entry ? entry->fd : -1;
}

void list_delete_fd(FdList *list, const char *name, int id)
{
    FdEntry *entry = list_find(list, name, id);
    if (entry) {
        LIST_REMOVE(entry, next);
        fd_entry_free(entry);
    }
}

void list_clear(FdList *list)
{
    FdEntry *entry;
    while ((entry = LIST_FIRST(list)) != NULL) {
        LIST_REMOVE(entry, next);
        fd_entry_free(entry);
    }
}

guint fd_key_hash(gconstpointer key)
{
    const FdKey *k = key;
    return g_str_hash(k->name) ^ (guint)k->id;
}

gboolean fd_key_equal(gconstpointer a, gconstpointer b)
{
    const FdKey *x = a, *y = b;
    return x->id == y->id && strcmp(x->name, y->name) == 0;
}

GHashTable *fd_hash_new(void)
{
    return g_hash_table_new_full(fd_key_hash, fd_key_equal, NULL, fd_entry_free);
}

void hash_save_fd(GHashTable *table, const char *name, int id, int fd)
{
    FdEntry *entry = entry_new(name, id, fd);
    g_hash_table_insert(table, entry, entry);
}

int hash_find_fd(GHashTable *table, const char *name, int id)
{
    FdKey key = { .name = (char *)name, .id = id };
    FdEntry *entry = g_hash_table_lookup(table, &key);
    return entry ? entry->fd : -1;
}

void hash_delete_fd(GHashTable *table, const char *name, int id)
{
    FdKey key = { .name = (char *)name, .id = id };
    g_hash_table_remove(table, &key);
}
