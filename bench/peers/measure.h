/* Rounds, the clock, the line of JSON a case prints, and the options all peers share. */
#ifndef PEERS_MEASURE_H
#define PEERS_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes, as cprkit's own. */
enum { EXIT_USAGE = 2, EXIT_INPUT = 3, EXIT_SYSTEM = 4 };

typedef struct Options {
    const char *program;
    const char *names;       /* -f: the names file, or NULL */
    const char *permutation; /* -p: the look-up order, or NULL for the built-in one */
    const char *only;        /* -c: a case, or the part before its dot for all those; NULL for all */
    const char *dump;        /* -o: codec writes the streams it saves to this prefix */
    size_t n;                /* -n: how many fds, 0 for all of the names file */
    int rounds;              /* -r: measured rounds, after one that warms up */
} Options;

/* One round: does the work, returns the ns it took; *check takes a sum of the results, so that
 * no work can be left out. The same in every round, or the program ends with an error. */
typedef uint64_t Round(void *context, uint32_t *check);

void parse_options(int argc, char **argv, const char *flags, Options *options);

/* True if `name` is wanted by -c. */
bool case_wanted(const Options *options, const char *name);

/* Runs a warm-up round and options->rounds more, prints the case's line.
 * passes: how often a round goes over the n fds (a round is n * passes operations);
 * extra: more JSON fields, beginning with a comma, or "". */
void measure(const Options *options, const char *name, size_t n, size_t passes, const char *extra,
             Round *round, void *context);

/* Runs work(context) in a child: what it measures has a heap that nothing before it has cut up. */
void run_in_child(void (*work)(void *context), void *context);

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

void fail(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

#endif
