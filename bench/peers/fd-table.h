/* The fd table in its two forms: QEMU 10.0's linked list, and the hash table of the RFC and QEMU 11.1. */
#ifndef PEERS_FD_TABLE_H
#define PEERS_FD_TABLE_H

#include <glib.h>
#include <stdint.h>
#include <sys/queue.h>

typedef struct FdKey {
    char *name;
    uint32_t namelen; /* with the NUL, as on the wire */
    int32_t id;
} FdKey;

typedef struct FdEntry {
    FdKey key; /* first: an entry is its own key in the hash table */
    int fd;
    LIST_ENTRY(FdEntry) next;
} FdEntry;

typedef LIST_HEAD(FdList, FdEntry) FdList;

void list_save_fd(FdList *list, const char *name, int id, int fd);
int list_find_fd(FdList *list, const char *name, int id); /* -1 if there is none */
void list_delete_fd(FdList *list, const char *name, int id);
void list_clear(FdList *list);

GHashTable *fd_hash_new(void); /* of FdEntry, freed with the table */
void hash_save_fd(GHashTable *table, const char *name, int id, int fd);
int hash_find_fd(GHashTable *table, const char *name, int id); /* -1 if there is none */
void hash_delete_fd(GHashTable *table, const char *name, int id);

guint fd_key_hash(gconstpointer key);
gboolean fd_key_equal(gconstpointer a, gconstpointer b);
void fd_entry_free(gpointer entry);

#endif
