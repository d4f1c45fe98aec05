/* Scans a file with Hyperscan in block mode and prints MB/s, the best of five runs. Patterns come as lines "name TAB regex";
 * those that Hyperscan does not take are counted on stderr and left out, which can only help it. */
#include <hs/hs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned long long hits;

static int count(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *context) {
    (void)id, (void)from, (void)to, (void)flags, (void)context;
    hits++;
    return 0;
}

static char *slurp(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    fseek(file, 0, SEEK_END);
    *len = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(*len + 1);
    if (!text || fread(text, 1, *len, file) != *len) { perror(path); exit(1); }
    text[*len] = 0;
    fclose(file);
    return text;
}

int main(int argc, char **argv) {
    if (argc != 3) { fprintf(stderr, "usage: scan PATTERNS TEXT\n"); return 2; }
    size_t len;
    char *lines = slurp(argv[1], &len);
    const char *patterns[1024];
    unsigned flags[1024], ids[1024], taken = 0, refused = 0;
    for (char *line = strtok(lines, "\n"); line && taken < 1024; line = strtok(NULL, "\n")) {
        char *pattern = strchr(line, '\t');
        if (!pattern) continue;
        pattern++;
        unsigned unicode = 0;
        for (char *c = pattern; *c; c++) unicode |= (*c & 0x80) || (c[0] == '\\' && c[1] == 'p') || (c[0] == '[' && c[1] == '^');
        unsigned flag = unicode ? HS_FLAG_UTF8 : 0;
        hs_database_t *one;
        hs_compile_error_t *error;
        if (hs_compile(pattern, flag, HS_MODE_BLOCK, NULL, &one, &error) != HS_SUCCESS) {
            fprintf(stderr, "hyperscan refuses %.*s: %s\n", (int)(pattern - line - 1), line, error->message);
            hs_free_compile_error(error);
            refused++;
            continue;
        }
        hs_free_database(one);
        patterns[taken] = pattern, flags[taken] = flag, ids[taken] = taken, taken++;
    }
    hs_database_t *database;
    hs_compile_error_t *error;
    if (hs_compile_multi(patterns, flags, ids, taken, HS_MODE_BLOCK, NULL, &database, &error) != HS_SUCCESS) {
        fprintf(stderr, "hyperscan: %s\n", error->message);
        return 1;
    }
    hs_scratch_t *scratch = NULL;
    hs_alloc_scratch(database, &scratch);
    char *text = slurp(argv[2], &len);
    double best = 1e9;
    for (int run = 0; run < 5; run++) {
        struct timespec a, b;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        hs_scan(database, text, (unsigned)len, 0, scratch, count, NULL);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        double took = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
        if (took < best) best = took;
    }
    fprintf(stderr, "hyperscan: %u patterns, %u refused, %llu ends\n", taken, refused, hits / 5);
    printf("%.1f\n", (double)len / 1e6 / best);
    return 0;
}
