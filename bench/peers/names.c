#include "names.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The whole file with a NUL behind it. */
static char *slurp(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        fail(EXIT_INPUT, "%s: %s", path, strerror(errno));
    }
    size_t room = 1 << 16, used = 0, got;
    char *data = malloc(room);
    while (data && (got = fread(data + used, 1, room - used - 1, file)) > 0) {
        used += got;
        if (used == room - 1) {
            data = realloc(data, room *= 2);
        }
    }
    if (!data || ferror(file)) {
        fail(EXIT_SYSTEM, "%s: %s", path, strerror(errno));
    }
    fclose(file);
    data[used] = 0;
    *size = used;
    return data;
}

Names read_names(const Options *options)
{
    const char *path = options->names;
    if (!path) {
        fail(EXIT_USAGE, "-f FILE is missing: lines of id, tab, name, in save order");
    }
    size_t size, lines = 0;
    char *text = slurp(path, &size);
    if (size == 0 || text[size - 1] != '\n' || memchr(text, 0, size)) {
        fail(EXIT_INPUT, "%s: expected lines of text that each end in a newline, without NUL bytes", path);
    }
    for (size_t i = 0; i < size; i++) {
        lines += text[i] == '\n';
    }
    size_t n = options->n ? options->n : lines;
    if (n > lines) {
        fail(EXIT_INPUT, "%s: %zu lines, but -n asks for %zu", path, lines, n);
    }
    Names names = { n, calloc(n, sizeof *names.name), calloc(n, sizeof *names.id), text };
    if (!names.name || !names.id) {
        fail(EXIT_SYSTEM, "no memory for %zu names", n);
    }
    char *line = text;
    for (size_t i = 0; i < n; i++) {
        char *newline = strchr(line, '\n'), *tab;
        *newline = 0;
        errno = 0;
        long long id = strtoll(line, &tab, 10);
        if (errno || tab == line || *tab != '\t' || id < INT32_MIN || id > INT32_MAX) {
            fail(EXIT_INPUT, "%s, line %zu: expected a signed 32-bit id, a tab and a name", path, i + 1);
        }
        names.name[i] = tab + 1;
        names.id[i] = id;
        size_t length = newline - tab - 1;
        if (length < 1 || length > NAME_MAX_BYTES) {
            fail(EXIT_INPUT, "%s, line %zu: a name of %zu bytes; 1 to %d can be used", path, i + 1, length,
                 NAME_MAX_BYTES);
        }
        line = newline + 1;
    }
    return names;
}

uint32_t *read_permutation(const Options *options, size_t n)
{
    uint32_t *order = NULL;
    if (!options->permutation) {
        /* Fisher-Yates with xorshift32, seed 1: the order of hand-made runs. */
        order = calloc(n, sizeof *order);
        uint32_t random = 1;
        for (size_t i = 0; order && i < n; i++) {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            size_t j = random % (i + 1);
            order[i] = order[j];
            order[j] = i;
        }
    } else {
        size_t size;
        order = (uint32_t *)slurp(options->permutation, &size);
        if (size != n * sizeof *order) {
            fail(EXIT_INPUT, "%s: expected %zu u32 indices (%zu bytes), found %zu bytes", options->permutation, n,
                 n * sizeof *order, size);
        }
        for (size_t i = 0; i < n; i++) {
            order[i] = le32toh(order[i]);
        }
    }
    char *seen = calloc(n, 1);
    if (!order || !seen) {
        fail(EXIT_SYSTEM, "no memory for an order of %zu", n);
    }
    for (size_t i = 0; i < n; i++) {
        if (order[i] >= n || seen[order[i]]) {
            fail(EXIT_INPUT, "%s: index %u at place %zu is %s", options->permutation, order[i], i,
                 order[i] >= n ? "too large" : "there twice");
        }
        seen[order[i]] = 1;
    }
    free(seen);
    return order;
}
