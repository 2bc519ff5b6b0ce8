/* The fds of a run: names and ids in save order, and the order they are looked up in. */
#ifndef PEERS_NAMES_H
#define PEERS_NAMES_H

#include "measure.h"

#define NAME_MAX_BYTES 511 /* a name without its NUL; the longest seen in QEMU is 255 */

typedef struct Names {
    size_t n;
    const char **name; /* save order */
    int32_t *id;
    char *text; /* what the names point into */
} Names;

/* Reads `id<TAB>name` lines. All of them, or the first options->n. */
Names read_names(const Options *options);

/* Indices 0..n-1 in look-up order: from options->permutation (n little-endian u32), else shuffled here. */
uint32_t *read_permutation(const Options *options, size_t n);

#endif
