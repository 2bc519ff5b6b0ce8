#include "measure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *program = "peer";

static size_t parse_count(const char *flag, const char *text, size_t max)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || value < 1 || value > max) {
        fail(EXIT_USAGE, "%s: expected a number from 1 to %zu, found \"%s\"", flag, max, text);
    }
    return value;
}

void parse_options(int argc, char **argv, const char *flags, Options *options)
{
    *options = (Options){ .program = argv[0], .rounds = 7 };
    const char *slash = strrchr(argv[0], '/');
    program = slash ? slash + 1 : argv[0];
    int flag;
    while ((flag = getopt(argc, argv, flags)) != -1) {
        switch (flag) {
        case 'f': options->names = optarg; break;
        case 'p': options->permutation = optarg; break;
        case 'c': options->only = optarg; break;
        case 'o': options->dump = optarg; break;
        case 'n': options->n = parse_count("-n", optarg, 10000000); break;
        case 'r': options->rounds = parse_count("-r", optarg, 10000); break;
        default: fail(EXIT_USAGE, "options: %s (a letter with a colon takes a value; see README.md)", flags);
        }
    }
    if (optind < argc) {
        fail(EXIT_USAGE, "unexpected argument \"%s\"", argv[optind]);
    }
}

bool case_wanted(const Options *options, const char *name)
{
    if (!options->only) {
        return true;
    }
    size_t length = strlen(options->only);
    return strncmp(name, options->only, length) == 0 && (name[length] == 0 || name[length] == '.');
}

static int compare_ns(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void measure(const Options *options, const char *name, size_t n, size_t passes, const char *extra,
             Round *round, void *context)
{
    if (!case_wanted(options, name)) {
        return;
    }
    int rounds = options->rounds;
    uint64_t *samples = calloc(rounds, sizeof *samples), *sorted = calloc(rounds, sizeof *sorted);
    if (!samples || !sorted) {
        fail(EXIT_SYSTEM, "no memory for %d rounds", rounds);
    }
    uint32_t first, check;
    round(context, &first);
    for (int i = 0; i < rounds; i++) {
        samples[i] = round(context, &check);
        if (check != first) {
            fail(1, "%s: round %d gave check %u, the first gave %u", name, i, check, first);
        }
    }
    memcpy(sorted, samples, rounds * sizeof *samples);
    qsort(sorted, rounds, sizeof *sorted, compare_ns);
    uint64_t min = sorted[0], median = (sorted[(rounds - 1) / 2] + sorted[rounds / 2]) / 2;
    double ops = (double)n * passes;
    printf("{\"case\":\"%s\",\"n\":%zu,\"rounds\":%d,\"passes\":%zu,\"ops\":%.0f,\"min_ns\":%llu,\"median_ns\":%llu,"
           "\"per_op_ns\":%.3f,\"per_op_median_ns\":%.3f,\"check\":%u%s,\"samples_ns\":[",
           name, n, rounds, passes, ops, (unsigned long long)min, (unsigned long long)median, min / ops, median / ops,
           first, extra);
    for (int i = 0; i < rounds; i++) {
        printf("%s%llu", i ? "," : "", (unsigned long long)samples[i]);
    }
    printf("]}\n");
    fflush(stdout);
    free(samples);
    free(sorted);
}

void run_in_child(void (*work)(void *context), void *context)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        work(context);
        fflush(stdout);
        _exit(0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        fail(EXIT_SYSTEM, "no child process: %s", strerror(errno));
    }
    if (status != 0) {
        exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SYSTEM); /* it has said why */
    }
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

void fail(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(code);
}
